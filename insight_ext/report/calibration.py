"""Predicted against observed success of an arm, pooled over its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from insight_ext.report.measures import (
    Reliability,
    expected_calibration_error,
    first_visits,
    reliability,
)
from insight_ext.runs.reader import Run


class Calibration(NamedTuple):
    """Reliability on prompts seen before, its error, and the first visits apart."""

    seen: Reliability
    error: float
    first: Reliability | None


def calibration_of(runs: Sequence[Run]) -> Calibration | None:
    """Pooled over an arm's seeds; None where no run predicted a prompt that it had seen before.

    First visits are kept apart: without informative priors their prediction is the prior's mean,
    which says nothing about the beliefs.
    """
    parts = [
        (groups.predicted, groups.successes, groups.rollouts, first_visits(groups.prompt))
        for run in runs
        if (groups := run.groups) is not None
    ]
    if not parts:
        return None
    predicted, successes, rollouts, first = map(np.concatenate, zip(*parts, strict=True))

    def curve_of(visits: NDArray[np.bool_]) -> Reliability | None:
        kept = visits & np.isfinite(predicted)
        if not kept.any():
            return None
        return reliability(predicted[kept], successes[kept], rollouts[kept])

    seen = curve_of(~first)
    if seen is None:
        return None
    return Calibration(seen, expected_calibration_error(seen), curve_of(first))
