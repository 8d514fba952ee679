"""`insight-ext curate`: part of a data set, by the scores of its prompts."""

from __future__ import annotations

import argparse

from insight_ext.cli.logs import logged
from insight_ext.cli.tables import check_output, hand_over
from insight_ext.curators import curate


def run(options: argparse.Namespace) -> None:
    """Read the log, score, and hand over the prompts that are kept."""
    check_output(options)
    log, pool = logged(options)
    names = ("keep", "count", "steps_per_epoch")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    curation = curate(options.method, log, **given)
    hand_over(options, curation.columns(pool), lambda: print(curation.report()))
