from __future__ import annotations

import math

import pytest
import torch

from insight_ext import ArgumentError
from insight_ext.selectors import AdaRft


def test_the_target_moves_by_the_rule_and_stays_in_range():
    selector = AdaRft(2, start=20.0)
    selector.observe([0, 1], [8, 4], 8, step=0)  # mean reward .75
    assert selector.target == pytest.approx(20 + 50 * math.tanh(2 * 0.25))
    for step in range(1, 6):
        selector.observe([0, 1], [8, 8], 8, step=step)
    assert selector.target == 100.0
    for step in range(6, 11):
        selector.observe([0, 1], [0, 0], 8, step=step)
    assert selector.target == 0.0


def test_the_nearest_difficulties_are_selected():
    selector = AdaRft(5, difficulty=torch.tensor([0.0, 25.0, 50.0, 75.0, 100.0]), start=60.0)
    assert selector.select(2, step=0).tolist() == [2, 3]
    selector = AdaRft(5, difficulty=torch.arange(5.0), start=2.2)
    assert selector.select(3, step=0).tolist() == [2, 3, 1]


def test_without_given_difficulties_failures_are_the_difficulty():
    selector = AdaRft(3, start=50.0)
    selector.observe([0, 1, 2], [8, 4, 0], 8, step=0)
    selector.target = 100.0
    assert selector.select(1, step=1).tolist() == [2]


@pytest.mark.parametrize("difficulty", [torch.ones(2), torch.tensor([1.0, 101.0, 2.0])])
def test_bad_difficulties_are_refused(difficulty):
    with pytest.raises(ArgumentError, match="difficulty"):
        AdaRft(3, difficulty=difficulty)
