from __future__ import annotations

import torch

from insight_ext.filters import Groups, Learnability
from insight_ext.filters.learnability import learnability


def test_learnability_is_largest_at_one_half():
    rewards = torch.tensor([[1.0] * s + [0.0] * (8 - s) for s in range(9)])
    expected = [s / 8 * (1 - s / 8) for s in range(9)]
    assert learnability(rewards).tolist() == expected
    assert max(expected) == expected[4] == 0.25


def test_the_share_with_the_largest_learnability_is_kept_in_order():
    rewards = torch.tensor([[1.0] * s + [0.0] * (8 - s) for s in (1, 4, 7, 3)])
    verdict = Learnability(keep=0.5).judge([Groups(torch.arange(4), rewards)], 4)
    assert verdict.train.tolist() == [1, 3]


def test_at_least_one_group_is_kept():
    rewards = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    verdict = Learnability(keep=0.01).judge([Groups(torch.arange(2), rewards)], 2)
    assert verdict.train.tolist() == [0]
