"""The numbers of a run: every definition that the report uses, once, on plain arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

SMOOTHING = 3
ROUNDING = 1e-9
BIN_WIDTH = 0.1


def is_mixed(successes: Counts, rollouts: Counts) -> NDArray[np.bool_]:
    """True for groups that are neither all solved nor all failed: those with 0 < s < K.

    >>> is_mixed(np.array([0, 3, 8, 5]), np.array([8, 8, 8, 8])).tolist()
    [False, True, False, True]
    """
    return (successes > 0) & (successes < rollouts)


def trailing_mean(values: Floats, width: int = SMOOTHING) -> Floats:
    """Mean of each value and the `width - 1` values before it (fewer at the start).

    It looks back only, so a smoothed curve can reach a level later than the raw one, never by
    borrowing from the future.

    >>> trailing_mean(np.array([0.0, 0.3, 0.6, 0.9])).round(3).tolist()
    [0.0, 0.15, 0.3, 0.6]
    """
    total = np.concatenate(([0.0], np.cumsum(values)))
    end = np.arange(1, len(values) + 1)
    start = np.maximum(end - width, 0)
    return np.asarray((total[end] - total[start]) / (end - start), dtype=np.float64)


def final_value(values: Floats) -> float:
    """The last value of the smoothed curve: the mean of the last `SMOOTHING` evaluations."""
    return float(trailing_mean(values)[-1])


def first_reach(x: Floats, values: Floats, level: float) -> float | None:
    """Where the smoothed curve first reaches `level`; None if it never does.

    Linear between two evaluations. `x` is increasing: steps, rollouts or seconds.

    >>> first_reach(np.array([0.0, 10.0, 20.0]), np.array([0.0, 0.2, 1.0]), 0.25)
    15.0
    """
    smooth = trailing_mean(values)
    reached = np.flatnonzero(smooth >= level)
    if len(reached) == 0:
        return None
    at = int(reached[0])
    if at == 0:
        return float(x[0])
    part = (level - smooth[at - 1]) / (smooth[at] - smooth[at - 1])
    return float(x[at - 1] + part * (x[at] - x[at - 1]))


class Reach(NamedTuple):
    """How much of the baseline's effort an arm needed; a lower bound where `reached` is False."""

    fraction: float
    reached: bool


def fraction_to_reach(
    x: Floats, values: Floats, baseline_x: Floats, baseline_values: Floats
) -> Reach | None:
    """Effort to reach the baseline's final level, as a fraction of the baseline's own.

    Both efforts are `first_reach` of the same level, the baseline's `final_value`, so noise that
    helps one curve to an early crossing helps the other alike. A curve that ends below the level
    gives the bound `x[-1] / baseline` and `reached=False`.

    Returns:
        None where the question has no answer: the baseline ends no higher than it starts.
    """
    level = final_value(baseline_values)
    baseline = first_reach(baseline_x, baseline_values, level)
    improved = level > baseline_values[0] + ROUNDING
    if baseline is None or baseline <= 0 or not improved:
        return None
    own = first_reach(x, values, level)
    if own is None:
        return Reach(float(x[-1]) / baseline, reached=False)
    return Reach(own / baseline, reached=True)


class Reliability(NamedTuple):
    """Predicted against observed success, by bins of the prediction; empty bins left out."""

    centre: Floats

    predicted: Floats
    observed: Floats
    standard_error: Floats
    groups: Counts


def reliability(predicted: Floats, successes: Counts, rollouts: Counts) -> Reliability:
    """Mean prediction and observed success rate per bin, centred on 0, 0.1, ..., 1.

    Centred, because the first beliefs (1 + s) / 10 would fall on the edges of bins that start at
    0, to one side or the other by rounding. The standard error is that of the mean of the groups'
    success rates (0 for a single group).
    """
    place = np.rint(predicted / BIN_WIDTH).astype(np.int64)
    rate = successes / rollouts
    rows = []
    for b in np.unique(place):
        inside = place == b
        count = int(inside.sum())
        spread = float(rate[inside].std(ddof=1)) / count**0.5 if count > 1 else 0.0
        rows.append((b * BIN_WIDTH, predicted[inside].mean(), rate[inside].mean(), spread, count))
    centres, means, observed, errors, counts = (np.array(c) for c in zip(*rows, strict=True))
    return Reliability(centres, means, observed, errors, counts.astype(np.int64))


def expected_calibration_error(curve: Reliability) -> float:
    """Mean distance of a bin's observed rate from its prediction, weighted by its groups."""
    distance = np.abs(curve.observed - curve.predicted)
    return float(np.sum(distance * curve.groups) / curve.groups.sum())


def first_visits(index: Counts) -> NDArray[np.bool_]:
    """True where a prompt occurs for the first time; `index` is in the order of the visits.

    >>> first_visits(np.array([4, 7, 4, 9])).tolist()
    [True, True, False, True]
    """
    first = np.zeros(len(index), dtype=np.bool_)
    first[np.unique(index, return_index=True)[1]] = True
    return first


def overhead_share(selection_ms: Floats, observation_ms: Floats, step_ms: Floats) -> float:
    """Time spent on choosing and observing as a share of the time of all steps, slow ones too."""
    return float((selection_ms.sum() + observation_ms.sum()) / step_ms.sum())
