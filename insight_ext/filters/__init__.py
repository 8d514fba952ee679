"""Filters choose among finished groups those to train on."""

from __future__ import annotations

from typing import Any

from insight_ext.errors import ArgumentError
from insight_ext.filters.dynamic_sampling import DynamicSampling
from insight_ext.filters.filter import Filter, Groups, Verdict, joined_groups
from insight_ext.filters.learnability import Learnability
from insight_ext.filters.speed import Speed
from insight_ext.filters.uncertainty_consistency import UncertaintyConsistency, perplexity
from insight_ext.filters.vcrl import VCRL
from insight_ext.options import check_options

FILTERS: dict[str, type[Filter]] = {
    "dynamic_sampling": DynamicSampling,
    "learnability": Learnability,
    "speed": Speed,
    "uncertainty_consistency": UncertaintyConsistency,
    "vcrl": VCRL,
}

__all__ = [
    "FILTERS",
    "VCRL",
    "DynamicSampling",
    "Filter",
    "Groups",
    "Learnability",
    "Speed",
    "UncertaintyConsistency",
    "Verdict",
    "joined_groups",
    "make_filter",
    "perplexity",
]


def make_filter(name: str, **options: Any) -> Filter:
    """The filter with this name in `FILTERS`.

    Raises:
        ArgumentError: an unknown name (the known ones listed), or an option that it does not take
            (those that it takes listed).

    Example:
        >>> make_filter("dynamic_sampling", max_batches=3).max_batches
        3
    """
    if name not in FILTERS:
        raise ArgumentError(f"unknown filter {name!r}: expected one of {', '.join(FILTERS)}")
    check_options(f"filter {name!r}", FILTERS[name], options)
    try:
        return FILTERS[name](**options)
    except TypeError as error:
        raise ArgumentError(f"filter {name!r}: {error}") from error
