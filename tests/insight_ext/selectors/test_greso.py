from __future__ import annotations

import pytest
import torch

from insight_ext import ArgumentError
from insight_ext.selectors import Greso
from insight_ext.selectors.greso import keep_probability


def test_a_prompt_without_a_streak_is_always_kept():
    base = torch.linspace(0.01, 1.0, 50)
    assert keep_probability(base, torch.zeros(50, dtype=torch.int32)).tolist() == [1.0] * 50


def test_the_keep_probability_falls_by_the_base_and_stops_at_a_hundredth():
    streak = torch.tensor([1, 2, 3, 50])
    kept = keep_probability(torch.full((4,), 0.5), streak)
    assert kept.tolist() == pytest.approx([0.5, 0.25, 0.125, 0.01])


def test_streaks_grow_turn_and_end():
    selector = Greso(3)
    selector.observe([0, 1, 2], [8, 0, 4], 8, step=0)
    selector.observe([0, 1, 2], [8, 8, 8], 8, step=1)
    assert selector.streak.tolist() == [2, 1, 1]
    selector.observe([0], [5], 8, step=2)
    assert selector.streak.tolist() == [0, 1, 1]


def test_base_probabilities_move_towards_the_targets():
    selector = Greso(4, base=0.5)
    for step, bases in enumerate(([0.5, 0.5], [0.51, 0.49])):
        selector.select(4, step=step)
        selector.observe([0, 1, 2, 3], [8, 8, 8, 4], 8, step=step)  # too many easy, no hard
        assert selector.bases.tolist() == pytest.approx(bases)


def test_base_probabilities_stay_within_their_bounds():
    selector = Greso(4, base=0.5, adjustment=0.2)
    for step in range(9):
        selector.select(4, step=step)
        selector.observe([0, 1, 2, 3], [8, 8, 8, 4], 8, step=step)
    assert selector.bases.tolist() == pytest.approx([0.95, 0.05])


def test_prompts_with_streaks_come_less_often():
    selector = Greso(200, base=0.2, adjustment=0.0)
    solved = torch.arange(100)
    for step in range(3):
        selector.observe(solved, torch.full((100,), 8), 8, step=step)
    chosen = torch.cat([selector.select(20, step=step) for step in range(3, 23)])
    assert int((chosen < 100).sum()) < 40  # of 400; kept one time in a hundred, not one in one


def test_a_batch_is_filled_even_if_everything_is_skipped():
    selector = Greso(10, base=0.05, adjustment=0.0)
    for step in range(5):
        selector.observe(list(range(10)), [0] * 10, 8, step=step)
    assert sorted(selector.select(10, step=5).tolist()) == list(range(10))


def test_a_base_outside_its_domain_is_refused():
    with pytest.raises(ArgumentError, match="base: expected a probability"):
        Greso(3, base=0.0)
