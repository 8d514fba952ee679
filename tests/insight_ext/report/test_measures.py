"""The definitions on cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from insight_ext.report.measures import (
    Reach,
    expected_calibration_error,
    final_value,
    first_reach,
    first_visits,
    fraction_to_reach,
    is_mixed,
    overhead_share,
    reliability,
    trailing_mean,
)

STEPS = np.array([0.0, 10.0, 20.0, 30.0])
rates = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=20).map(np.array)


def test_a_group_is_mixed_between_none_and_all() -> None:
    assert is_mixed(np.array([0, 1, 7, 8, 4]), np.array([8, 8, 8, 8, 4])).tolist() == [
        False,
        True,
        True,
        False,
        False,
    ]


def test_the_smoothed_curve_averages_three_evaluations_and_looks_back_only() -> None:
    values = np.array([0.3, 0.6, 0.0, 0.9])
    assert trailing_mean(values) == pytest.approx([0.3, 0.45, 0.3, 0.5])
    assert final_value(values) == pytest.approx(0.5)


@given(rates)
def test_smoothing_stays_within_the_values(values: np.ndarray) -> None:
    smooth = trailing_mean(values)
    assert smooth.min() >= values.min() - 1e-12
    assert smooth.max() <= values.max() + 1e-12


def test_a_level_is_reached_between_two_evaluations() -> None:
    # Smoothed: 0, 0.1, 0.2, 0.5; the level 0.35 lies half-way between the last two.
    values = np.array([0.0, 0.2, 0.4, 0.9])
    assert first_reach(STEPS, values, 0.35) == pytest.approx(25.0)


def test_a_level_may_be_reached_at_once_or_never() -> None:
    values = np.array([0.5, 0.5, 0.5, 0.5])
    assert first_reach(STEPS, values, 0.5) == 0.0
    assert first_reach(STEPS, values, 0.6) is None


@given(rates)
def test_every_curve_reaches_its_own_final_value(values: np.ndarray) -> None:
    x = np.arange(len(values), dtype=np.float64)
    assert first_reach(x, values, final_value(values)) is not None


def test_the_fraction_divides_two_efforts_to_the_same_level() -> None:
    # The baseline ends at (0.3 + 0.6 + 0.9) / 3 = 0.6 and reaches that at 30; the arm's smoothed
    # curve is 0, 0.45, 0.6, 0.9 and reaches it at 20.
    baseline = np.array([0.0, 0.3, 0.6, 0.9])
    arm = np.array([0.0, 0.9, 0.9, 0.9])
    reach = fraction_to_reach(STEPS, arm, STEPS, baseline)
    assert reach == Reach(pytest.approx(2 / 3), reached=True)


def test_an_arm_compared_with_itself_needs_exactly_as_much() -> None:
    curve = np.array([0.1, 0.2, 0.5, 0.4])
    assert fraction_to_reach(STEPS, curve, STEPS, curve) == Reach(1.0, reached=True)


def test_an_arm_that_never_gets_there_gives_a_lower_bound() -> None:
    baseline = np.array([0.0, 0.3, 0.6, 0.9])
    arm = np.array([0.0, 0.1, 0.1, 0.1])
    assert fraction_to_reach(STEPS, arm, STEPS, baseline) == Reach(1.0, reached=False)
    assert fraction_to_reach(2 * STEPS, arm, STEPS, baseline) == Reach(2.0, reached=False)


def test_a_baseline_that_does_not_improve_sets_no_level() -> None:
    flat = np.array([0.4, 0.4, 0.4, 0.4])
    assert fraction_to_reach(STEPS, flat + 0.1, STEPS, flat) is None


def test_reliability_bins_are_centred_on_the_first_beliefs() -> None:
    # Float32 0.3 and 0.7 lie on either side of the decimal number: neither may leave its bin.
    predicted = np.array([0.3, 0.3, 0.7, 0.7], dtype=np.float32).astype(np.float64)
    curve = reliability(predicted, np.array([2, 4, 8, 6]), np.array([8, 8, 8, 8]))
    assert curve.centre == pytest.approx([0.3, 0.7])
    assert curve.groups.tolist() == [2, 2]
    assert curve.observed == pytest.approx([0.375, 0.875])
    # Rates 0.25 and 0.5: deviation 0.1768, over the root of two.
    assert curve.standard_error == pytest.approx([0.125, 0.125])


def test_calibration_error_weighs_bins_by_their_groups() -> None:
    curve = reliability(
        np.array([0.5, 0.5, 0.5, 0.9]), np.array([4, 4, 4, 4]), np.array([8, 8, 8, 8])
    )
    assert expected_calibration_error(curve) == pytest.approx(0.25 * 0.4)


@given(st.lists(st.integers(0, 8), min_size=1, max_size=50))
def test_perfect_predictions_have_no_calibration_error(successes: list[int]) -> None:
    counts, rollouts = np.array(successes), np.full(len(successes), 8)
    assert expected_calibration_error(reliability(counts / 8, counts, rollouts)) < 1e-12


def test_only_the_first_visit_of_a_prompt_is_first() -> None:
    assert first_visits(np.array([3, 3, 1, 3, 1])).tolist() == [True, False, True, False, False]


def test_the_overhead_counts_slow_steps_too() -> None:
    share = overhead_share(np.array([1.0, 1.0]), np.array([0.0, 2.0]), np.array([100.0, 300.0]))
    assert share == pytest.approx(0.01)
