from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from multiprocessing.connection import Listener
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from insight_ext import (
    ArgumentError,
    BeliefError,
    BetaPosteriors,
    CheckpointError,
    ExpectedDifficulty,
    InsightError,
    InverseEvidence,
    MixedGroup,
    ObservationError,
    Selection,
    ShardedPool,
    Thompson,
    WeightedInformation,
    select_top_k,
    shard_files,
)

SCORES = [
    WeightedInformation(),
    WeightedInformation(weight="none"),
    WeightedInformation(information=False),
    WeightedInformation(weight="draw", seed=4, draw=2),
    Thompson(seed=4, draw=9),
    ExpectedDifficulty(),
    InverseEvidence(),
    MixedGroup(),
]
COLUMNS = ("alpha", "beta", "visits", "latest")


class World:
    """Processes of a gloo group (one_rank.py) that do what they are told."""

    def __init__(self, count, folder):
        program = [sys.executable, str(Path(__file__).with_name("one_rank.py"))]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        with Listener(str(folder / "socket")) as listener:
            self.processes = [
                subprocess.Popen(
                    [*program, f"{rank}", f"{count}", str(folder / "meeting"), listener.address],
                    env=environment,
                )
                for rank in range(count)
            ]
            connected = [listener.accept() for _ in range(count)]
        self.connections = [c for _, c in sorted((c.recv(), c) for c in connected)]

    def close(self):
        for connection in self.connections:
            connection.send_bytes(b"")
        assert [process.wait() for process in self.processes] == [0] * len(self.processes)


class Ranks:
    """The first so many processes of a world, and the pool that they hold."""

    def __init__(self, world, count):
        self.processes = world.processes[:count]
        self.connections = world.connections[:count]

    def each(self, name, *of_rank):
        """The answers to (arguments, named arguments) of each rank; errors are answers."""
        for rank, (arguments, more) in enumerate(of_rank):
            self.tell(rank, name, *arguments, **more)
        return [self.heard(rank) for rank in range(len(self.connections))]

    def tried(self, name, *arguments, **more):
        """The answers to the same arguments on every rank."""
        return self.each(name, *[(arguments, more)] * len(self.connections))

    def all(self, name, *arguments, **more):
        answers = self.tried(name, *arguments, **more)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    def only(self, rank, name, *arguments):
        """What one rank answers on its own."""
        self.tell(rank, name, *arguments)
        return self.heard(rank)

    def tell(self, rank, name, *arguments, **more):
        asked = len(self.connections), name, arguments, more
        self.connections[rank].send_bytes(pickle.dumps(asked))

    def heard(self, rank):
        # Not Connection.recv: torch would have it share the memory of tensors.
        return pickle.loads(self.connections[rank].recv_bytes())

    def beliefs(self):
        """All ranks' beliefs, joined."""
        parts = self.all("beliefs")
        joined = {name: torch.cat([part[name] for part in parts]) for name in COLUMNS}
        assert len({part["step"] for part in parts}) == 1
        return joined | {"step": parts[0]["step"]}


@pytest.fixture(scope="module")
def groups(tmp_path_factory):
    """Groups of 1, 2, 3 and 4 ranks, by their number."""
    world = World(4, tmp_path_factory.mktemp("ranks"))
    yield {count: Ranks(world, count) for count in (1, 2, 3, 4)}
    world.close()


@pytest.fixture
def few(tmp_path):
    """A group of two ranks that need not survive the test."""
    folder = tmp_path / "ranks"
    folder.mkdir()
    world = World(2, folder)
    yield Ranks(world, 2)
    for process in world.processes:
        process.kill()
        process.wait()


@pytest.fixture(params=[1, 2, 3, 4])
def ranks(request, groups):
    return groups[request.param]


def pool_of(kind, n=1_003):
    generator = torch.Generator().manual_seed(n)
    if kind == "unseen":
        return torch.ones(n), torch.ones(n)
    if kind == "counts":
        return tuple(torch.randint(1, 9, (2, n), generator=generator).float())
    return tuple(0.5 + 60 * torch.rand(2, n, generator=generator) ** 2)


def assert_same(answers, expected):
    for answer in answers:
        assert isinstance(answer, Selection), answer
        assert torch.equal(answer.indices, expected.indices)
        assert torch.equal(answer.scores.view(torch.int32), expected.scores.view(torch.int32))


def assert_all_raise(answers, kind, *texts):
    for answer in answers:
        assert type(answer) is kind, answer
        for text in texts:
            assert text in str(answer)
    assert len({str(answer) for answer in answers}) == 1


@pytest.mark.parametrize("score", SCORES, ids=str)
@pytest.mark.parametrize("kind", ["unseen", "counts", "mixed"])
def test_every_rank_selects_what_one_process_selects(ranks, kind, score):
    alpha, beta = pool_of(kind)
    ranks.all("hold", alpha, beta)
    for k, sorted in ((1, True), (64, True), (64, False), (500, True), (1_003, True)):
        answers = ranks.all("select", k, score, seed=2**64 - 3, sorted=sorted)
        assert_same(answers, select_top_k(alpha, beta, k, score, seed=2**64 - 3, sorted=sorted))


@given(
    values=st.lists(st.sampled_from([0.25, 1.0, 1.5, 2.0, 1e6]), min_size=4, max_size=40),
    count=st.integers(1, 4),
    data=st.data(),
)
@settings(max_examples=100, deadline=None)
def test_any_choice_from_any_pool_is_that_of_one_process(groups, values, count, data):
    alpha, beta = torch.tensor(values), torch.tensor(values[::-1])
    prompts = st.lists(st.integers(0, len(values) - 1), max_size=len(values) + 3)
    exclude = data.draw(st.one_of(st.none(), prompts))
    candidates = data.draw(st.one_of(st.none(), prompts.filter(bool)))
    left = set(range(len(values))) if candidates is None else set(candidates)
    left -= set(exclude or [])
    how = {
        "seed": data.draw(st.integers(0, 2**64 - 1)),
        "exclude": exclude,
        "candidates": candidates,
    }
    score = data.draw(st.sampled_from(SCORES))
    groups[count].all("hold", alpha, beta)
    if left:
        k = data.draw(st.integers(1, len(left)))
        answers = groups[count].all("select", k, score, **how)
        assert_same(answers, select_top_k(alpha, beta, k, score, **how))
    if len(left) < len(values):
        answers = groups[count].tried("select", len(left) + 1, score, **how)
        assert_all_raise(answers, ArgumentError, f"k: expected at most the {len(left)} eligible")


RESULT = st.tuples(st.integers(0, 12), st.integers(0, 8), st.integers(8, 16))


@given(
    steps=st.lists(
        st.lists(st.lists(RESULT, max_size=6), min_size=4, max_size=4), min_size=1, max_size=4
    ),
    count=st.integers(1, 4),
    decay=st.sampled_from([1.0, 0.5, 0.0, 0.3]),
    half_life=st.sampled_from([None, 0.7, 3.7]),
)
@settings(max_examples=60, deadline=None)
def test_results_reach_their_owners_as_if_one_process_had_them_all(
    groups, steps, count, decay, half_life
):
    ranks, prior = groups[count], (0.7, 1.3)
    ranks.all("make", 13, prior, decay, half_life)
    whole = BetaPosteriors(13, prior, decay, half_life=half_life)
    for step, results in enumerate(steps):
        whole.step = step
        ranks.all("advance", step)
        of_rank = [list(zip(*own, strict=True)) or [[], [], []] for own in results[:count]]
        assert ranks.each("observe", *[(columns, {}) for columns in of_rank]) == [None] * count
        together = [result for own in results[:count] for result in own]
        whole.observe(*(list(zip(*together, strict=True)) or [[], [], []]))
        beliefs = ranks.beliefs()
        for name in COLUMNS:
            assert torch.equal(beliefs[name], getattr(whole, name))
        assert_same(ranks.all("select", 5, seed=step), select_top_k(*whole.current(), 5, seed=step))


def test_the_ranks_hold_neighbouring_prompts_in_shares_that_differ_by_one_at_most(ranks):
    count = len(ranks.connections)
    for size in (count, 13, 1_000):
        ranks.all("make", size)
        sizes = [len(part["alpha"]) for part in ranks.all("beliefs")]
        assert sum(sizes) == size
        assert max(sizes) - min(sizes) <= 1


def test_one_collective_of_twelve_bytes_a_prompt_once_the_size_is_known(groups):
    ranks = groups[3]
    ranks.all("make", 3_000)
    ranks.all("select", 100)
    assert ranks.all("collectives", "select", 100) == [[16 + 1_200]] * 3
    assert ranks.all("collectives", "select", 200) == [[16 + 1_200, 1_200]] * 3
    assert ranks.all("collectives", "select", 100) == [[16 + 2_400]] * 3
    results = range(50), [1] * 50, 8
    ranks.all("observe", *results)
    assert ranks.all("collectives", "observe", *results) == [[16 + 1_200]] * 3


def test_a_group_that_is_part_of_the_world_holds_a_pool(groups):
    groups[4].all("regroup", [1, 3])
    answers = groups[4].tried("make", 10)
    groups[4].all("regroup", range(4))
    assert [type(answer) for answer in answers] == [ArgumentError, type(None)] * 2
    assert "belongs to" in str(answers[0])
    for rank in (1, 3):
        groups[4].tell(rank, "select", 10, seed=3)
    found = [groups[4].heard(rank) for rank in (1, 3)]
    assert_same(found, select_top_k(torch.ones(10), torch.ones(10), 10, seed=3))


def test_without_a_process_group_one_process_holds_it_all(tmp_path):
    pool, whole = ShardedPool(50, decay=0.5), BetaPosteriors(50, decay=0.5)
    for beliefs in (pool, whole):
        beliefs.observe([3, 40, 3], [8, 2, 1], 8)
    chosen = pool.select(50, seed=4, exclude=torch.tensor([], dtype=torch.int64))
    assert_same([chosen], select_top_k(whole.alpha, whole.beta, 50, seed=4))
    pool.save(tmp_path)
    again = ShardedPool(50, decay=0.5)
    again.load(tmp_path)
    assert torch.equal(again.local.beta, whole.beta)
    assert len(pool) == 50
    with pytest.raises(ObservationError, match=r"^indices\[0\]"):
        pool.observe([50], [0], 1)


# What goes wrong on one rank.


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ((12, (1.0, 1.0), 0.5), "'size': 12"),
        ((13, (1.0, 2.0), 0.5), "'prior': [1.0, 2.0]"),
        ((13, (1.0, 1.0), 0.75), "'decay': 0.75"),
        ((13, (1.0, 1.0), 0.5, 8), "'half_life': 8.0"),
    ],
)
def test_ranks_that_disagree_on_the_pool_are_all_shown_both(groups, settings, text):
    usual = (13, (1.0, 1.0), 0.5)
    answers = groups[3].each("make", (usual, {}), (usual, {}), (settings, {}))
    assert_all_raise(answers, ArgumentError, "rank 0: {'size': 13", "rank 2: {", text)


def test_a_bad_setting_of_one_rank_is_an_error_of_all(groups):
    answers = groups[2].each("make", ((13,), {}), ((13,), {"decay": 2}))
    assert_all_raise(answers, ArgumentError, "rank 1: decay: expected a number in [0, 1], got 2")
    for size in (3, True, 4.0):
        assert_all_raise(groups[4].tried("make", size), ArgumentError, "size: expected an int")
    tensors = (torch.ones(9), torch.ones(9))
    assert_all_raise(groups[2].tried("make", 9, tensors), ArgumentError, "prior: expected two")
    assert_all_raise(groups[2].tried("make", 9, 3), ArgumentError, "prior: expected two numbers")


BAD_RESULTS = [
    (([13], [0], 8), "indices[0]: expected in [0, 13), got 13"),
    (([3, -1], [0, 0], 8), "indices[1]: expected in [0, 13), got -1"),
    (([3], [9], 8), "successes[0]: expected in [0, rollouts], got 9 of 8"),
    (([3], [0], 0), "rollouts[0]: expected at least 1"),
    (([3], [0.5], 1), "successes: expected integers"),
    (([3], [1, 1], 1), "successes: expected one value per index"),
]


@pytest.mark.parametrize(("bad", "text"), BAD_RESULTS, ids=[text for _, text in BAD_RESULTS])
def test_a_bad_result_of_one_rank_changes_nothing_on_any(groups, bad, text):
    ranks, good = groups[3], ([1, 5, 12], [1, 2, 3], 8)
    ranks.all("make", 13)
    ranks.all("observe", *good)
    before = ranks.beliefs()
    assert_all_raise(
        ranks.each("observe", (good, {}), (bad, {}), (good, {})), ObservationError, "rank 1: ", text
    )
    after = ranks.beliefs()
    assert all(torch.equal(after[name], before[name]) for name in COLUMNS)


@pytest.mark.parametrize("bad", [float("nan"), 0.0, -1.0])
def test_a_bad_belief_of_one_rank_is_named_on_all(groups, bad):
    ranks = groups[3]
    ranks.all("make", 3_000)
    ranks.only(2, "spoil", bad, 7)
    answers = ranks.tried("select", 4)
    assert_all_raise(answers, BeliefError, "rank 2: beliefs", "at index 2007")
    assert {answer.index for answer in answers} == {2_007}


def test_other_arguments_on_one_rank_are_shown_on_all(groups):
    ranks = groups[2]
    ranks.all("make", 100)
    usual = ((5,), {})
    for other, text in (
        (((6,), {}), "k=6"),
        (((5, Thompson()), {}), "Thompson(target=0.5"),
        (((5,), {"seed": 9}), "seed=9"),
        (((5,), {"exclude": [7]}), "exclude=1 prompts"),
        (((5,), {"candidates": range(8)}), "candidates=8 prompts"),
    ):
        answers = ranks.each("select", usual, other)
        assert_all_raise(answers, ArgumentError, "select: expected the same", "rank 0: k=5", text)
    ranks.only(1, "advance", 3)
    for name, arguments in (("select", (5,)), ("observe", ([1], [1], 8))):
        assert_all_raise(ranks.tried(name, *arguments), ArgumentError, "step=0", "step=3")


def test_wrong_arguments_are_refused_by_all(groups):
    ranks = groups[2]
    ranks.all("make", 100)
    for arguments, more, text in (
        ((0,), {}, "k: expected 1 to the pool's 100 prompts, got 0"),
        ((101,), {}, "got 101"),
        ((2.0,), {}, "got 2.0"),
        ((1, "insight"), {}, "score: expected an object"),
        ((1,), {"seed": -1}, "seed: expected 0 to"),
        (
            (1,),
            {"exclude": [3, 100]},
            "exclude: expected indices in [0, 100), got 100 at",
        ),
        ((1,), {"exclude": torch.ones(100, dtype=torch.bool)}, "exclude: expected int64 places"),
        ((1,), {"candidates": [-1]}, "candidates: expected indices in [0, 100), got -1"),
        ((1,), {"candidates": []}, "k: expected at most the 0 eligible prompts, got 1"),
    ):
        assert_all_raise(ranks.tried("select", *arguments, **more), ArgumentError, text)
    usual = ((3,), {})
    answers = ranks.each("select", usual, ((0,), {}))
    assert_all_raise(answers, ArgumentError, "rank 1: k: expected 1 to")
    assert_same(ranks.all("select", 3), select_top_k(torch.ones(100), torch.ones(100), 3))


def test_an_error_of_another_kind_is_told_to_the_others(few, tmp_path):
    few.all("make", 10)
    few.only(1, "fail_in", "write_shard", MemoryError("no room"))
    first, second = few.tried("save", tmp_path / "saved")
    assert type(second) is MemoryError
    assert type(first) is InsightError
    assert str(first) == "rank 1: MemoryError: no room"


# Checkpoints.


def trained(ranks, n=37):
    """A pool with a history, and what one process would hold."""
    prior, decay, half_life = (0.7, 1.3), 0.5, 9.0
    ranks.all("make", n, prior, decay, half_life)
    whole = BetaPosteriors(n, prior, decay, half_life=half_life)
    for step in (3, 4):
        ranks.all("advance", step)
        whole.step = step
        visited = list(range(step, n, 3))
        given = [(([], [], []), {})] * (len(ranks.connections) - 1)
        wins = [i % 5 for i in visited]
        ranks.each("observe", ((visited, wins, 8), {}), *given)
        whole.observe(visited, wins, 8)
    return whole


def assert_holds(ranks, whole):
    beliefs = ranks.beliefs()
    for name in COLUMNS:
        assert torch.equal(beliefs[name], getattr(whole, name))
    assert beliefs["step"] == whole.step


SETTINGS = ((0.7, 1.3), 0.5, 9.0)


@pytest.mark.parametrize("readers", [1, 2, 3, 4])
def test_any_number_of_ranks_reads_what_any_other_wrote(groups, ranks, readers, tmp_path):
    whole = trained(ranks)
    ranks.all("save", tmp_path)
    groups[readers].all("make", 37, *SETTINGS)
    groups[readers].all("load", tmp_path)
    assert_holds(groups[readers], whole)
    groups[readers].all("observe", [5], [1], 8)
    groups[readers].all("save", tmp_path)
    assert len(list(tmp_path.iterdir())) == 2, "one version and the manifest"


def test_only_what_overlaps_is_read(groups, tmp_path):
    trained(groups[4])
    groups[4].all("save", tmp_path)
    manifest = shard_files.read_manifest(tmp_path)
    files = [tmp_path / file for file, _, _ in manifest.shards()]
    files[3].unlink()
    files[0].write_bytes(b"")
    parts = shard_files.read_parts(tmp_path, manifest, 10, 27)
    assert [(first, len(columns["alpha"])) for first, columns in parts] == [(10, 8), (18, 9)]
    for first, end in ((8, 27), (10, 28)):
        with pytest.raises(CheckpointError, match="cannot read this shard"):
            shard_files.read_parts(tmp_path, manifest, first, end)


def test_a_checkpoint_is_tensors_and_primitives(groups, tmp_path):
    trained(groups[2])
    groups[2].all("save", tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["starts"] == [0, 18]
    for path in tmp_path.glob("*/shard-*"):
        content = torch.load(path, weights_only=True)
        assert content["settings"] == manifest["settings"]


@pytest.mark.parametrize("moment", ["write_shard", "_to_disk", "commit", "remove"])
def test_a_kill_while_saving_leaves_the_old_checkpoint_or_the_new_one(
    few, groups, moment, tmp_path
):
    folder = tmp_path / "saved"
    old = trained(few)
    few.all("save", folder)
    few.all("observe", [1, 30], [0, 8], 8)
    few.only(0, "die_in", moment)
    for rank in (0, 1):
        few.tell(rank, "save", folder)
    with pytest.raises((EOFError, ConnectionError)):
        few.heard(0)
    assert few.processes[0].wait() == -signal.SIGKILL
    assert isinstance(few.heard(1), Exception)
    assert len(shard_files.versions(folder)) == (1 if moment == "write_shard" else 2)
    if moment == "remove":  # the new one is the checkpoint, the old one not yet gone
        old.observe([1, 30, 1, 30], [0, 8, 0, 8], 8)
    groups[3].all("make", 37, *SETTINGS)
    groups[3].all("load", folder)
    assert_holds(groups[3], old)
    groups[3].all("save", folder)
    assert len(shard_files.versions(folder)) == 1


def test_a_full_disk_leaves_the_old_checkpoint_and_no_litter(groups, tmp_path):
    ranks = groups[2]
    whole = trained(ranks, 40_000)
    ranks.all("save", tmp_path)
    before = sorted(tmp_path.rglob("*"))
    for full in (0, 1):
        ranks.only(full, "limit_file_size", 50_000)
        answers = ranks.tried("save", tmp_path)
        ranks.only(full, "limit_file_size", None)
        assert_all_raise(answers, CheckpointError, f"rank {full}: ", "cannot write")
        assert sorted(tmp_path.rglob("*")) == before
    ranks.only(0, "limit_file_size", 0)
    assert_all_raise(ranks.tried("save", tmp_path), CheckpointError, "rank 0: ", "cannot write")
    ranks.only(0, "limit_file_size", None)
    assert sorted(tmp_path.rglob("*")) == before
    ranks.all("make", 40_000, *SETTINGS)
    ranks.all("load", tmp_path)
    assert_holds(ranks, whole)


def test_a_folder_that_the_ranks_do_not_share_is_refused(groups, tmp_path):
    trained(groups[2])
    folders = [tmp_path / "one", tmp_path / "two"]
    answers = groups[2].each("save", *[((folder,), {}) for folder in folders])
    assert_all_raise(answers, CheckpointError, "shard-00001.pt", "a folder that all ranks share")
    assert not [path for folder in folders for path in folder.iterdir()]


def test_a_manifest_that_cannot_be_written_leaves_the_old_checkpoint(groups, tmp_path):
    whole = trained(groups[2])
    groups[2].all("save", tmp_path)
    manifest = tmp_path / "manifest.json"
    (tmp_path / "manifest.new").mkdir()
    before = manifest.read_text()
    answers = groups[2].tried("save", tmp_path)
    assert all(isinstance(answer, Exception) for answer in answers)
    assert manifest.read_text() == before
    groups[3].all("make", 37, *SETTINGS)
    groups[3].all("load", tmp_path)
    assert_holds(groups[3], whole)


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def pickled(path):
    path.write_bytes(pickle.dumps({"alpha": [1.0]}))


def changed(**what):
    def change(path):
        torch.save(torch.load(path, weights_only=True) | what, path)

    return change


def spoiled(path):
    content = torch.load(path, weights_only=True)
    content["alpha"][3] = float("nan")
    torch.save(content, path)


SPOILS = {
    "missing": (Path.unlink, "cannot read this shard"),
    "empty": (lambda path: path.write_bytes(b""), "cannot read this shard"),
    "truncated": (cut, "cannot read this shard"),
    "a pickle": (pickled, "cannot read this shard"),
    "a list": (lambda path: torch.save([1], path), "expected a shard, got list"),
    "another format": (changed(format=9), "expected format 1 as the manifest has it, got 9"),
    "another version": (changed(version="000001-00000000"), "expected version"),
    "another place": (changed(first=3), "expected first 18 as the manifest has it, got 3"),
    "no alpha": (changed(alpha=None), "expected alpha, got None"),
    "short": (changed(alpha=torch.ones(3)), "expected alpha torch.float32 (19,), got"),
    "doubles": (changed(beta=torch.ones(19).double()), "got torch.float64 (19,)"),
    "not a number": (spoiled, "expected finite and positive alpha, got nan for prompt 21"),
}


@pytest.mark.parametrize(("spoil", "text"), SPOILS.values(), ids=SPOILS.keys())
def test_a_bad_shard_is_an_error_of_all_ranks_and_changes_none(groups, spoil, text, tmp_path):
    trained(groups[2])
    groups[2].all("save", tmp_path)
    spoil(next(tmp_path.glob("*/shard-00001.pt")))
    for ranks in (groups[2], groups[4]):
        ranks.all("make", 37, *SETTINGS)
        ranks.all("observe", [1], [1], 8)
        before = ranks.beliefs()
        assert_all_raise(ranks.tried("load", tmp_path), CheckpointError, "shard-00001.pt", text)
        after = ranks.beliefs()
        assert all(torch.equal(after[name], before[name]) for name in COLUMNS)


def rewritten(**what):
    def rewrite(path):
        path.write_text(json.dumps(json.loads(path.read_text()) | what))

    return rewrite


MANIFESTS = {
    "missing": (Path.unlink, "cannot read: No such file"),
    "not JSON": (cut, "not the manifest of a sharded pool"),
    "a list": (lambda path: path.write_text("[]"), "not the manifest of a sharded pool"),
    "binary": (lambda path: path.write_bytes(b"\xff\x00"), "not the manifest of a sharded pool"),
    "foreign": (rewritten(more=1), "not the manifest of a sharded pool"),
    "another format": (rewritten(format=2), "expected format 1, got 2"),
    "a gap": (rewritten(starts=[5, 18]), "expected shards from prompt 0 to the last"),
    "no shards": (rewritten(starts=[]), "not the manifest of a sharded pool"),
    "out of order": (rewritten(starts=[0, 18, 9]), "expected shards from prompt 0 to the last"),
}


@pytest.mark.parametrize(("spoil", "text"), MANIFESTS.values(), ids=MANIFESTS.keys())
def test_a_bad_manifest_is_an_error_of_all_ranks(groups, spoil, text, tmp_path):
    trained(groups[2])
    groups[2].all("save", tmp_path)
    spoil(tmp_path / "manifest.json")
    assert_all_raise(groups[2].tried("load", tmp_path), CheckpointError, "manifest.json", text)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ((38, *SETTINGS), "expected size 38, the checkpoint has 37"),
        ((37, (1, 1), 0.5, 9.0), "expected prior [1.0, 1.0], the checkpoint has [0.7, 1.3]"),
        ((37, (0.7, 1.3), 0.4, 9.0), "expected decay 0.4, the checkpoint has 0.5"),
        ((37, (0.7, 1.3), 0.5), "expected half_life None, the checkpoint has 9.0"),
    ],
)
def test_a_checkpoint_of_another_pool_is_refused(groups, settings, text, tmp_path):
    trained(groups[2])
    groups[2].all("save", tmp_path)
    groups[3].all("make", *settings)
    assert_all_raise(groups[3].tried("load", tmp_path), CheckpointError, text)


def test_what_lies_beside_the_shards_is_left_alone(groups, tmp_path):
    trained(groups[2])
    (tmp_path / "notes").mkdir()
    groups[2].all("save", tmp_path)
    first = tmp_path / shard_files.versions(tmp_path)[0]
    (first / "mine.txt").write_text("mine")
    groups[2].all("save", tmp_path)
    assert [path.name for path in first.iterdir()] == ["mine.txt"]
    assert (tmp_path / "notes").exists()
    shutil.rmtree(first)
