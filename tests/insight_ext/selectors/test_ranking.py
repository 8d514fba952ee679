from __future__ import annotations

from collections import Counter

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from insight_ext.kernel.ops import draw_distinct
from insight_ext.selectors.ranked import best, draw_candidates


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.data())
def test_the_best_are_the_best_and_come_in_order(values, data):
    scores = torch.tensor(values, dtype=torch.float32)
    excluded = data.draw(st.sets(st.integers(0, len(values) - 1), max_size=len(values) - 1))
    k = data.draw(st.integers(1, len(values) - len(excluded)))
    chosen = best(
        scores.clone(),
        k,
        np.random.default_rng(0),
        torch.tensor(sorted(excluded), dtype=torch.int64),
    )
    allowed = sorted((v for i, v in enumerate(values) if i not in excluded), reverse=True)
    assert [values[i] for i in chosen.tolist()] == allowed[:k]
    assert len(set(chosen.tolist())) == k
    assert not set(chosen.tolist()) & excluded


def test_ties_fall_by_lot():
    chosen = {
        int(best(torch.zeros(5), 1, np.random.default_rng(s), torch.tensor([], dtype=torch.int64)))
        for s in range(60)
    }
    assert chosen == set(range(5))


@given(st.integers(1, 40), st.data())
def test_candidates_are_distinct_and_allowed(n, data):
    excluded = data.draw(st.sets(st.integers(0, n - 1), max_size=n - 1))
    at_least = data.draw(st.integers(1, n - len(excluded)))
    count = data.draw(st.integers(at_least, n))
    drawn = draw_candidates(
        n,
        count,
        torch.tensor(sorted(excluded), dtype=torch.int64),
        at_least=at_least,
        seed=1,
        draw=n,
    ).tolist()
    assert at_least <= len(drawn) == len(set(drawn))
    assert not set(drawn) & excluded


def test_every_set_is_drawn_equally_often():
    """Chi-squared over the 35 sets of 3 of 7, at the level of one in a thousand."""
    draws = 7000
    sets = Counter(frozenset(draw_distinct(7, 3, 5, draw).tolist()) for draw in range(draws))
    expected = draws / 35
    assert len(sets) == 35
    assert sum((count - expected) ** 2 / expected for count in sets.values()) < 65.2


def test_a_seed_of_any_size_is_taken_modulo_two_to_the_64():
    drawn = draw_distinct(1000, 50, 1 + 2**64, 2)
    assert torch.equal(drawn, draw_distinct(1000, 50, 1, 2))


def test_a_draw_depends_on_seed_and_number_alone():
    first = draw_distinct(1000, 50, 1, 2)
    assert torch.equal(first, draw_distinct(1000, 50, 1, 2))
    assert not torch.equal(first, draw_distinct(1000, 50, 1, 3))
    assert not torch.equal(first, draw_distinct(1000, 50, 2, 2))
