"""Learning curves of runs: held-out accuracy against steps, rollouts and seconds; arm means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from insight_ext.report.measures import Floats
from insight_ext.runs.layout import Metric
from insight_ext.runs.reader import Run

Effort = Literal["steps", "rollouts", "seconds"]
WINDOWS = 25
EFFORTS: tuple[Effort, ...] = ("steps", "rollouts", "seconds")


class Curve(NamedTuple):
    """One line: x increasing, y beside it."""

    x: Floats
    y: Floats


class Band(NamedTuple):
    """Mean and standard deviation (ddof 1; 0 for one seed) of several curves at common x."""

    x: Floats
    mean: Floats
    deviation: Floats


def effort_after(run: Run, steps: Floats, effort: Effort) -> Floats | None:
    """What the run had spent after so many steps; None if it did not log it.

    Rollouts are counted from the groups; seconds are those of training steps, without evaluation.
    """
    if effort == "steps":
        return steps
    if effort == "rollouts":
        if run.groups is None:
            return None
        total = np.concatenate(([0], np.cumsum(run.groups.rollouts)))
        return np.asarray(total[np.searchsorted(run.groups.step, steps)], np.float64)
    if Metric.TRAIN_SECONDS not in run.metrics:
        return None
    logged = run.metrics[Metric.TRAIN_SECONDS]
    done = np.concatenate(([0], logged.steps + 1))
    seconds = np.concatenate(([0.0], logged.values))
    return np.interp(steps, done, seconds, right=np.nan)


def accuracy_curve(
    run: Run, effort: Effort = "steps", metric: str = Metric.ACCURACY
) -> Curve | None:
    """Held-out accuracy against effort; None if either was not logged.

    Lightning counts steps from 0 and numbers an evaluation by the step before it, so that s + 1
    steps were done when it was made. Evaluations after the last logged effort are left out.
    """
    if metric not in run.metrics:
        return None
    steps, values = run.metrics[metric]
    x = effort_after(run, (steps + 1).astype(np.float64), effort)
    if x is None or np.isnan(x).all():
        return None
    known = ~np.isnan(x)
    return Curve(x[known], values[known])


def gain_curve(run: Run, baseline: Run) -> Curve | None:
    """Accuracy above the baseline run's, in points, at the same steps as far as both have it."""
    own, other = accuracy_curve(run), accuracy_curve(baseline)
    if own is None or other is None:
        return None
    both = (own.x >= other.x[0]) & (own.x <= other.x[-1])
    x, y = own.x[both], own.y[both]
    return Curve(x, 100.0 * (y - np.interp(x, other.x, other.y))) if len(x) else None


def mean_band(curves: Sequence[Curve], points: int | None = None) -> Band:
    """Mean over seeds at the x that all curves cover, linear between their points.

    The common x are those of the first curve, or `points` evenly spaced ones. A run that stopped
    at its first point does not shorten the others: it is left out, unless all did.
    """
    low = max(float(curve.x[0]) for curve in curves)
    kept = [curve for curve in curves if curve.x[-1] > low]
    kept = kept or [curve for curve in curves if curve.x[0] == low]
    high = min(float(curve.x[-1]) for curve in kept)
    inside = (kept[0].x >= low) & (kept[0].x <= high)
    even = points is not None and high > low
    x = np.linspace(low, high, points or 1) if even else kept[0].x[inside]
    values = np.stack([np.interp(x, curve.x, curve.y) for curve in kept])
    spread = values.std(axis=0, ddof=1) if len(kept) > 1 else np.zeros(len(x))
    return Band(x, values.mean(axis=0), spread)


def windowed(steps: Floats, values: Floats, windows: int = WINDOWS) -> Curve:
    """Mean of `values` in equal windows of at least one step, placed at the windows' centres."""
    first, end = float(steps.min()), float(steps.max()) + 1
    windows = min(windows, int(end - first))
    edges = np.linspace(first, end, windows + 1)
    place = np.clip(np.searchsorted(edges, steps, side="right") - 1, 0, windows - 1)
    count = np.bincount(place, minlength=windows)
    kept = count > 0
    mean = np.bincount(place, weights=values, minlength=windows)[kept] / count[kept]
    return Curve(((edges[:-1] + edges[1:]) / 2)[kept], mean)
