from __future__ import annotations

import pytest
import torch

from insight_ext import ArgumentError
from insight_ext.selectors import Mopps


def test_evidence_settles_at_the_steady_state():
    selector = Mopps(1, decay=0.5)
    for step in range(60):
        selector.observe([0], [3], 8, step=step)
    posterior = selector.posterior
    assert float(posterior.alpha + posterior.beta) == pytest.approx(2 + 8 / (1 - 0.5))
    assert float(posterior.alpha) == pytest.approx(1 + 3 / (1 - 0.5))


def test_the_informative_start_is_a_prior_of_each_prompt():
    successes, rollouts = torch.tensor([8.0, 0.0]), 8.0
    prior = (3 * successes + 1, 3 * (rollouts - successes) + 1)
    selector = Mopps(2, prior=prior)
    assert selector.posterior.alpha.tolist() == [25.0, 1.0]
    assert selector.posterior.beta.tolist() == [1.0, 25.0]


def test_draws_near_the_target_win():
    selector = Mopps(3000, candidate_ratio=None, decay=1.0)
    selector.observe(torch.arange(3000), torch.arange(3000) % 3 * 400, 800, step=0)
    chosen = selector.select(900, step=1)
    assert bool((chosen % 3 == 1).all())  # half of their answers were right


def test_threshold_takes_any_prompt_within_the_interval():
    selector = Mopps(4000, rule="threshold", candidate_ratio=None, decay=1.0)
    rates = torch.tensor([0, 320, 480, 800])  # of 800: 0, .4, .6 and 1
    selector.observe(torch.arange(4000), rates[torch.arange(4000) % 4], 800, step=0)
    chosen = selector.select(500, step=1) % 4
    assert set(chosen.tolist()) == {1, 2}
    assert 150 < int((chosen == 1).sum()) < 350


def test_threshold_fills_up_with_the_nearest_to_the_interval():
    selector = Mopps(3, rule="threshold", decay=1.0)
    selector.observe([0, 1, 2], [400000, 600000, 1000000], 1000000, step=0)
    assert set(selector.select(2, step=1).tolist()) == {0, 1}
    far = Mopps(2, rule="threshold", decay=1.0)
    far.observe([0, 1], [100000, 990000], 1000000, step=0)
    assert far.select(1, step=1).tolist() == [0]  # .2 from the interval, not .29


def test_an_unknown_rule_is_refused():
    with pytest.raises(ArgumentError, match="rule: expected 'top_k' or 'threshold', got 'best'"):
        Mopps(3, rule="best")
