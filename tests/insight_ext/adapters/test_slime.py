"""slime's two flags, against small classes that follow its published interface; also a program.

slime is not on the package index, so what it calls and in which order is written down here after
its source at commit 624b824a8 of 2026-08-21: `slime/rollout/data_source.py`, `sglang_rollout.py`,
`base_types.py`, `slime/utils/data.py`, `types.py` and `train.py`.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from argparse import Namespace
from copy import deepcopy
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from insight_ext import ArgumentError, CheckpointError, ObservationError, PoolError
from insight_ext.adapters.slime import ARGS, OBSERVE, SAMPLE, SOURCE, SelectingDataSource, observe
from insight_ext.distributed.ranks import digest

ROOT = Path(__file__).parent.parent.parent.parent
SOURCE_PATH = "insight_ext.adapters.slime.SelectingDataSource"
K, BATCH = 4, 8


@dataclass
class Sample:
    group_index: int | None = None
    index: int | None = None
    prompt: Any = ""
    label: str | None = None
    reward: Any = None
    response: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)


class Dataset:
    def __init__(self, origin_samples):
        self.origin_samples = self.samples = origin_samples

    def shuffle(self, epoch):
        self.samples = random.Random(epoch).sample(self.origin_samples, len(self.origin_samples))


class RolloutDataSourceWithBuffer:
    """Prompts in the order of the shuffled file; what was put back comes first."""

    def __init__(self, args):
        self.args, self.buffer, self.sample_offset = args, [], 0
        self.metadata = {}
        self.dataset = None
        if args.rollout_global_dataset and args.prompt_data is not None:
            self.dataset = Dataset([deepcopy(sample) for sample in args.prompt_data])
            self.dataset.shuffle(0)

    def buffer_filter(self, args, rollout_id, buffer, num_samples):
        taken = buffer[:num_samples]
        del buffer[:num_samples]
        return taken

    def get_samples(self, num_samples):
        raise AssertionError("slime's own order was asked for")

    def add_samples(self, samples):
        assert all(len(group) == self.args.n_samples_per_prompt for group in samples)
        self.buffer += samples

    def save(self, rollout_id):
        folder = Path(self.args.save) / "rollout"
        folder.mkdir(parents=True, exist_ok=True)
        torch.save({"sample_offset": 0}, folder / f"global_dataset_state_dict_{rollout_id}.pt")

    def load(self, rollout_id=None):
        if self.args.load is not None:
            self.loaded = rollout_id

    def get_buffer_length(self):
        return len(self.buffer)


def load_function(path):
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def generate_rollout(args, rollout_id, data_source, solve, keep=None, aborts=0):
    """One rollout: draw until enough groups pass the filter, then abort what is out."""
    out, done, kept = [], [], []
    order = random.Random(rollout_id)  # in which rollouts finish
    while len(kept) < args.rollout_batch_size:
        while len(kept) + len(out) < args.rollout_batch_size + aborts:
            out += data_source.get_samples(args.over_sampling_batch_size)
        group = out.pop(order.randrange(len(out)))
        for sample in group:
            sample.reward = solve(sample, rollout_id)
        done.append(group)
        if keep is None or keep(group):
            kept.append(group)
    done.sort(key=lambda group: group[0].index)
    if args.rollout_all_samples_process_path is not None:
        load_function(args.rollout_all_samples_process_path)(args, done, data_source.get_samples)
    if args.partial_rollout and out:
        data_source.add_samples(out)
    return kept, done


def slime_modules(lines):
    """slime's modules by their names; what is logged goes into `lines`."""
    contents = {
        "slime": {},
        "slime.rollout": {},
        "slime.rollout.data_source": {"RolloutDataSourceWithBuffer": RolloutDataSourceWithBuffer},
        "slime.observability": {},
        "slime.observability.logging_utils": {
            "log": lambda args, metrics, step_key: lines.append((metrics[step_key], metrics))
        },
    }
    modules = {name: ModuleType(name) for name in contents}
    for name, names in contents.items():
        vars(modules[name]).update(names)
    return modules


@pytest.fixture(autouse=True)
def logged(monkeypatch):
    """What was logged."""
    lines = []
    for name, module in slime_modules(lines).items():
        monkeypatch.setitem(sys.modules, name, module)
    return lines


def samples(n=80):
    return [Sample(prompt=f"{i}+{i}=", label=str(2 * i), metadata={"task": i}) for i in range(n)]


def args_of(folder=None, **changes):
    return Namespace(
        **{
            "prompt_data": samples(),
            "rollout_global_dataset": True,
            "rollout_function_path": "slime.rollout.sglang_rollout.generate_rollout",
            "rollout_all_samples_process_path": OBSERVE,
            "rollout_batch_size": BATCH,
            "over_sampling_batch_size": BATCH,
            "n_samples_per_prompt": K,
            "partial_rollout": False,
            "reward_key": None,
            "rollout_seed": 42,
            "save": None if folder is None else str(folder),
            "load": None,
            "insight": {"id": "task"},
        }
        | changes
    )


def started(args, start=0):
    """As slime's RolloutManager makes the data source, and train.py restores it."""
    source = load_function(SOURCE_PATH)(args)
    source.load(start - 1)
    return source


def solve(sample, rollout_id):
    """40 % of the prompts are always solved, 40 % never, 20 % by every second answer."""
    number = sample.metadata["task"]
    chance = random.Random(f"{rollout_id} {sample.index % K} {number}").random()
    return float(chance < (1.0, 1.0, 0.5, 0.0, 0.0)[number % 5])


def mixed(group):
    return len({sample.reward for sample in group}) > 1


def run(source, rollouts, **options):
    """Rollouts by number; of each the ids of what was rolled out, in the order of the draws."""
    return [
        [
            group[0].metadata["task"]
            for group in generate_rollout(source.args, i, source, solve, **options)[1]
        ]
        for i in rollouts
    ]


def beliefs(source):
    return digest(source.loop.selector.state_dict())


def test_rollouts_turn_to_prompts_that_are_solved_sometimes(logged):
    source = started(args_of())
    shares = [
        sum(map(mixed, generate_rollout(source.args, i, source, solve)[1])) / BATCH
        for i in range(40)
    ]
    assert sum(shares[20:]) > 2 * sum(shares[:5]) * 20 / 5
    assert [step for step, _ in logged] == list(range(40))
    assert {line["selection/staleness_max"] for _, line in logged} == {0.0}
    assert logged[-1][1]["selection/frac_mixed"] == shares[-1]


def test_a_resumed_run_makes_the_choices_of_one_that_was_not_interrupted(tmp_path):
    whole = started(args_of(tmp_path / "whole"))
    chosen = run(whole, range(40))
    first = started(args_of(tmp_path / "first"))
    run(first, range(20))
    first.save(19)
    run(first, range(20, 27))
    first.loop.close(finished=False)  # as a kill does
    second = started(args_of(tmp_path / "first", load=str(tmp_path / "first")), start=20)
    assert run(second, range(20, 40)) == chosen[20:]
    assert beliefs(second) == beliefs(whole)
    assert (second.loaded, second.loop.step) == (19, 40)


def run_apart(folder, *kill_at):
    """This file as a program: how it ended, and (number, ids, beliefs) of each rollout."""
    ended = subprocess.run(
        [sys.executable, __file__, str(folder), *map(str, kill_at)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    return ended.returncode, [json.loads(line) for line in ended.stdout.splitlines()]


def test_a_process_that_was_killed_goes_on_as_if_nothing_had_happened(tmp_path):
    ended, whole = run_apart(tmp_path / "whole")
    assert (ended, len(whole)) == (0, 40)
    killed, first = run_apart(tmp_path / "cut", 27)
    assert (killed, first) == (-signal.SIGKILL, whole[:27])
    ended, rest = run_apart(tmp_path / "cut")
    assert (ended, rest) == (0, whole[20:])


def test_the_order_of_the_file_does_not_matter_to_a_resume(tmp_path):
    first = started(args_of(tmp_path))
    run(first, range(5))
    first.save(4)
    first.loop.close(finished=False)
    turned = args_of(tmp_path, load=str(tmp_path), prompt_data=samples()[::-1])
    with pytest.warns(UserWarning, match="the pool changed"):
        second = started(turned, start=5)
    seen = {}
    for source in (first, second):
        posterior = source.loop.selector.posterior
        seen[source] = dict(zip(source.loop.pool.ids, posterior.alpha.tolist(), strict=True))
    assert seen[first] == seen[second]


def test_groups_that_the_filter_drops_are_observed():
    source = started(args_of())
    rolled_out = [len(groups) for groups in run(source, range(8), keep=mixed)]
    assert source.loop.step == 8
    assert rolled_out[0] > 2 * BATCH
    assert sum(rolled_out[4:]) < 4 * rolled_out[0] / 2


def test_a_rollout_that_has_dealt_all_prompts_gets_them_again():
    source = started(args_of(prompt_data=samples(20)))
    (rolled_out,) = run(source, [0], keep=mixed)
    assert len(rolled_out) > 20
    assert set(rolled_out) == set(range(20))


def test_aborted_groups_come_first_and_count_when_they_are_finished(tmp_path):
    changes = {"partial_rollout": True, "over_sampling_batch_size": 2 * BATCH}
    whole = started(args_of(tmp_path / "whole", **changes))
    first = started(args_of(tmp_path / "first", **changes))
    chosen = run(whole, range(12), aborts=5)
    run(first, range(6), aborts=5)
    waiting = [group[0].metadata["task"] for group in first.buffer]
    assert first.get_buffer_length() == len(waiting) > 0
    first.save(5)
    first.loop.close(finished=False)
    second = started(args_of(tmp_path / "first", load=str(tmp_path / "first"), **changes), start=6)
    again = second.get_samples(len(waiting))
    assert sorted(group[0].metadata["task"] for group in again) == sorted(waiting)
    metrics = whole.loop.end_step()
    assert metrics["rollouts_duplicate"] == 0
    assert metrics["rollouts_generated"] == K * sum(map(len, chosen))


def test_one_of_several_rewards_and_answers_without_one(logged):
    source = started(args_of(insight={"id": "task", "outcome": "correct"}))
    (group,) = source.get_samples(1)
    rewards = [
        {"correct": 1.0, "brief": 0.1},
        {"correct": 0.0, "brief": 0.9},
        None,
        {"correct": None},
    ]
    for sample, reward in zip(group, rewards, strict=True):
        sample.reward, sample.response = reward, f"the answer with {reward}"
    observe(source.args, [group], source)
    assert [kept.completion for kept in source.loop.samples] == [group[0].response]
    assert logged[0][1]["selection/reward_mean"] == 0.5
    assert logged[0][1]["selection/rollouts_unscored"] == 2
    named = started(args_of(reward_key="correct"))
    (group,) = named.get_samples(1)
    for sample, reward in zip(group, rewards, strict=True):
        sample.reward = reward
    observe(named.args, [group], named.get_samples)
    assert beliefs(named) == beliefs(source)


def test_of_a_rollout_that_became_several_samples_the_last_has_the_outcome(logged):
    source = started(args_of())
    (group,) = source.get_samples(1)
    parts = []
    for number, sample in enumerate(group):
        parts.append([deepcopy(sample), deepcopy(sample)])
        parts[-1][0].reward, parts[-1][1].reward = 0.0, float(number > 0)
    observe(source.args, [parts], source)
    assert logged[0][1]["selection/reward_mean"] == 0.75


def test_prompts_without_ids_have_hashes_of_their_texts():
    chat = [[{"role": "user", "content": f"{i}+{i}="}] for i in range(80)]
    plain, chats = (
        started(args_of(insight={}, prompt_data=[Sample(prompt=prompt) for prompt in prompts]))
        for prompts in ([each[0]["content"] for each in chat], chat)
    )
    assert plain.loop.pool.ids == chats.loop.pool.ids


def test_the_flags_and_the_settings_in_the_guide_work(tmp_path):
    yaml = pytest.importorskip("yaml")
    page = (ROOT / "docs/trainers.md").read_text()
    shown = page.partition("\n## slime\n")[2].partition("\n## ")[0]
    flags = dict(
        line.split() for line in shown.partition("```text\n")[2].partition("```")[0].splitlines()
    )
    settings = yaml.safe_load(shown.partition("```yaml\n")[2].partition("```")[0])
    args = args_of(
        tmp_path,
        rollout_all_samples_process_path=flags["--rollout-all-samples-process-path"],
        **settings,
    )
    source = load_function(flags["--data-source-path"])(args)
    run(source, range(3))
    assert source.loop.step == 3
    assert source.loop.pool.ids == tuple(str(i) for i in range(80))


# What each name of slime is asked for; without it the sentence names it.


@pytest.mark.parametrize("name", ARGS)
def test_slime_without_a_setting(name):
    args = args_of()
    delattr(args, name)
    with pytest.raises(ArgumentError, match=f"args: expected slime's.* without {name};"):
        SelectingDataSource(args)


@pytest.mark.parametrize("name", SOURCE)
def test_a_data_source_without_a_name(name, monkeypatch):
    class Without(RolloutDataSourceWithBuffer):
        def __init__(self, args):
            super().__init__(args)
            self.made = True

        def __getattribute__(self, asked):
            if asked == name and "made" in vars(self):
                raise AttributeError(asked)
            return super().__getattribute__(asked)

    module = sys.modules["slime.rollout.data_source"]
    monkeypatch.setattr(module, "RolloutDataSourceWithBuffer", Without)
    with pytest.raises(ArgumentError, match=f"data source: expected slime's.* without .*{name}"):
        SelectingDataSource(args_of())


@pytest.mark.parametrize("name", SAMPLE)
def test_a_sample_without_a_name(name):
    class Without(Sample):
        def __getattribute__(self, asked):
            if asked == name:
                raise AttributeError(asked)
            return super().__getattribute__(asked)

    given = args_of()
    given.prompt_data = [Without() for _ in range(80)]
    with pytest.raises(ArgumentError, match=f"sample: expected slime's.* without {name};"):
        SelectingDataSource(given)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("slime.rollout.data_source", "RolloutDataSourceWithBuffer"),
        ("slime.observability.logging_utils", "log"),
    ],
)
def test_a_module_that_is_gone_or_lost_a_name(module, name, monkeypatch):
    with monkeypatch.context() as changed:
        changed.delattr(sys.modules[module], name)
        with pytest.raises(ArgumentError, match=f"{module}: expected slime's.* without {name};"):
            SelectingDataSource(args_of())
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ArgumentError, match=f"slime: expected the module {module}, got: "):
        SelectingDataSource(args_of())


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        (
            {"rollout_all_samples_process_path": None},
            ArgumentError,
            f"expected {OBSERVE}.* got None",
        ),
        (
            {"rollout_function_path": "slime.rollout.fully_async_rollout.generate"},
            ArgumentError,
            "slime's own rollout function, which heeds it, got .*fully_async",
        ),
        ({"insight": "uniform"}, ArgumentError, "insight: expected settings by name"),
        ({"insight": {"selectr": "a"}}, ArgumentError, "got 'selectr'; did you mean 'selector'"),
        ({"insight": {"selector": "insigt"}}, ArgumentError, "did you mean 'insight'"),
        ({"insight": {"rollouts": 8}}, ArgumentError, "rollouts: expected 4, as in slime's"),
        ({"prompt_data": samples(7)}, ArgumentError, "expected 8 prompts or more.* got 7"),
        ({"prompt_data": None}, ArgumentError, "--prompt-data: expected a data set"),
        ({"prompt_data": samples() + samples()[:1]}, PoolError, "'0'"),
        ({"insight": {"id": "name"}}, PoolError, "id"),
    ],
    ids=lambda value: "" if not isinstance(value, str) else value[:20],
)
def test_what_cannot_work_is_refused_at_the_start(changes, error, sentence, tmp_path):
    with pytest.raises(error, match=sentence) as caught:
        SelectingDataSource(args_of(tmp_path, **changes))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_results_that_cannot_be_counted_change_nothing():
    source = started(args_of())
    group, other = source.get_samples(2)
    before = digest(source.loop.state_dict())
    for sample in group + other:
        sample.reward = 1.0
    other[0].reward = {"correct": 1.0}
    with pytest.raises(ArgumentError, match="insight.outcome: .*one of correct, got None; name"):
        observe(source.args, [group, other], source)
    other[0].reward = float("inf")
    with pytest.raises(ObservationError, match="expected a finite reward"):
        observe(source.args, [group, other], source)
    assert digest(source.loop.state_dict()) == before
    with pytest.raises(ArgumentError, match="--data-source-path: expected .* got a Namespace"):
        observe(source.args, [group], Namespace())


def test_a_checkpoint_before_anything_came_back_is_refused(tmp_path):
    source = started(args_of(tmp_path))
    source.get_samples(BATCH)
    with pytest.raises(ArgumentError, match="got no call before the first checkpoint"):
        source.save(0)
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path):
    first = started(args_of(tmp_path))
    run(first, range(2))
    first.save(1)
    first.loop.close(finished=False)
    loads = {"load": str(tmp_path)}
    with pytest.raises(CheckpointError, match="insight_ext_7.pt: expected the beliefs.*--finetune"):
        started(args_of(tmp_path, **loads), start=8)
    with pytest.raises(CheckpointError, match="insight_ext_1.pt: .*selector"):
        started(args_of(tmp_path, insight={"id": "task", "selector": "uniform"}, **loads), start=2)
    others = [Sample(prompt=f"{i}-{i}=", metadata={"task": f"other {i}"}) for i in range(80)]
    with pytest.raises(CheckpointError, match="insight_ext_1.pt: .*pool"):
        started(args_of(tmp_path, prompt_data=others, **loads), start=2)
    assert started(args_of(tmp_path, **loads), start=0).loop.step == 0


def main(folder, kill_at=-1):
    """slime's `train.py` with a checkpoint at every tenth of 40 rollouts; dies if told so."""
    sys.modules |= slime_modules([])
    latest = folder / "latest_checkpointed_iteration.txt"
    start = int(latest.read_text()) + 1 if latest.exists() else 0
    source = started(args_of(folder, load=str(folder)), start)

    def solve_or_die(sample, rollout_id):
        if rollout_id == kill_at and sample.index % (K * BATCH) == K * BATCH // 2:
            os.kill(os.getpid(), signal.SIGKILL)  # in the middle of a rollout
        return solve(sample, rollout_id)

    for i in range(start, 40):
        _, groups = generate_rollout(source.args, i, source, solve_or_die)
        ids = [group[0].metadata["task"] for group in groups]
        print(json.dumps([i, ids, beliefs(source)]), flush=True)
        if i % 10 == 9:
            source.save(i)
            latest.write_text(str(i))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
