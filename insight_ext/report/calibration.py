"""Predicted against observed success of an arm, pooled over its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from insight_ext.report.measures import (
    Floats,
    Reliability,
    expected_calibration_error,
    first_visits,
    reliability,
)
from insight_ext.runs.reader import Groups, Run

Outcomes = tuple[Floats, NDArray[np.int64], NDArray[np.int64]]


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
    parts = [(run.groups, first_visits(run.groups.prompt)) for run in runs if run.groups]
    seen = [_pick(groups, ~first & np.isfinite(groups.predicted)) for groups, first in parts]
    fresh = [_pick(groups, first & np.isfinite(groups.predicted)) for groups, first in parts]
    curve, first_curve = _pooled(seen), _pooled(fresh)
    if curve is None:
        return None
    return Calibration(curve, expected_calibration_error(curve), first_curve)


def _pick(groups: Groups, kept: NDArray[np.bool_]) -> Outcomes:
    return groups.predicted[kept], groups.successes[kept], groups.rollouts[kept]


def _pooled(parts: list[Outcomes]) -> Reliability | None:
    if not parts:
        return None
    predicted, successes, rollouts = (np.concatenate(c) for c in zip(*parts, strict=True))
    return reliability(predicted, successes, rollouts) if len(predicted) else None
