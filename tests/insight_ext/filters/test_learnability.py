from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from insight_ext.beliefs.group import Group
from insight_ext.filters import Learnability, RolledOut


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


@given(
    counts=st.lists(st.tuples(st.integers(0, 64), st.integers(2, 64)), min_size=1, max_size=12),
    keep=st.sampled_from([0.25, 0.5, 1.0]),
)
def test_the_largest_variances_of_any_group_sizes_are_kept(counts, keep):
    counts = [(min(right, k), k) for right, k in counts]
    groups = [Group(i, (1.0,) * s + (0.0,) * (k - s)) for i, (s, k) in enumerate(counts)]
    variances = [Fraction(s, k) * (1 - Fraction(s, k)) for s, k in counts]
    rolled = RolledOut(groups, 12, 1, [0] * len(groups), range(len(groups)))
    train = Learnability(keep=keep, success_threshold=1.0).decide(rolled).train
    mixed = [i for i, variance in enumerate(variances) if variance > 0]
    assert len(train) == min(len(mixed), max(1, round(keep * len(groups))))
    left = [variances[i] for i in mixed if i not in train]
    assert all(variances[i] > 0 for i in train)
    # Rates are floats: 1/5 and 4/5 have equal variances up to their rounding.
    smallest = min((variances[i] for i in train), default=Fraction(1))
    assert all(smallest > each - Fraction(1, 2**50) for each in left)


def test_success_is_a_matter_of_the_threshold_and_a_share_of_a_larger_batch_can_be_kept():
    graded = [Group(0, (0.4, 0.4, 0.6, 0.4)), Group(1, (0.6, 0.4, 0.7, 0.2)), Group(2, (0.1, 0.2))]
    chosen = Learnability(keep=0.25, oversample=4, success_threshold=0.5)
    assert chosen.judge([[*graded, Group(3, (1.0, 1.0))]], 1).train == [1]
    assert chosen.first_batch(1) == 4
