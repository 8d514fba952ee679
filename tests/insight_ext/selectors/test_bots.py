from __future__ import annotations

import pytest
import torch

from insight_ext.selectors import Bots


def test_every_belief_moves_by_the_rule_by_hand():
    selector = Bots(2, decay=0.8, sharing=0.2)
    selector.observe([0], [6], 8, step=0)
    # The batch's smoothed rate is 6.5 / 9; every mean was 1/2, so q = 6.5 / 9 of m = 8 answers.
    shared = 0.2 * 8 * 6.5 / 9
    assert float(selector.posterior.alpha[1]) == pytest.approx(1.0 + shared)
    assert float(selector.posterior.beta[1]) == pytest.approx(1.0 + 0.2 * 8 - shared)
    # Of a prompt that was drawn its own results count, and nothing else.
    assert float(selector.posterior.alpha[0]) == pytest.approx(1.0 + 6)
    assert float(selector.posterior.beta[0]) == pytest.approx(1.0 + 2)


def test_without_sharing_or_forgetting_beliefs_are_counts():
    selector = Bots(2, decay=1.0, sharing=0.0)
    selector.observe([0], [6], 8, step=0)
    selector.observe([0, 1], [1, 2], 8, step=1)
    assert selector.posterior.alpha.tolist() == [8.0, 3.0]
    assert selector.posterior.beta.tolist() == [10.0, 7.0]


def test_beliefs_stay_positive_when_everything_is_right_or_wrong():
    selector = Bots(5)
    for step, successes in enumerate((8, 0) * 50):
        selector.observe(torch.arange(5), torch.full((5,), successes), 8, step=step)
    assert bool((selector.posterior.alpha > 0).all() and (selector.posterior.beta > 0).all())
