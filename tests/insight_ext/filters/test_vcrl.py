from __future__ import annotations

import warnings

import numpy as np
import pytest

from insight_ext import ArgumentError, Prompt, PromptPool
from insight_ext.beliefs.group import Group
from insight_ext.beliefs.pool_change import PoolChange
from insight_ext.filters import VCRL
from insight_ext.filters.vcrl import normalised_variance
from insight_ext.state import carried


def batch(prompts: list[int], successes: list[int], k: int = 8) -> list[Group]:
    pairs = zip(prompts, successes, strict=True)
    return [Group(prompt, (1.0,) * s + (0.0,) * (k - s)) for prompt, s in pairs]


def filtering(**options) -> VCRL:
    return VCRL(success_threshold=1.0, **options)


@pytest.mark.parametrize("k", range(2, 65))
def test_the_largest_variance_is_one_and_the_form_is_the_unbiased_one(k):
    unbiased = np.array([np.var([1] * s + [0] * (k - s), ddof=1) for s in range(k + 1)])
    values = np.array([normalised_variance(s, k) for s in range(k + 1)])
    assert values.max() == values[k // 2] == 1.0
    np.testing.assert_allclose(values, unbiased / unbiased.max(), rtol=1e-14)


def test_one_rollout_has_no_variance():
    with pytest.raises(ArgumentError, match="at least 2"):
        normalised_variance(1, 1)


def test_the_threshold_rises_after_the_warm_up():
    vcrl = filtering(warmup=2)
    seen = []
    for _ in range(3):
        seen.append(vcrl.threshold)
        vcrl.judge([batch([0], [4])], 1)
    assert seen == [0.3, 0.3, 0.8]


def test_the_thresholds_are_the_papers():
    vcrl, seen = filtering(), []
    for _ in range(21):
        seen.append(vcrl.threshold)
        vcrl.judge([batch([0], [4])], 1)
    assert seen == [0.3] * 20 + [0.8]


def test_groups_of_high_variance_are_kept():
    # Variances 0, .4375, .75, 1 of the largest.
    vcrl, step = filtering(), batch([0, 1, 2, 3], [0, 1, 2, 4])
    assert vcrl.judge([step], 4).train == [1, 2, 3]
    strict = filtering(warmup=0)
    assert strict.judge([step], 4).train == [3]


def test_free_places_go_to_remembered_prompts_which_are_rolled_out_anew():
    vcrl = filtering()
    vcrl.judge([batch([10, 11, 12], [4, 1, 8])], 2)
    assert vcrl.memory.tolist() == [10, 11]
    first = batch([20, 21], [3, 0])
    verdict = vcrl.judge([first], 2)
    assert not verdict.settled
    assert verdict.wanted == 0
    assert verdict.recall == [10]
    verdict = vcrl.judge([first, batch([10], [5])], 2)
    assert verdict.train == [0, 2]
    assert vcrl.rollouts_spent == 3 * 8 + 3 * 8


def test_a_recalled_prompt_that_no_longer_varies_is_forgotten():
    vcrl = filtering()
    vcrl.judge([batch([10], [4])], 1)
    first = batch([20, 21], [4, 0])
    assert vcrl.judge([first], 2).recall == [10]
    vcrl.judge([first, batch([10], [8])], 2)
    assert vcrl.memory.tolist() == [20]


def test_prompts_not_seen_for_long_come_back_first():
    vcrl = filtering(momentum=0.9)
    vcrl.judge([batch([10], [2])], 1)
    for step in range(6):
        vcrl.judge([batch([20 + step], [4])], 1)
    # .75 of six steps ago against 1 of the last one.
    priority = 0.75
    for age in range(1, 7):
        priority = 0.9 * priority + 0.1 * age
    prompts, priorities, *_ = vcrl.state_dict()["positions"]["prompts"]
    assert float(priorities[prompts == 10]) == pytest.approx(priority)
    assert vcrl.memory[0] == 10


def test_a_prompt_of_the_batch_is_not_recalled():
    vcrl = filtering()
    vcrl.judge([batch([10], [4])], 1)
    with pytest.warns(UserWarning, match="none, since no rewards vary"):
        verdict = vcrl.judge([batch([10, 11], [0, 0])], 2)
    assert verdict.settled
    assert vcrl.memory.tolist() == []


def test_the_memory_holds_the_same_prompts_of_a_changed_pool():
    before = PromptPool(Prompt(name, f"{name}?", "1") for name in "abcdef")
    now = PromptPool(Prompt(name, f"{name}?", "1") for name in "fedxc")
    vcrl, resumed = filtering(), filtering()
    vcrl.judge([batch([0, 3, 5], [4, 4, 1])], 3)
    change = PoolChange(before.state_dict(), now)
    resumed.load_state_dict(carried(vcrl.state_dict(), resumed.state_dict(), change))
    assert [now.ids[i] for i in resumed.memory] == ["d", "f"]


def recalls(vcrl: VCRL, steps: int) -> list[bool]:
    """Whether each of these steps, with a place free, recalls prompt 10, which goes on to pass."""
    seen = []
    for step in range(steps):
        first = batch([100 + step], [0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            verdict = vcrl.judge([first], 1)
        seen.append(verdict.recall == [10])
        if not verdict.settled:
            vcrl.judge([first, batch([10], [4])], 1)
    return seen


@pytest.mark.parametrize(("max_replays", "expected"), [(1, 1), (2, 2), (3, 3), (None, 5)])
def test_a_prompt_is_replayed_so_often_at_most(max_replays, expected):
    vcrl = filtering(max_replays=max_replays)
    vcrl.judge([batch([10], [4])], 1)
    assert recalls(vcrl, 5) == [True] * expected + [False] * (5 - expected)


def test_a_prompt_that_the_selector_deals_again_may_be_replayed_anew():
    vcrl = filtering()
    vcrl.judge([batch([10], [4])], 1)
    assert recalls(vcrl, 1) == [True]
    vcrl.judge([batch([10], [4])], 1)
    assert recalls(vcrl, 3) == [True, True, False]


def test_a_threshold_of_its_own_decides_what_varies():
    graded = [Group(0, (0.6, 0.4)), Group(1, (0.9, 0.6)), Group(2, (0.4, 0.1))]
    assert VCRL(success_threshold=0.5).judge([graded], 3).train == [0]
