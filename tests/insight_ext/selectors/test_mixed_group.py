from __future__ import annotations

from math import exp, lgamma

import pytest

from insight_ext.selectors import MixedGroup


def beta(a: float, b: float) -> float:
    return exp(lgamma(a) + lgamma(b) - lgamma(a + b))


def test_the_score_is_the_formula_by_hand():
    selector = MixedGroup(2, rollouts=2)
    # Beta(1, 1) and two answers: all right, all wrong and mixed are equally likely.
    assert float(selector.explain([1])["score"]) == pytest.approx(1 / 3)
    selector = MixedGroup(1, rollouts=8, decay=1.0)
    selector.observe([0], [3], 4, step=0)
    expected = 1 - (beta(12, 2) + beta(4, 10)) / beta(4, 2)
    assert float(selector.explain([0])["score"]) == pytest.approx(expected, rel=1e-5)


def test_the_likeliest_to_be_mixed_is_selected():
    selector = MixedGroup(3)
    selector.observe([0, 1, 2], [0, 5, 8], 8, step=0)
    assert selector.select(1, step=1).tolist() == [1]
