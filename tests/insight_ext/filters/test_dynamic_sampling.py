from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from insight_ext.beliefs.group import Group
from insight_ext.filters import DynamicSampling, Speed


def batch(first: int, *successes: int, k: int = 4) -> list[Group]:
    """Groups of prompts first, first + 1, ... with these numbers of successes."""
    return [Group(first + i, (1.0,) * s + (0.0,) * (k - s)) for i, s in enumerate(successes)]


# Rewards as sums of tenths, with the rounding that such sums have.
GRADED = st.lists(st.integers(0, 12), min_size=2, max_size=64)
TENTHS = st.integers(1, 11)


def rewards_of(tenths: list[int]) -> tuple[float, ...]:
    return tuple(sum([0.1] * number) for number in tenths)


def test_a_full_batch_settles_at_once():
    verdict = DynamicSampling().judge([batch(0, 1, 2, 3)], 3)
    assert verdict.settled
    assert verdict.train == [0, 1, 2]


def test_it_refills_until_enough_groups_vary_and_drops_the_surplus():
    sampling, batches = DynamicSampling(), [batch(0, 0, 2, 4)]
    assert sampling.judge(batches, 3).wanted == 3
    batches.append(batch(3, 1, 0, 0))
    assert sampling.judge(batches, 3).wanted == 3
    batches.append(batch(6, 4, 3, 3))
    verdict = sampling.judge(batches, 3)
    assert verdict.train == [1, 3, 7]
    assert sampling.rollouts_spent == 9 * 4
    assert sampling.metrics()["refills"] == 2.0


def test_at_the_cap_it_warns_and_trains_on_what_there_is():
    sampling = DynamicSampling(max_batches=2)
    with pytest.warns(UserWarning, match="2 generation batches gave 1 of 3 groups"):
        verdict = sampling.judge([batch(0, 0, 2, 4), batch(3, 0, 0, 4)], 3)
    assert verdict.settled
    assert verdict.train == [1]


def test_an_exhausted_pool_ends_the_step():
    sampling = DynamicSampling()
    with pytest.warns(UserWarning, match="1 generation batches gave 1 of 3 groups"):
        verdict = sampling.judge([batch(0, 0, 2, 4)], 3, refillable=False)
    assert verdict.settled
    assert verdict.train == [1]


def test_a_refill_may_have_its_own_size():
    assert DynamicSampling(refill=5).judge([batch(0, 0, 2, 4)], 3).wanted == 5


def test_graded_rewards_that_differ_count_as_spread():
    assert DynamicSampling().judge([[Group(0, (0.1, 0.1, 0.0, 0.1))]], 1).train == [0]


def test_speed_continues_between_all_and_nothing():
    rewards = [(0.0,) * 4, (0.1, 0.1, 0.1, 0.0), (1.0, 0.1, 0.0, 0.0), (1.0,) * 4]
    groups = [Group(i, each) for i, each in enumerate(rewards)]
    strict, lenient = Speed(success_threshold=1.0), Speed(success_threshold=0.1)
    assert strict.screening == 4
    assert [strict.passes(group) for group in groups] == [False, False, True, False]
    assert [lenient.passes(group) for group in groups] == [False, True, True, False]
    assert not strict.passes(Group(4, (1.0, float("nan"), 1.0, 1.0)))


def test_speed_counts_the_prompts_it_gave_up():
    speed = Speed()
    speed.judge([batch(0, 1, 3, k=8)], 2, abandoned=batch(2, 0, 0, 4, 4, 0, 0))
    assert speed.rollouts_spent == 2 * 8 + 6 * 4


def test_speed_survives_a_batch_that_is_given_up_whole():
    speed = Speed(max_batches=2)
    assert speed.judge([[]], 3, abandoned=batch(0, 0, 0, 4)).wanted == 3
    with pytest.warns(UserWarning, match="none, since no rewards vary"):
        verdict = speed.judge([[], []], 3, abandoned=batch(0, 0, 0, 4, 0, 0, 4))
    assert len(verdict.train) == 0
    assert speed.rollouts_spent == 24


@given(tenths=st.lists(GRADED, min_size=1, max_size=8), threshold=TENTHS)
def test_groups_are_kept_by_correctness_where_there_is_a_threshold(tenths, threshold):
    groups = [Group(i, rewards_of(each)) for i, each in enumerate(tenths)]
    right = [sum(number >= threshold for number in each) for each in tenths]
    mixed = [i for i, each in enumerate(tenths) if 0 < right[i] < len(each)]
    chosen = DynamicSampling(success_threshold=threshold / 10)
    assert [i for i, group in enumerate(groups) if chosen.keeps(group)] == mixed


@given(tenths=st.lists(GRADED, min_size=1, max_size=8), threshold=TENTHS)
def test_groups_are_kept_by_spread_on_request_or_without_a_threshold(tenths, threshold):
    groups = [Group(i, rewards_of(each)) for i, each in enumerate(tenths)]
    varied = [i for i, each in enumerate(tenths) if np.ptp(each) > 0]
    for chosen in (
        DynamicSampling(),
        DynamicSampling(success_threshold=threshold / 10, by_spread=True),
    ):
        assert [i for i, group in enumerate(groups) if chosen.keeps(group)] == varied


def test_a_group_of_graded_failures_varies_and_is_no_mixed_one():
    group = Group(0, (0.1, 0.2, 0.3))
    assert DynamicSampling(by_spread=True, success_threshold=1.0).keeps(group)
    assert not DynamicSampling(success_threshold=1.0).keeps(group)


@given(
    outcomes=st.lists(st.integers(0, 4), min_size=1, max_size=30),
    given_up=st.integers(0, 10),
    target=st.integers(1, 30),
)
def test_a_refill_is_as_large_as_the_measured_share_says(outcomes, given_up, target):
    speed = Speed(success_threshold=1.0, oversample=2)
    kept = sum(0 < successes < 4 for successes in outcomes)
    verdict = speed.judge([batch(0, *outcomes)], target, abandoned=batch(99, *[0] * given_up))
    if kept >= target:
        assert verdict.settled
        return
    first, expected = 2 * target, 2 * target
    if kept:
        share = Fraction(kept, len(outcomes) + given_up)
        expected = min(first, -(-(target - kept) // share))
    assert verdict.wanted == expected


def test_an_oversampled_batch_is_cut_to_what_the_step_trains_on():
    sampling = DynamicSampling(success_threshold=1.0, oversample=3)
    assert sampling.first_batch(2) == 6
    verdict = sampling.judge([batch(0, 0, 2, 4, 1, 3, 2)], 2)
    assert verdict.settled
    assert verdict.train == [1, 3]


@given(GRADED, TENTHS)
def test_speed_passes_what_dynamic_sampling_keeps(tenths, threshold):
    group = Group(0, rewards_of(tenths))
    speed = Speed(success_threshold=threshold / 10)
    assert speed.passes(group) == speed.keeps(group)
