"""Filters choose among finished groups those to train on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from insight_ext.errors import ArgumentError
from insight_ext.filters.dynamic_sampling import DynamicSampling
from insight_ext.filters.filter import Filter, RolledOut, Verdict
from insight_ext.filters.learnability import Learnability
from insight_ext.filters.pilot_commit import PilotCommit
from insight_ext.filters.speed import Speed
from insight_ext.filters.uncertainty_consistency import UncertaintyConsistency, entropy, perplexity
from insight_ext.filters.vcrl import VCRL
from insight_ext.plugins import given_options, make

FILTERS: dict[str, type[Filter]] = {
    "dynamic_sampling": DynamicSampling,
    "learnability": Learnability,
    "pilot_commit": PilotCommit,
    "speed": Speed,
    "uncertainty_consistency": UncertaintyConsistency,
    "vcrl": VCRL,
}

__all__ = [
    "FILTERS",
    "VCRL",
    "DynamicSampling",
    "Filter",
    "Learnability",
    "PilotCommit",
    "RolledOut",
    "Speed",
    "UncertaintyConsistency",
    "Verdict",
    "entropy",
    "given_filter",
    "make_filter",
    "perplexity",
]


def make_filter(name: str, /, **options: Any) -> Filter:
    """The filter with this name in `FILTERS`, or at this import path (`package.module:Class`).

    Raises:
        ArgumentError: an unknown name (the known ones listed), a path that does not lead to a
            `Filter`, or an option that it does not take (those that it takes listed).

    Examples:
        >>> make_filter("dynamic_sampling", max_batches=3).max_batches
        3
    """
    chosen: Filter = make("filter", FILTERS, Filter, name, **options)
    return chosen


def given_filter(filter: Filter | str | None, options: Mapping[str, Any] | None) -> Filter | None:
    """The filter that a user gave: a name or an import path with options, an object, or none.

    Raises:
        ArgumentError: see `make_filter`; options without a name.
    """
    options = given_options("filter_options", options)
    if isinstance(filter, str):
        return make_filter(filter, **options)
    if filter is not None and not isinstance(filter, Filter):
        raise ArgumentError(f"filter: expected a name, a Filter or None, got {filter!r:.80}")
    if options:
        raise ArgumentError(
            f"filter_options: expected none unless filter is a name, got {options}; "
            "name the filter, or give them to the object"
        )
    return filter
