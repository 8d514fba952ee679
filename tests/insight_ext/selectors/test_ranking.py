"""The order of a ranking, and the draw of candidates."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from insight_ext import ArgumentError
from insight_ext.kernel.ops import draw_distinct, top_k
from insight_ext.selectors import AdaRft


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.data())
def test_the_best_are_the_best_and_come_in_order(values, data):
    scores = torch.tensor(values, dtype=torch.float32)
    excluded = data.draw(st.sets(st.integers(0, len(values) - 1), max_size=len(values) - 1))
    k = data.draw(st.integers(1, len(values) - len(excluded)))
    out = torch.tensor(sorted(excluded), dtype=torch.int64)
    chosen = top_k(scores, k, exclude=out).tolist()
    allowed = sorted((v for i, v in enumerate(values) if i not in excluded), reverse=True)
    assert [values[i] for i in chosen] == allowed[:k]
    assert len(set(chosen)) == k
    assert not set(chosen) & excluded
    assert top_k(scores, len(allowed), exclude=out).tolist()[:k] == chosen


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.data())
def test_the_order_is_the_same_for_part_of_the_prompts(values, data):
    scores = torch.tensor(values, dtype=torch.float32)
    part = data.draw(st.permutations(range(len(values))))[: data.draw(st.integers(1, len(values)))]
    indices = torch.tensor(part)
    chosen = top_k(scores[indices], len(part), indices=indices).tolist()
    assert chosen == [i for i in top_k(scores, len(values)).tolist() if i in part]


def test_ties_fall_by_lot():
    assert {int(top_k(torch.zeros(5), 1, seed=s)) for s in range(60)} == set(range(5))


def test_more_than_there_are_is_refused():
    with pytest.raises(ArgumentError):
        top_k(torch.zeros(3), 3, exclude=torch.tensor([1]))


@given(st.integers(1, 40), st.integers(1, 8), st.data())
def test_candidates_are_so_many_distinct_and_allowed(n, ratio, data):
    excluded = data.draw(st.sets(st.integers(0, n - 1), max_size=n - 1))
    k = data.draw(st.integers(1, n - len(excluded)))
    selector = AdaRft(n, candidate_ratio=ratio, seed=1)
    selector._asked = k
    drawn = selector._candidates(torch.tensor(sorted(excluded), dtype=torch.int64))
    if drawn is None:
        assert ratio * k >= n - len(excluded)
        return
    assert len(set(drawn.tolist())) == len(drawn) == ratio * k
    assert not set(drawn.tolist()) & excluded
    assert set(drawn.tolist()) <= set(range(n))


def test_a_step_that_comes_back_is_ranked_ahead_for_as_many_as_the_step_before(monkeypatch):
    ranked = []
    selector = AdaRft(1000)
    best = AdaRft._best
    monkeypatch.setattr(AdaRft, "_best", lambda s, k, *of: ranked.append(k) or best(s, k, *of))
    for step, sizes in enumerate(([64], [1] * 64, [1] * 80)):
        ranked.clear()
        out = torch.empty(0, dtype=torch.int64)
        for k in sizes:
            out = torch.cat((out, selector.select(k, step=step, exclude=out)))
        assert ranked == [[64], [1, 63], [1, 63, 64]][step]


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
