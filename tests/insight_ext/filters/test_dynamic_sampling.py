from __future__ import annotations

import pytest
import torch

from insight_ext.filters import DynamicSampling, Groups, Speed


def batch(first: int, *successes: int, k: int = 4) -> Groups:
    """Groups of prompts first, first + 1, ... with these numbers of successes."""
    rewards = torch.tensor([[1.0] * s + [0.0] * (k - s) for s in successes])
    return Groups(torch.arange(first, first + len(successes)), rewards)


def test_a_full_batch_settles_at_once():
    verdict = DynamicSampling().judge([batch(0, 1, 2, 3)], 3)
    assert verdict.settled
    assert verdict.train.tolist() == [0, 1, 2]


def test_it_refills_until_enough_groups_vary_and_drops_the_surplus():
    sampling, batches = DynamicSampling(), [batch(0, 0, 2, 4)]
    assert sampling.judge(batches, 3).wanted == 3
    batches.append(batch(3, 1, 0, 0))
    assert sampling.judge(batches, 3).wanted == 3
    batches.append(batch(6, 4, 3, 3))
    verdict = sampling.judge(batches, 3)
    assert verdict.train.tolist() == [1, 3, 7]
    assert sampling.rollouts == 9 * 4
    assert sampling.metrics()["generation_batches"] == 3.0


def test_at_the_cap_it_warns_and_trains_on_what_there_is():
    sampling = DynamicSampling(max_batches=2)
    with pytest.warns(UserWarning, match="2 generation batches gave 1 of 3 groups"):
        verdict = sampling.judge([batch(0, 0, 2, 4), batch(3, 0, 0, 4)], 3)
    assert verdict.settled
    assert verdict.train.tolist() == [1]


def test_an_exhausted_pool_ends_the_step():
    sampling = DynamicSampling()
    with pytest.warns(UserWarning, match="1 generation batches gave 1 of 3 groups"):
        verdict = sampling.judge([batch(0, 0, 2, 4)], 3, refillable=False)
    assert verdict.settled
    assert verdict.train.tolist() == [1]


def test_a_refill_may_have_its_own_size():
    assert DynamicSampling(refill=5).judge([batch(0, 0, 2, 4)], 3).wanted == 5


def test_graded_rewards_that_differ_count_as_spread():
    rewards = torch.tensor([[0.1, 0.1, 0.0, 0.1]])
    assert DynamicSampling().judge([Groups(torch.tensor([0]), rewards)], 1).train.tolist() == [0]


def test_speed_continues_between_all_and_nothing():
    rewards = torch.tensor([[0.0] * 4, [0.1, 0.1, 0.1, 0.0], [1.0, 0.1, 0.0, 0.0], [1.0] * 4])
    assert Speed().screening == 4
    assert Speed().passes(rewards).tolist() == [False, False, True, False]
    assert Speed(success_threshold=0.1).passes(rewards).tolist() == [False, True, True, False]


def test_speed_counts_the_prompts_it_gave_up():
    finished = batch(0, 1, 3, k=8)
    speed = Speed()
    speed.judge([Groups(finished.indices, finished.rewards, abandoned=6 * 4)], 2)
    assert speed.rollouts == 2 * 8 + 6 * 4


def test_speed_survives_a_batch_that_is_given_up_whole():
    speed, none = Speed(max_batches=2), torch.empty(0, dtype=torch.int64)
    given_up = Groups(none, torch.empty(0, 8), abandoned=12)
    assert speed.judge([given_up], 3).wanted == 3
    with pytest.warns(UserWarning, match="none, since no rewards vary"):
        verdict = speed.judge([given_up, given_up], 3)
    assert len(verdict.train) == 0
    assert speed.rollouts == 24
