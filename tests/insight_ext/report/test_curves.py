"""Means over seeds, of curves that need not have the same length."""

from __future__ import annotations

import numpy as np
import pytest

from insight_ext.report.curves import Curve, accuracy_curve, gain_curve, mean_band, windowed
from insight_ext.runs.reader import Run, Series


def a_curve(x: list[float], y: list[float]) -> Curve:
    return Curve(np.array(x, dtype=np.float64), np.array(y, dtype=np.float64))


def test_the_band_is_mean_and_deviation_where_all_seeds_have_values() -> None:
    band = mean_band([a_curve([0, 10, 20], [0, 1, 2]), a_curve([0, 20], [2, 2])])
    assert band.x.tolist() == [0, 10, 20]
    assert band.mean.tolist() == [1.0, 1.5, 2.0]
    assert band.deviation == pytest.approx([2**0.5, 0.5**0.5, 0.0])


def test_a_shorter_seed_ends_the_mean_and_one_seed_has_no_spread() -> None:
    long, short = a_curve([0, 10, 20], [0, 1, 2]), a_curve([0, 10], [2, 1])
    assert mean_band([long, short]).x.tolist() == [0, 10]
    assert mean_band([long]).deviation.tolist() == [0, 0, 0]


def test_a_seed_with_a_single_value_does_not_hide_the_others() -> None:
    long, single = a_curve([0, 10, 20], [0, 1, 2]), a_curve([0], [5])
    assert mean_band([single, long]).mean.tolist() == [0, 1, 2]
    assert mean_band([single, a_curve([0], [7])]).mean.tolist() == [6.0]


def test_a_single_value_stays_one_however_many_points_are_asked_for() -> None:
    assert mean_band([a_curve([3], [5])], points=200).x.tolist() == [3.0]


def test_windows_average_what_falls_into_them() -> None:
    curve = windowed(np.array([0.0, 1.0, 2.0, 3.0]), np.array([1.0, 3.0, 5.0, 5.0]), windows=2)
    assert curve.x.tolist() == [1.0, 3.0]
    assert curve.y.tolist() == [2.0, 5.0]


def a_run(steps: list[int], accuracy: list[float]) -> Run:
    series = Series(np.array(steps), np.array(accuracy))
    return Run("arm-seed0", {"val_accuracy": series})


def test_the_gain_is_taken_at_the_steps_that_both_runs_have() -> None:
    own, other = a_run([0, 10, 20], [0.1, 0.4, 0.9]), a_run([0, 10], [0.1, 0.2])
    gain = gain_curve(own, other)
    assert gain is not None
    assert gain.x.tolist() == [1, 11]
    assert gain.y == pytest.approx([0.0, 20.0])
    assert gain_curve(own, Run("bare")) is None


def test_evaluations_after_the_last_logged_second_are_left_out() -> None:
    seconds = Series(np.array([9]), np.array([2.0]))
    metrics = a_run([4, 9, 14], [0.1, 0.2, 0.3]).metrics | {"train_seconds": seconds}
    curve = accuracy_curve(Run("arm", metrics), "seconds")
    assert curve is not None
    assert (curve.x.tolist(), curve.y.tolist()) == ([1.0, 2.0], [0.1, 0.2])
