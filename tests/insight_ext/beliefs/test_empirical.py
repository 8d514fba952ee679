"""The prior fitted to first visits."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from scipy import optimize, stats

from insight_ext import BetaPosteriors, CheckpointError
from insight_ext.beliefs.empirical import fit_beta


@pytest.mark.parametrize(("alpha", "beta"), [(0.3, 0.45), (1.0, 1.0), (5.0, 2.0)])
@pytest.mark.parametrize("rollouts", [2, 8, 64])
def test_the_fit_is_the_maximum_that_scipy_finds(alpha, beta, rollouts):
    drawn = stats.betabinom.rvs(rollouts, alpha, beta, size=3000, random_state=rollouts)
    wins, counts = np.unique(drawn, return_counts=True)

    def cost(logs):
        return -counts @ stats.betabinom.logpmf(wins, rollouts, *np.exp(logs))

    best = np.exp(optimize.minimize(cost, [0.0, 0.0], method="Nelder-Mead").x)
    tries = torch.full((len(wins),), rollouts)
    fitted = fit_beta(torch.from_numpy(wins), tries, torch.from_numpy(counts))
    assert fitted == pytest.approx(tuple(best), rel=0.02)
    assert cost(np.log(fitted)) <= cost(np.log(best)) + 0.01


@pytest.mark.parametrize("successes", [0, 8])
def test_results_of_one_kind_have_a_fit_within_bounds(successes):
    fitted = fit_beta(torch.tensor([successes]), torch.tensor([8]), torch.tensor([500]))
    assert all(0.02 <= side <= 200.0 for side in fitted)
    assert (fitted[0] > 10 * fitted[1]) == (successes == 8)


def visited(decay: float = 1.0) -> tuple[BetaPosteriors, torch.Tensor]:
    """Beliefs after first visits to 400 of 500 prompts, 40 a time, and second ones to some."""
    beliefs = BetaPosteriors(500, prior="empirical", decay=decay)
    rates = stats.beta.rvs(0.3, 0.45, size=500, random_state=1)
    successes = torch.from_numpy(stats.binom.rvs(8, rates, random_state=2))
    for first in range(0, 400, 40):
        rows = torch.arange(first, first + 40)
        beliefs.observe(rows, successes[rows], 8)
    beliefs.observe([0, 1], [8, 0], 8)
    return beliefs, successes


@pytest.mark.parametrize("decay", [1.0, 0.5])
def test_all_beliefs_stand_on_the_fitted_prior(decay):
    beliefs, successes = visited(decay)
    alpha, beta = beliefs.prior
    wins, counts = torch.unique(successes[:280], return_counts=True)  # at the 256th
    expected = fit_beta(wins, torch.full_like(wins, 8), counts)
    assert (alpha, beta) == pytest.approx(expected, rel=1e-3)
    torch.testing.assert_close(beliefs.alpha[400:], torch.full((100,), alpha))
    torch.testing.assert_close(beliefs.alpha[2:400], alpha + successes[2:400].float())
    torch.testing.assert_close(beliefs.beta[2:400], beta + 8 - successes[2:400].float())
    torch.testing.assert_close(beliefs.alpha[0], alpha + decay * successes[0].float() + 8)


def test_a_few_first_visits_leave_the_uniform_prior():
    beliefs = BetaPosteriors(100, prior="empirical")
    beliefs.observe(torch.arange(63), torch.zeros(63, dtype=torch.int64), 8)
    assert beliefs.prior == (1.0, 1.0)
    beliefs.observe([63], [0], 8)
    assert beliefs.prior[0] < 0.1


def test_the_fitted_prior_resumes_bit_for_bit():
    beliefs, _ = visited()
    file = io.BytesIO()
    torch.save(beliefs.state_dict(), file)
    file.seek(0)
    resumed = BetaPosteriors(500, prior="empirical")
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for each in (beliefs, resumed):
        each.observe(torch.arange(400, 500), torch.arange(100) % 9, 8)
        each.observe(torch.arange(400, 500), torch.arange(100) % 9, 8)
    assert torch.equal(beliefs.alpha, resumed.alpha)
    assert torch.equal(beliefs.beta, resumed.beta)
    assert tuple(beliefs.prior) == tuple(resumed.prior)


def test_a_fitted_and_a_given_prior_do_not_go_on_from_each_other():
    fitted, given = BetaPosteriors(5, prior="empirical"), BetaPosteriors(5)
    for one, other in ((fitted, given), (given, fitted)):
        with pytest.raises(CheckpointError, match="expected prior_kind (an empirical|one) prior"):
            one.load_state_dict(other.state_dict())
