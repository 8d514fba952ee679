"""What a row of the summary is, and how numbers of several seeds become text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SummaryRow:
    """One number of one arm.

    Attributes:
        question: what is measured, in plain words.
        arm: the arm it belongs to.
        result: the number as text, with its spread, or why there is none.
        target: the target as text; empty where there is none.
        verdict: "met", "missed", "not measured", or empty where there is no target.
        value: the number itself (mean over seeds; for a target on every seed the worst seed).
        per_seed: the same for each seed.
    """

    question: str
    arm: str
    result: str
    target: str = ""
    verdict: str = ""
    value: float | None = None
    per_seed: Mapping[int, float] | None = None


def mean(values: Mapping[int, float]) -> float:
    """Mean over seeds."""
    return float(np.mean(list(values.values())))


def deviation(values: Mapping[int, float]) -> float:
    """Standard deviation over seeds (n - 1); needs two."""
    return float(np.std(list(values.values()), ddof=1))


def each(values: Mapping[int, float], form: str) -> str:
    """Every seed's value, in brackets; that it is one alone."""
    if len(values) == 1:
        return " (one seed)"
    return f" (seeds: {', '.join(form.format(value) for value in values.values())})"
