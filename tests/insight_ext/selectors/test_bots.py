from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit, logit

from insight_ext import ArgumentError
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


def test_without_references_every_mean_moves_by_the_batchs_surprise():
    n, decay, sharing, rollouts = 6, 0.8, 0.2, 8
    selector = Bots(n, decay=decay, sharing=sharing)
    a, b = np.ones(n), np.ones(n)
    random = np.random.default_rng(0)
    for step in range(6):
        chosen = random.choice(n, 3, replace=False)
        successes = random.integers(0, rollouts + 1, 3)
        selector.observe(chosen, successes, rollouts, step=step)
        mean = a / (a + b)
        observed = (successes.sum() + 0.5) / (3 * rollouts + 1)
        q = expit(logit(mean) + logit(observed) - logit(mean[chosen].mean()))
        weight, wins, tries = np.full(n, sharing), q * rollouts, np.full(n, float(rollouts))
        weight[chosen], wins[chosen] = 1.0, successes
        a = decay * a + (1 - decay) + weight * wins
        b = decay * b + (1 - decay) + weight * (tries - wins)
    np.testing.assert_allclose(selector.posterior.alpha.numpy(), a, rtol=1e-4)
    np.testing.assert_allclose(selector.posterior.beta.numpy(), b, rtol=1e-4)


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


def test_a_half_life_is_refused_with_the_decay_that_is_the_same():
    with pytest.raises(ArgumentError, match=r"half_life: expected none, .* give decay=0\.794"):
        Bots(3, half_life=3.0)
