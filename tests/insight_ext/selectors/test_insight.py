from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from insight_ext import ArgumentError, score, select_top_k
from insight_ext.kernel.ops import tie_seed, top_k
from insight_ext.selectors import InSight


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


def test_after_a_visit_each_the_mixed_prompts_come_first():
    selector = InSight(300, candidate_ratio=None, decay=1.0)
    solved, failed, mixed = torch.arange(300).split(100)
    selector.observe(solved, torch.full((100,), 8), 8, step=0)
    selector.observe(failed, torch.full((100,), 0), 8, step=1)
    selector.observe(mixed, 1 + torch.arange(100) % 6, 8, step=2)
    assert set(selector.select(100, step=3).tolist()) == set(mixed.tolist())


@given(st.integers(0, 2**32), st.integers(2, 12), st.integers(0, 30))
def test_with_features_a_step_is_the_best_of_the_pool_and_a_repeat_counts_less(
    seed, kinds, excluded
):
    n, random = 120, torch.Generator().manual_seed(seed)
    of = torch.cat((torch.arange(kinds), torch.randint(kinds, (n - kinds,), generator=random)))
    selector = InSight(n, features=torch.eye(kinds)[of], candidate_ratio=None, seed=seed)
    for step in range(3):
        seen = torch.randperm(n, generator=random)[:40]
        selector.observe(seen, torch.randint(9, (40,), generator=random), 8, step=step)
    exclude = torch.randperm(n, generator=random)[:excluded]
    chosen = selector.select(20, step=3, exclude=exclude)

    visits = selector.posterior.visits
    scores = score(*selector.posterior.current(), selector.score) / (1 + visits / 8)
    best = top_k(scores, 20, seed=selector._tie_seed, exclude=exclude)
    assert chosen.tolist() == best.tolist()
    for kind in range(kinds):
        unseen = scores[(of == kind) & (visits == 0)]
        assert (unseen == unseen[:1]).all()
