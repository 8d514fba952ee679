from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from insight_ext import ArgumentError, score, select_top_k
from insight_ext.kernel.ops import tie_seed
from insight_ext.selectors import InSight
from insight_ext.selectors.base import NONE
from insight_ext.selectors.insight import INFORMATION


def test_unseen_prompts_come_before_visited_ones():
    selector = InSight(6, candidate_ratio=None)
    selector.observe([0, 1, 2], [3, 3, 3], 8, step=0)
    assert set(selector.select(3, step=1).tolist()) == {3, 4, 5}


def test_the_whole_pool_is_selected_as_the_kernel_selects():
    selector = InSight(100, candidate_ratio=None, seed=5)
    visited = torch.arange(100)
    selector.observe(visited, visited % 9, 8, step=0)
    posterior = selector.posterior
    expected = select_top_k(
        posterior.alpha, posterior.beta, 10, selector.score, seed=tie_seed(5, 0)
    )
    assert torch.equal(selector.select(10, step=1), expected.indices)


def test_candidates_are_drawn_anew_and_the_best_of_them_win():
    selector = InSight(1000, candidate_ratio=2, seed=1)
    visited = torch.arange(1000)
    selector.observe(visited, visited % 9, 8, step=0)
    scores = score(selector.posterior.alpha, selector.posterior.beta, selector.score)
    first, second = selector.select(50, step=1), selector.select(50, step=2)
    assert set(first.tolist()) != set(second.tolist())
    # The best half of a random sample: far above the pool's mean, below the pool's very best.
    assert scores.mean() < scores[first].mean() < scores.topk(50).values.mean()


def test_ties_fall_by_the_seed_and_not_by_the_order_of_the_data():
    one, other = (InSight(1000, candidate_ratio=None, seed=s).select(10, step=0) for s in (0, 1))
    assert one.tolist() != other.tolist()
    assert max(one.tolist()) > 100


def test_ties_of_the_whole_pool_fall_alike_at_every_step_of_a_run():
    selector = InSight(1000, candidate_ratio=None)
    assert selector.select(10, step=0).tolist() == selector.select(10, step=1).tolist()


@pytest.mark.parametrize("later", [1, 2, 7])
def test_a_run_does_not_repeat_the_ties_of_a_later_step_of_another(later):
    """All prompts are unseen, so that ties alone decide."""
    for ratio in (None, 8):
        one, other = (InSight(1000, candidate_ratio=ratio, seed=s) for s in (0, later))
        chosen = one.select(10, step=later), other.select(10, step=0)
        assert chosen[0].tolist() != chosen[1].tolist()


def test_ties_at_the_cut_are_counted():
    selector = InSight(10, candidate_ratio=None)
    selector.observe(list(range(8)), [0, 0, 0, 3, 3, 8, 8, 8], 8, step=0)
    selector.select(1, step=1)
    assert selector.metrics()["frac_tied_at_cut"] == 1.0  # two unseen prompts, one chosen
    selector.select(2, step=2)
    assert selector.metrics()["frac_tied_at_cut"] == 0.0  # both unseen prompts, no other
    selector.select(3, step=3)
    assert selector.metrics()["frac_tied_at_cut"] == pytest.approx(1 / 3)
    selector.select(10, step=4)
    assert selector.metrics()["frac_tied_at_cut"] == 0.0  # the whole pool: no cut


def test_a_candidate_ratio_below_one_is_refused():
    with pytest.raises(
        ArgumentError, match="candidate_ratio: expected a whole number of at least 1, got 0"
    ):
        InSight(10, candidate_ratio=0)


@pytest.mark.parametrize("rollouts", [2, 4, 8, 16, 64])
def test_the_bound_of_the_information_is_as_near_as_the_docstring_says(rollouts):
    s = np.arange(rollouts + 1)
    for strength in (1.0, 1.5, 2.0, 4.0, 9.0, 17.0, 65.0):
        for mean in np.linspace(0.1, 0.9, 17):
            a, b = strength * mean, strength * (1.0 - mean)
            chances = stats.betabinom.pmf(s, rollouts, a, b)
            left = stats.beta.entropy(a + s, b + rollouts - s)
            information = stats.beta.entropy(a, b) - chances @ left
            bound = 0.5 * np.log1p(rollouts / strength)
            assert information <= bound <= 1.95 * information
            assert bound**INFORMATION <= 1.07 * information**INFORMATION


def test_the_information_is_at_least_73_percent_of_its_bound_from_alpha_and_beta_one_half_on():
    shares = []
    for rollouts in (1, 2, 4, 8, 16, 64):
        s = np.arange(rollouts + 1)
        for a in (0.5, 0.6, 1.0, 3.0, 20.0):
            for b in (0.5, 1.0, 4.0, 30.0, 1000.0):
                chances = stats.betabinom.pmf(s, rollouts, a, b)
                left = stats.beta.entropy(a + s, b + rollouts - s)
                bound = 0.5 * np.log1p(rollouts / (a + b))
                shares.append((stats.beta.entropy(a, b) - chances @ left) / bound)
    assert min(shares) == pytest.approx(0.73, abs=0.005)
    assert max(shares) <= 1.0


def test_after_a_visit_each_the_mixed_prompts_come_first():
    selector = InSight(300, candidate_ratio=None, decay=1.0)
    solved, failed, mixed = torch.arange(300).split(100)
    selector.observe(solved, torch.full((100,), 8), 8, step=0)
    selector.observe(failed, torch.full((100,), 0), 8, step=1)
    selector.observe(mixed, 1 + torch.arange(100) % 6, 8, step=2)
    assert set(selector.select(100, step=3).tolist()) == set(mixed.tolist())


def test_no_kind_has_more_than_six_times_its_share_of_a_step():
    kinds = torch.arange(600) % 60
    selector = InSight(600, features=torch.eye(60)[kinds], candidate_ratio=None)
    selector.observe(range(600), torch.where(kinds == 0, 3, 0), 8, step=0)
    chosen = kinds[selector.select(60, step=1)]
    assert torch.bincount(chosen, minlength=60)[0] == 6  # one prompt in 60 is of this kind


def test_a_quarter_of_the_visited_prompts_are_candidates_again():
    selector = InSight(10_000, features=torch.eye(2)[torch.arange(10_000) % 2])
    selector.observe(range(100), torch.arange(100) % 9, 8, step=0)
    selector.select(2, step=1)
    again = int((selector._candidates(NONE) < 100).sum())
    assert 25 <= again <= 27  # beside those, two at most of the 16 drawn
