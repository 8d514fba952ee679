from __future__ import annotations

import pytest
import torch

from insight_ext.selectors import Bots


def test_every_belief_moves_by_the_rule_by_hand():
    proposer = Bots(2, decay=0.8, sharing=0.2)
    proposer.observe([0], [6], 8)
    # The batch's smoothed rate is 6.5 / 9; every mean was 1/2, so q = 6.5 / 9 of m = 8 answers.
    shared = 0.2 * 8 * 6.5 / 9
    assert float(proposer.posterior.alpha[1]) == pytest.approx(1.0 + shared)
    assert float(proposer.posterior.beta[1]) == pytest.approx(1.0 + 0.2 * 8 - shared)
    assert float(proposer.posterior.alpha[0]) == pytest.approx(1.0 + shared + 0.8 * 6)


def test_without_sharing_or_forgetting_beliefs_are_counts():
    proposer = Bots(2, decay=1.0, sharing=0.0)
    proposer.observe([0], [6], 8)
    proposer.observe([0, 1], [1, 2], 8)
    assert proposer.posterior.alpha.tolist() == [8.0, 3.0]
    assert proposer.posterior.beta.tolist() == [10.0, 7.0]


def test_beliefs_stay_positive_when_everything_is_right_or_wrong():
    proposer = Bots(5)
    for successes in (8, 0) * 50:
        proposer.observe(torch.arange(5), torch.full((5,), successes), 8)
    assert bool((proposer.posterior.alpha > 0).all() and (proposer.posterior.beta > 0).all())
