"""The loop alone: no trainer, no model."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from insight_ext import (
    ArgumentError,
    CheckpointError,
    GroupResult,
    ObservationError,
    Prompt,
    PromptPool,
    SelectionLoop,
    Selector,
)
from insight_ext.distributed.ranks import digest
from insight_ext.filters import VCRL
from insight_ext.selectors import InSight

K = 4


def pool_of(size=40):
    return PromptPool(Prompt(f"p{i}", f"{i}?", str(i)) for i in range(size))


POOL = pool_of()


def rewards(position, step):
    chance = random.Random(1009 * step + position)
    return [float(chance.random() < 1 - position / 40) for _ in range(K)]


def loop_of(selector="insight", pool=POOL, **options):
    features = {"gps": {"features": torch.eye(len(pool))}}.get(selector, {})
    settings_ = {"rollouts": K, "selector_options": features or None} | options
    return SelectionLoop(pool, selector, **settings_)


def one_step(loop, k=4):
    dealt = loop.deal(k)
    for group, position, _ in dealt:
        loop.report(group, rewards(position, loop.step))
    loop.end_step()
    return [each.position for each in dealt]


def beliefs(loop):
    return digest(loop.selector.state_dict()["parts"])


@settings(max_examples=40, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_in_which_answers_arrive_changes_nothing(chance):
    plain, other = loop_of(), loop_of()
    for step in range(3):
        pieces = []
        for (group, position, _), (again, *_) in zip(plain.deal(5), other.deal(5), strict=True):
            assert group == again
            answers = rewards(position, step)
            plain.report(group, answers)
            cut = chance.randrange(1, K)
            pieces += [
                GroupResult(group, answers[:cut], 0, K),
                GroupResult(group, answers[cut:], cut, K),
            ] * chance.choice([1, 2])
        chance.shuffle(pieces)
        for result in pieces:
            other.report_all([result])
        plain.end_step()
        other.end_step()
    assert beliefs(plain) == beliefs(other)


def test_every_rollout_becomes_evidence_once():
    loop = loop_of(selector_options={"decay": 1.0}, max_staleness=2)
    for step in range(6):
        for group, position, _ in loop.deal(5):
            if group % 3:
                loop.report(group, rewards(position, step))
                loop.report(group, rewards(position, step))
        loop.end_step()
    evidence = loop.selector.posterior.alpha + loop.selector.posterior.beta - 2
    reported = sum(1 for group in range(30) if group % 3)
    assert float(evidence.sum()) == reported * K


def test_a_prompt_in_flight_is_not_dealt_again_while_the_pool_allows():
    loop = loop_of(max_staleness=9)
    dealt = [each.position for _ in range(4) for each in (loop.deal(9), loop.end_step())[0]]
    assert len(set(dealt)) == 36
    assert len(loop.in_flight) == 36
    again = [each.position for each in loop.deal(9)]
    assert len(set(again)) == 9


def test_a_step_is_dealt_no_prompt_twice_and_ends_with_the_pool():
    loop = loop_of()
    dealt = [each.position for k in (7, 1, 30, 9) for each in loop.deal(k)]
    assert sorted(dealt) == list(range(40))
    assert loop.deal(3) == []


@pytest.mark.parametrize("selector", ["insight", "mixed_group", "expected_difficulty"])
def test_a_step_dealt_singly_is_the_step_dealt_at_once(selector):
    whole = {"candidate_ratio": None} if selector == "insight" else None
    at_once, singly = (loop_of(selector, selector_options=whole) for _ in range(2))
    for step in range(3):
        expected = [each.position for each in at_once.deal(16)]
        found = [singly.deal(1)[0].position for _ in range(16)]
        assert found == expected
        for loop in (at_once, singly):
            for flight in loop.in_flight:
                loop.report(flight.group, rewards(flight.position, step))
            loop.end_step()


def test_an_answer_that_cannot_be_scored_leaves_no_trace():
    loop = loop_of()
    (one, other) = loop.deal(2)
    loop.report(one.group, [1.0, None, float("nan"), 0.0])
    loop.report(other.group, [None] * K)
    metrics = loop.end_step()
    posterior = loop.selector.posterior
    assert float((posterior.alpha + posterior.beta - 2)[one.position]) == 2
    assert int(posterior.visits[other.position]) == 0
    assert metrics["rollouts_unscored"] == 6


def test_what_cannot_be_is_refused_and_nothing_changes():
    loop = loop_of()
    (dealt,) = loop.deal(1)
    before = digest(loop.state_dict())
    for call in (
        lambda: loop.report(7, [1.0]),
        lambda: loop.report(dealt.group, [float("inf")]),
        lambda: loop.report(dealt.group, []),
        lambda: loop.observe(40, [1.0]),
        lambda: loop.observe(0, []),
    ):
        with pytest.raises(ObservationError, match="nothing was taken in"):
            call()
    with pytest.raises(ObservationError, match=f"of group {dealt.group}: expected at least one"):
        loop.report(dealt.group, [])
    for call in (lambda: loop.deal(0), lambda: loop.deal(41), lambda: loop.deal(1, step=-1)):
        with pytest.raises(ArgumentError, match="expected"):
            call()
    assert digest(loop.state_dict()) == before


class Wrong(Selector):
    def __init__(self, answer):
        super().__init__(40)
        self.answer = answer

    def select(self, k, *, step, exclude):
        return self.answer(k, exclude)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda k, e: torch.arange(k - 1), "3 prompts, got 2"),
        (lambda k, e: torch.tensor([1, 2, 1]), "distinct prompts, got position 1 twice"),
        (lambda k, e: torch.tensor([1, 2, 40]), "positions in a pool of 40"),
        (lambda k, e: torch.tensor([-1, 2, 4]), "positions in a pool of 40"),
        (lambda k, e: torch.tensor([5.0, 2.0, 4.0]), "an int64 tensor"),
        (lambda k, e: [1, 2, 3], "an int64 tensor"),
        (lambda k, e: torch.tensor([9, 2, 4]), "none of the excluded prompts, got position 9"),
    ],
)
def test_a_selector_that_errs_is_named_and_nothing_is_dealt(answer, message):
    loop = SelectionLoop(POOL, Wrong(answer))
    loop.deal_these([9])
    with pytest.raises(ArgumentError, match=f"Wrong: expected.*{message}.*nothing was dealt"):
        loop.deal(3)
    assert len(loop.in_flight) == 1


def test_there_is_one_k_and_one_threshold():
    with pytest.raises(ArgumentError, match="InSight: expected rollouts 8, .* got 16"):
        SelectionLoop(POOL, InSight(40, rollouts=16), rollouts=8)
    with pytest.raises(ArgumentError, match=r"VCRL: expected success_threshold 1.0, .* got 0.5"):
        SelectionLoop(POOL, filter=VCRL(success_threshold=0.5))
    loop = SelectionLoop(POOL, rollouts=16, success_threshold=0.5, filter="vcrl")
    assert (loop.selector.score.rollouts, loop.filter.success_threshold) == (16, 0.5)


@pytest.mark.parametrize("selector", ["insight", "uniform", "gps", "greso", "mopps"])
def test_a_restored_loop_goes_on_as_the_first_at_any_moment(selector, tmp_path):
    for ended, dealt_singly, reported in ((0, 0, 0), (2, 3, 0), (3, 2, 2)):
        first = loop_of(selector, max_staleness=1)
        for _ in range(ended):
            one_step(first)
        open_ = [first.deal(1)[0] for _ in range(dealt_singly)]
        for each in open_[:reported]:
            first.report(each.group, rewards(each.position, first.step))
        first.save(tmp_path / "loop.pt")
        second = loop_of(selector, max_staleness=1)
        second.load(tmp_path / "loop.pt", in_flight="wait")
        for _ in range(3):
            assert one_step(second) == one_step(first)
        assert digest(second.state_dict()["parts"]) == digest(first.state_dict()["parts"])


def test_prompts_in_flight_at_a_kill_come_first():
    loop = loop_of("uniform", max_staleness=3)
    one_step(loop)
    lost = [each.position for each in loop.deal(5)]
    resumed = loop_of("uniform", max_staleness=3)
    resumed.load_state_dict(loop.state_dict())
    assert resumed.in_flight == []
    assert [each.position for each in resumed.deal(7)][:5] == lost


def test_a_selector_may_not_choose_what_a_resumed_step_deals_first():
    loop, resumed = (loop_of(Wrong(lambda k, exclude: torch.arange(k))) for _ in range(2))
    loop.deal(3)
    resumed.load_state_dict(loop.state_dict())
    with pytest.raises(ArgumentError, match="none of the excluded prompts, got position 0"):
        resumed.deal(5)


def test_a_flipped_bit_is_noticed(tmp_path):
    loop = loop_of()
    one_step(loop)
    state = loop.state_dict()
    alpha = state["parts"]["selector"]["parts"]["posterior"]["per_prompt"]["alpha"]
    alpha.view(torch.int32)[3] ^= 1 << 20
    before = digest(loop.state_dict())
    with pytest.raises(CheckpointError, match="beliefs are damaged: expected the digest"):
        loop.load_state_dict(state)
    assert digest(loop.state_dict()) == before


def test_numbers_with_a_stride_are_digested_as_those_without():
    numbers = torch.arange(20.0, dtype=torch.float64)
    for strided in (numbers.as_strided((1,), (9,), 3), numbers[::3]):
        assert digest(strided) == digest(strided.clone(memory_format=torch.contiguous_format))


def test_no_bit_of_a_files_end_is_flipped_unseen(tmp_path):
    loop, path = loop_of(), tmp_path / "loop.pt"
    one_step(loop)
    loop.save(path)
    before, content = digest(loop.state_dict()), path.read_bytes()
    for at in range(8 * 120):  # where the archive says what it holds
        damaged = bytearray(content)
        damaged[-1 - at // 8] ^= 1 << at % 8
        path.write_bytes(damaged)
        other = loop_of()
        try:
            other.load(path)
        except CheckpointError:
            continue
        assert digest(other.state_dict()) == before


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"selector": "uniform"}, "selector: expected kind Uniform, the checkpoint has InSight"),
        ({"selector_options": {"eta": 2.0}}, "expected eta 2.0, the checkpoint has 3.0"),
        ({"rollouts": 8}, "expected rollouts 8, the checkpoint has 4"),
        ({"success_threshold": 0.5}, "expected success_threshold 0.5, the checkpoint has 1.0"),
        ({"filter": "vcrl"}, "filter"),
        ({"pool": PromptPool([Prompt("z", "", "")])}, "another pool"),
    ],
)
def test_a_state_of_other_settings_is_refused_with_both_named(other, message):
    loop = loop_of()
    one_step(loop)
    fresh = loop_of(**other)
    before = digest(fresh.state_dict())
    with pytest.raises(CheckpointError, match=message):
        fresh.load_state_dict(loop.state_dict())
    assert digest(fresh.state_dict()) == before


@pytest.mark.parametrize("selector", ["insight", "uniform", "greso", "dps", "difficulty_pools"])
def test_beliefs_go_with_the_ids_where_the_pool_changed(selector):
    loop = loop_of(selector, selector_options=None)
    for _ in range(4):
        one_step(loop)
    state = loop.state_dict()
    kept = [*reversed(list(POOL)[5:]), Prompt("new", "new?", "1")]
    other = loop_of(selector, PromptPool(kept))
    with pytest.warns(UserWarning, match="35 of 36 prompts kept"):
        other.load_state_dict(state)
    for position, prompt in enumerate(kept):
        was = POOL.position(prompt.id) if prompt.id != "new" else None
        visits = 0 if was is None else int(loop.selector.posterior.visits[was])
        assert int(other.selector.posterior.visits[position]) == visits
    one_step(other)


class MostFailures(Selector):
    per_prompt = ("failures",)

    def __init__(self, pool_size, *, seed=0):
        super().__init__(pool_size, seed=seed)
        self.failures = torch.zeros(pool_size)

    def select(self, k, *, step, exclude):
        scores = self.failures.clone()
        scores[exclude] = -1.0
        return scores.topk(k).indices

    def observe(self, indices, successes, rollouts, *, step):
        self.failures[indices] += rollouts - successes


def test_your_own_strategy_of_fifteen_lines_resumes_and_survives_a_changed_pool(tmp_path):
    first = loop_of(MostFailures(40))
    for _ in range(5):
        one_step(first)
    first.save(tmp_path / "loop.pt")
    second = loop_of(MostFailures(40))
    second.load(tmp_path / "loop.pt")
    assert one_step(second) == one_step(first)
    smaller = loop_of(MostFailures(20), pool_of(20))
    with pytest.warns(UserWarning, match="20 of 20 prompts kept, 20 lost"):
        smaller.load_state_dict(first.state_dict())
    assert torch.equal(smaller.selector.failures, first.selector.failures[:20])


def test_two_loops_do_not_write_one_folder(tmp_path):
    one, other = (loop_of(folder=tmp_path) for _ in range(2))
    one_step(one)
    with pytest.raises(ArgumentError, match="no other run writes"):
        one_step(other)
    one.close()
    one_step(other)


def test_a_threshold_that_tells_nothing_apart_is_warned_of_once():
    loop = loop_of()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for step in range(64):
            for group, position, _ in loop.deal(4):
                loop.report(group, [0.9 * each for each in rewards(position, step)])
            loop.end_step()
    (one,) = told
    assert "rewards from 0 to 0.9; success_threshold 1 tells no" in str(one.message)


def test_rewards_of_a_scale_far_above_the_threshold_are_warned_of():
    loop = loop_of()
    ((group, *_),) = loop.deal(1)
    loop.report(group, [0.0, 55.0, *[100.0] * (K - 2)])
    with pytest.warns(UserWarning, match=r"from 0 to 100; success_threshold 1 .* such as 100, or"):
        loop.end_step()


def test_an_answer_is_shown_where_none_is_ever_rewarded():
    loop = loop_of()
    for _ in range(63):
        for group, *_ in loop.deal(4):
            loop.report(group, [0.0] * K)
        loop.end_step()
    for group, *_ in loop.deal(4):
        loop.report(group, [0.0] * K, completions=["#### 1"] * K)
    with pytest.warns(UserWarning, match=r"no answer differs .* and a completion was '#### 1'"):
        loop.end_step()


@pytest.mark.parametrize(
    ("levels", "threshold"), [((0.0, 1.0), 0.5), ((-1.0, 1.0), 0.0), ((0.1, 0.9), 0.5)]
)
def test_a_threshold_that_is_found_is_the_middle_of_the_rewards_seen(levels, threshold, tmp_path):
    loop = loop_of(success_threshold="auto", filter="dynamic_sampling")
    assert (loop.threshold, loop.filter.threshold_now) == (1.0, 1.0)
    (dealt,) = loop.deal(1)
    loop.report(dealt.group, [levels[0], levels[1], levels[1], levels[0]])
    loop.end_step()
    assert (loop.threshold, loop.filter.threshold_now) == (threshold, threshold)
    assert float(loop.selector.posterior.alpha[dealt.position]) == 3.0
    loop.save(tmp_path / "loop.pt")
    again = loop_of(success_threshold="auto", filter="dynamic_sampling")
    again.load(tmp_path / "loop.pt")
    assert (again.threshold, again.filter.threshold_now) == (threshold, threshold)
    with pytest.raises(CheckpointError, match="expected success_threshold 0.5, .* has auto"):
        loop_of(success_threshold=0.5, filter="dynamic_sampling").load(tmp_path / "loop.pt")


@pytest.mark.parametrize("selector", ["insight", "mopps", "uniform", "bots"])
def test_partial_credit_counts_a_reward_below_the_threshold_as_part_of_a_success(selector):
    loop = loop_of(selector, partial_credit=True, success_threshold=2.0)
    (dealt,) = loop.deal(1)
    loop.report(dealt.group, [1.0, 2.0, 5.0, -1.0])
    metrics = loop.end_step()
    beliefs = loop.selector.posterior
    own = [float(side[dealt.position]) for side in (beliefs.alpha, beliefs.beta)]
    assert own == pytest.approx([3.5, 2.5])
    assert metrics["calibration"] == pytest.approx(2.5 / K - 0.5)
    assert metrics["success_observed"] == 2 / K


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"selector": "dps"}, "expected a strategy that ranks by the beliefs alone.*got Dps"),
        ({"selector_options": {"prior": "empirical"}}, ".*without an empirical prior, got InSight"),
        ({"success_threshold": "auto"}, "expected a success_threshold above 0.*got auto"),
        ({"success_threshold": 0.0}, "expected a success_threshold above 0.*got 0.0"),
    ],
)
def test_partial_credit_that_means_nothing_is_refused(options, message):
    with pytest.raises(ArgumentError, match=f"partial_credit: {message}"):
        loop_of(**{"partial_credit": True, **options})


def test_rounding_does_not_make_a_success_a_failure():
    loop = loop_of()
    (dealt,) = loop.deal(1)
    loop.report(dealt.group, torch.tensor([0.7 + 0.2 + 0.1, 0.9]).tolist())
    loop.end_step()
    assert float(loop.selector.posterior.alpha[dealt.position]) == 2.0


PROGRAM = """
import sys, random
from pathlib import Path
from insight_ext import Prompt, PromptPool, SelectionLoop
folder, steps = Path(sys.argv[1]), int(sys.argv[2])
pool = PromptPool(Prompt(f"p{i}", f"{i}?", str(i)) for i in range(40))
loop = SelectionLoop(pool, "insight", rollouts=4, folder=folder, history_every=4)
if (folder / "loop.pt").exists():
    loop.load(folder / "loop.pt")
while loop.step < steps:
    dealt = loop.deal(4)
    print(loop.step, *[each.position for each in dealt], flush=True)
    for group, position, _ in dealt:
        chance = random.Random(1009 * loop.step + position)
        loop.report(group, [float(chance.random() < 1 - position / 40) for _ in range(4)])
    loop.end_step()
    if loop.step % 5 == 0:
        loop.save(folder / "loop.pt")
loop.close()
"""


def test_a_loop_killed_at_random_moments_deals_what_the_uninterrupted_one_deals(tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")

    def start(folder):
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(folder), "60"],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    whole = start(tmp_path / "whole")
    expected = whole.stdout.read().splitlines()
    assert whole.wait() == 0
    covered = 0
    for at in (7, 20, 33):
        run = start(tmp_path / "killed")
        lines = [run.stdout.readline() for _ in range(at)]
        run.kill()
        lines += run.stdout.readlines()
        assert run.wait() == -signal.SIGKILL
        whole_lines = [line.rstrip("\n") for line in lines if line.endswith("\n")]
        begin = int(whole_lines[0].split()[0])
        assert begin <= covered
        assert whole_lines == expected[begin : begin + len(whole_lines)]
        covered = begin + len(whole_lines)
    last = start(tmp_path / "killed")
    rest = last.stdout.read().splitlines()
    assert last.wait() == 0
    assert rest == expected[int(rest[0].split()[0]) :]
    for name in ("groups.parquet", "beliefs.parquet"):
        one, other = (pq.read_table(tmp_path / f / name) for f in ("killed", "whole"))
        assert one.equals(other)


def test_nothing_is_warned_of_in_an_ordinary_run():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loop = loop_of()
        for _ in range(5):
            one_step(loop)


@pytest.mark.parametrize("value", [1.7, True, "3", None, -1, float("nan"), torch.tensor(0.5)])
def test_what_is_no_whole_number_is_refused_before_anything_is_dealt(value):
    for name in ("rollouts", "seed", "max_staleness", "history_every"):
        with pytest.raises(ArgumentError, match=f"{name}: expected a whole number"):
            loop_of(**{name: value})
    loop = loop_of()
    calls = [loop.deal, lambda v: loop.deal_these([v]), lambda v: loop.observe(v, [1.0])]
    if value is not None:
        calls += [lambda v: loop.deal(1, step=v), lambda v: loop.deal_these([1], step=v)]
    for call in calls:
        with pytest.raises((ArgumentError, ObservationError), match="expected a whole number"):
            call(value)
    assert not loop.in_flight


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"selector_options": {"pool": 1}}, "selector_options: expected no option 'pool', which"),
        ({"selector_options": {"name": 1}}, "expected options among .*, got 'name'"),
        ({"selector_options": [1]}, "selector_options: expected options by their names, got"),
        ({"selector_options": {1: 2}}, "selector_options: expected options by their names, got"),
        ({"filter": "vcrl", "filter_options": {"name": 1}}, "options among .*, got 'name'"),
        ({"filter": "vcrl", "filter_options": "x"}, "filter_options: expected options by their n"),
        ({"filter": 7}, "filter: expected a name, a Filter or None, got 7"),
        ({"success_threshold": True}, "success_threshold: expected a finite number or auto, got T"),
    ],
)
def test_options_that_are_none_are_refused(options, message):
    with pytest.raises(ArgumentError, match=message):
        loop_of(**options)


def test_another_word_for_what_is_in_flight_is_refused():
    loop = loop_of()
    with pytest.raises(ArgumentError, match="in_flight: expected again or wait, got 'once'"):
        loop.load_state_dict(loop.state_dict(), in_flight="once")


def test_what_is_no_pool_is_refused():
    with pytest.raises(ArgumentError, match="pool: expected a PromptPool, got \\['a'\\]"):
        SelectionLoop(["a"])


def test_a_text_is_no_list_of_rewards():
    loop = loop_of()
    (dealt,) = loop.deal(1)
    with pytest.raises(ObservationError, match="expected a list of rewards, .* got '11'"):
        loop.report(dealt.group, "11")


def test_settings_of_numpy_are_saved_as_plain_numbers(tmp_path):
    options = {"decay": np.float64(0.5), "exploration": np.float32(0.25)}
    numbers = {"seed": np.int64(3), "rollouts": np.int32(K), "success_threshold": np.float32(0.5)}
    first = loop_of(selector_options=options, **numbers)
    first.told = {"prompts_per_step": np.int64(4)}
    one_step(first)
    first.save(tmp_path / "loop.pt")
    plain = {"decay": 0.5, "exploration": 0.25}
    second = loop_of(selector_options=plain, seed=3, success_threshold=0.5)
    second.load(tmp_path / "loop.pt")
    assert one_step(second) == one_step(first)


def test_a_file_needs_no_ending(tmp_path):
    first, second = loop_of(), loop_of()
    one_step(first)
    first.save(tmp_path / "loop")
    second.load(tmp_path / "loop")
    assert one_step(second) == one_step(first)


@pytest.mark.parametrize("value", ["no", 1, None, float("nan")])
def test_what_is_no_truth_value_is_refused(value):
    for name in ("partial_credit", "answers"):
        with pytest.raises(ArgumentError, match=f"{name}: expected True or False"):
            loop_of(**{name: value})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400, True, None, "x", [1]])
def test_a_threshold_that_is_none_is_refused(value):
    with pytest.raises(ArgumentError, match="success_threshold: expected a finite number or auto"):
        loop_of(success_threshold=value)


def test_what_a_checkpoint_tells_of_settings_cannot_act_on_a_terminal():
    first, second = loop_of(), loop_of()
    first.told = second.told = {"route": "a"}
    first.told = {"route": "\x1b[2J\u202e"}
    with pytest.warns(UserWarning, match="route") as warned:
        second.load_state_dict(first.state_dict())
    assert str(warned[0].message).isprintable()


def test_what_was_observed_before_a_checkpoint_is_in_it():
    first, second = loop_of(), loop_of()
    one_step(first)
    first.observe(7, [1.0, 0.0])
    second.load_state_dict(first.state_dict())
    for loop in (first, second):
        loop.end_step()
        assert loop.selector.posterior.alpha[7] > loop_of().selector.posterior.alpha[7]
    assert digest(second.state_dict()) == digest(first.state_dict())


def test_a_result_of_which_the_prompt_alone_is_known_belongs_to_the_oldest_group():
    loop = loop_of(max_staleness=9)
    older, newer = (loop.deal_these([5])[0].group for _ in range(2))
    assert loop.group_of(5) == older
    loop.report(older, [1.0] * K)
    assert loop.group_of(5) == newer
    loop.report(newer, [1.0] * K)
    assert loop.group_of(5) is None
    assert loop.group_of(6) is None
