from __future__ import annotations

import math

import pytest
import torch

from insight_ext import ArgumentError
from insight_ext.selectors import InSightPrior


def trained(**options) -> InSightPrior:
    """The easier, the smaller the feature; every third prompt visited once."""
    features = torch.linspace(-3, 3, 61)[:, None]
    selector = InSightPrior(61, features=features, **options)
    visited = torch.arange(0, 61, 3)
    successes = (8 * torch.sigmoid(-2 * features[visited, 0])).round().long()
    selector.observe(visited, successes, 8, step=0)
    return selector


def test_unseen_prompts_of_middling_predicted_difficulty_come_first():
    chosen = trained().select(6, step=0)
    assert bool((chosen - 30).abs().max() <= 9)


def test_the_score_is_the_formula():
    selector = trained(novelty=0.7, information=0.5, eta=2.0, mu=0.4, rollouts=4)
    terms = selector.explain(torch.arange(61))
    for i in (1, 27, 30, 31, 57):
        a, b = float(terms["alpha"][i]), float(terms["beta"][i])
        n, p, visits = a + b, a / (a + b), int(terms["visits"][i])
        expected = 4 * a * b / (n * (n + 1)) * math.exp(-2 * (p - 0.4) ** 2) * 0.7**visits
        expected *= (0.5 * math.log1p(4 / n)) ** (0.5 * 0.7**8)
        if visits and p < 0.44:
            expected *= 0.01
        assert float(terms["score"][i]) == pytest.approx(expected, rel=1e-4)


def test_repeats_that_teach_nothing_are_left_alone():
    selector = trained(novelty=0.01)
    assert bool((selector.posterior.visits[selector.select(20, step=0)] == 0).all())


def test_beliefs_of_unseen_prompts_move_with_the_skill():
    selector = InSightPrior(10)
    before = selector.predict(torch.tensor([9]))
    selector.observe([0, 1, 2, 3], [8, 8, 7, 8], 8, step=0)
    assert float(selector.predict(torch.tensor([9]))) > float(before) + 0.1


@pytest.mark.parametrize(
    "options",
    [{"information": 2.0}, {"mu": -0.1}, {"ready": 1.1}, {"rollouts": 0}, {"novelty": 0.0}],
)
def test_options_outside_their_domain_are_refused(options):
    with pytest.raises(ArgumentError, match="expected"):
        InSightPrior(5, **options)
