"""The success rate that several strategies aim at."""

from __future__ import annotations

from insight_ext.errors import ArgumentError


def check_target(target: float) -> float:
    """The target, if it is a success rate; ArgumentError otherwise."""
    if not 0.0 <= target <= 1.0:
        raise ArgumentError(f"target: expected a success rate in [0, 1], got {target}")
    return target
