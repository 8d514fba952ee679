"""Curators score a data set from the log of a run, once, before the next one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from insight_ext.curators.curation import Curation
from insight_ext.curators.lim import lim
from insight_ext.curators.point_biserial import point_biserial
from insight_ext.offline.logs import GroupLog
from insight_ext.plugins import find, make

CURATORS: dict[str, Callable[..., Curation]] = {
    "lim": lim,
    "point_biserial": point_biserial,
}

OF_ANSWERS = frozenset({"point_biserial"})
"""The curators whose log has a row for each answer, see `insight_ext.offline.logs.read_answers`."""

__all__ = ["CURATORS", "OF_ANSWERS", "Curation", "check_curator", "curate", "lim", "point_biserial"]


def check_curator(method: str, options: Iterable[str] = ()) -> None:
    """See that there is such a curator, and that it takes options of these names.

    Raises:
        ArgumentError: see `curate`.

    Examples:
        >>> check_curator("lim", ["keep"])
    """
    find("curator", CURATORS, None, method, options)


def curate(method: str, log: GroupLog, **options: Any) -> Curation:
    """Score the prompts of a log by the curator with this name in `CURATORS`.

    Args:
        method: the curator's name, or the import path of a function (`package.module:function`).
        log: visits of prompts, see `insight_ext.offline.logs.read_log`; answers where the curator
            is in `OF_ANSWERS`, see `read_answers`.
        options: of the curator.

    Returns:
        The scored prompts, and which to keep.

    Raises:
        ArgumentError: an unknown name (the known ones listed), or an option that it does not take.
        ObservationError: a log without what the curator needs.

    Examples:
        >>> import numpy as np
        >>> epoch, prompt = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
        >>> wins, tries = np.array([2, 8, 6, 8]), np.array([8, 8, 8, 8])
        >>> log = GroupLog(("a", "b"), prompt, wins, tries, step=None, epoch=epoch)
        >>> curate("lim", log, count=1).kept_ids
        ['a']
    """
    curation: Curation = make("curator", CURATORS, None, method, log, **options)
    return curation
