"""`insight` with features: candidates that were visited, and no kind above its part of a step."""

from __future__ import annotations

from math import ceil

import torch
from hypothesis import given
from hypothesis import strategies as st

from insight_ext.kernel.ops import top_k
from insight_ext.selectors import InSight
from insight_ext.selectors.insight import MOST


@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(2, 12), st.integers(0, 20))
def test_a_step_is_the_best_of_the_pool_of_which_no_kind_has_more_than_six_times_its_share(
    seed, k, kinds, excluded
):
    n, random = 120, torch.Generator().manual_seed(seed)
    of = torch.cat((torch.arange(kinds), torch.randint(kinds, (n - kinds,), generator=random)))
    selector = InSight(n, features=torch.eye(kinds)[of], candidate_ratio=None, seed=seed)
    seen = torch.randperm(n, generator=random)[:40]
    selector.observe(seen, torch.randint(9, (40,), generator=random), 8, step=0)
    exclude = torch.randperm(n, generator=random)[:excluded]
    chosen = selector.select(k, step=1, exclude=exclude).tolist()

    kind = selector.posterior.shared.kinds.tolist()
    most = [ceil(MOST * k * kind.count(each) / n) for each in range(kinds)]
    order = top_k(selector._scores(None), n, seed=selector._tie_seed).tolist()
    order = [each for each in order if each not in exclude.tolist()]
    taken, passed = [], []
    for prompt in order:
        room = sum(kind[each] == kind[prompt] for each in taken) < most[kind[prompt]]
        (taken if room else passed).append(prompt)
    assert chosen == (taken + passed)[:k]


class Watched(InSight):
    """Keeps the candidates of every ranking."""

    def _best(self, k, candidates, exclude):
        self.candidates = candidates
        return super()._best(k, candidates, exclude)


def test_a_quarter_of_the_visited_prompts_are_candidates_whatever_is_drawn():
    n, known = 100_000, torch.arange(0, 100_000, 500)
    selector = Watched(n, features=torch.eye(4)[torch.arange(n) % 4], seed=3)
    selector.observe(known, torch.full_like(known, 4), 8, step=0)
    exclude, often = known[:40], torch.zeros(n)
    for step in range(1, 41):
        selector.select(8, step=step, exclude=exclude)
        assert 64 + 40 >= len(selector.candidates) > 64 + 40 - 4
        often[selector.candidates] += 1
    assert not often[exclude].any()
    assert often[known[40:]].count_nonzero() == 160


def test_a_kind_over_its_bound_comes_behind_all_others_however_much_better_it_is():
    kinds = (torch.arange(240) >= 10).long()
    selector = InSight(240, features=torch.eye(2)[kinds], candidate_ratio=None)
    others = torch.arange(10, 240)
    for step in range(3):
        selector.observe(range(240), torch.where(kinds == 1, 0, 4), 8, step=step)
    scores = selector.explain(range(240))["score"]
    assert scores[:10].min() > 5 * scores[others].max()
    chosen = selector.select(24, step=3)
    assert int((chosen < 10).sum()) == 6  # six times a share of 10 in 240, of 24
