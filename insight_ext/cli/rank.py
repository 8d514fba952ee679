"""`insight-ext rank`: the next prompts, from a log of past results."""

from __future__ import annotations

import argparse

from insight_ext.cli.logs import logged
from insight_ext.cli.tables import check_output, hand_over
from insight_ext.curators.rank import rank
from insight_ext.plugins import parsed_options
from insight_ext.selectors import check_selector


def run(options: argparse.Namespace) -> None:
    """Read the log, rank, and hand the table over."""
    check_output(options)
    given = parsed_options(options.option)
    check_selector(options.strategy, given)
    log, pool = logged(options)
    ranking = rank(
        log,
        options.strategy,
        options.top,
        seed=options.seed,
        options=given,
        pool=pool,
    )
    hand_over(options, ranking.columns(pool), lambda: ranking.show(pool=pool))
