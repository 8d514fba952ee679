"""Paired comparison over seeds, without a distribution assumed."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

EXACT = 12
DRAWS = 10_000
Z = 1.959964


class Interval(NamedTuple):
    """A mean over seeds with its 95 % interval."""

    mean: float
    low: float
    high: float


def interval(values: Floats, seed: int = 0) -> Interval:
    """The mean and its 95 % bootstrap interval (percentiles of 10,000 resampled means).

    Examples:
        >>> interval(np.array([2.0, 2.0, 2.0]))
        Interval(mean=2.0, low=2.0, high=2.0)
    """
    picks = np.random.default_rng(seed).integers(len(values), size=(DRAWS, len(values)))
    low, high = np.quantile(values[picks].mean(1), [0.025, 0.975])
    return Interval(float(values.mean()), float(low), float(high))


def t_interval(values: Floats) -> Interval:
    """The mean and its 95 % interval by Student's t: for a handful of seeds, at least 3.

    Examples:
        >>> round(t_interval(np.array([1.0, 2.0, 3.0, 4.0, 5.0])).high, 2)
        4.96
    """
    mean, error = float(values.mean()), float(values.std(ddof=1)) / len(values) ** 0.5
    reach = student_t(len(values) - 1) * error
    return Interval(mean, mean - reach, mean + reach)


def student_t(freedom: int) -> float:
    """The 97.5 % point of Student's t, to 4 % for 2 degrees of freedom and better beyond.

    Source: Abramowitz and Stegun, 26.7.5.

    Examples:
        >>> round(student_t(8), 2), round(student_t(1000), 2)
        (2.31, 1.96)
    """
    return (
        Z
        + (Z**3 + Z) / (4 * freedom)
        + (5 * Z**5 + 16 * Z**3 + 3 * Z) / (96 * freedom**2)
        + (3 * Z**7 + 19 * Z**5 + 17 * Z**3 - 15 * Z) / (384 * freedom**3)
    )


def paired_p(differences: Floats, seed: int = 0) -> float:
    """Two-sided p-value of the sign-flip test: are the paired differences centred on 0?

    Every assignment of signs is tried up to 12 pairs, 10,000 random ones beyond.

    Examples:
        >>> paired_p(np.array([1.0, 2.0, 3.0]))   # 2 of 8 assignments are as extreme
        0.25
    """
    n = len(differences)
    if n <= EXACT:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=n)))
    else:
        signs = np.random.default_rng(seed).choice((1.0, -1.0), size=(DRAWS, n))
        signs[0] = 1.0
    sums = np.abs(signs @ differences)
    return float((sums >= abs(differences.sum()) * (1.0 - 1e-12)).mean())
