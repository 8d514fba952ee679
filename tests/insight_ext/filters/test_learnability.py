from __future__ import annotations

from insight_ext.beliefs.group import Group
from insight_ext.filters import Learnability


def batch(*successes: int, k: int = 8) -> list[Group]:
    return [Group(i, (1.0,) * s + (0.0,) * (k - s)) for i, s in enumerate(successes)]


def test_learnability_is_largest_at_one_half():
    # One more group in every round: the order in which they are kept is that of p (1 - p).
    expected = sorted(range(1, 8), key=lambda s: -s / 8 * (1 - s / 8))
    assert expected[0] == 4
    for count in range(1, 8):
        chosen = Learnability(keep=count / 9, success_threshold=1.0)
        train = chosen.judge([batch(*range(9))], 9).train
        assert train == sorted(expected[:count])


def test_the_share_with_the_largest_learnability_is_kept_in_order():
    verdict = Learnability(keep=0.5, success_threshold=1.0).judge([batch(1, 4, 7, 3)], 4)
    assert verdict.train == [1, 3]


def test_at_least_one_group_is_kept():
    verdict = Learnability(keep=0.01, success_threshold=1.0).judge([batch(1, 2, k=2)], 2)
    assert verdict.train == [0]
