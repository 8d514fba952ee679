"""`insight-ext curate`: part of a data set, by the scores of its prompts."""

from __future__ import annotations

import argparse

from insight_ext.cli.logs import logged
from insight_ext.cli.tables import check_output, hand_over
from insight_ext.curators import OF_ANSWERS, check_curator, curate
from insight_ext.errors import ArgumentError
from insight_ext.offline.logs import read_answers


def run(options: argparse.Namespace) -> None:
    """Read the log, score, and hand over the prompts that are kept."""
    check_output(options)
    names = ("keep", "count", "of", "steps_per_epoch", "max_epochs")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    check_curator(options.method, given)
    if options.method in OF_ANSWERS:
        log, pool = logged(options, read_answers, uncertainty=options.uncertainty)
    elif options.uncertainty is None:
        log, pool = logged(options)
    else:
        raise ArgumentError(f"--uncertainty: expected none for {options.method}, which needs none")
    curation = curate(options.method, log, **given)
    hand_over(options, curation.columns(pool), lambda: print(curation.report()))
