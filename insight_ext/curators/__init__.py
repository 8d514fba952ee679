"""Curators score a data set from the log of a run, once, before the next one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from insight_ext.curators.curation import Curation
from insight_ext.curators.lim import lim
from insight_ext.curators.point_biserial import point_biserial
from insight_ext.errors import ArgumentError
from insight_ext.logs import GroupLog

CURATORS: dict[str, Callable[..., Curation]] = {
    "lim": lim,
    "point_biserial": point_biserial,
}

__all__ = ["CURATORS", "Curation", "curate", "lim", "point_biserial"]


def curate(method: str, log: GroupLog, **options: Any) -> Curation:
    """Score the prompts of a log by the curator with this name in `CURATORS`.

    Raises:
        ArgumentError: an unknown name (the known ones listed), or options it does not take.
    """
    if method not in CURATORS:
        raise ArgumentError(f"unknown curator {method!r}: expected one of {', '.join(CURATORS)}")
    try:
        return CURATORS[method](log, **options)
    except TypeError as error:
        raise ArgumentError(f"curator {method!r}: {error}") from error
