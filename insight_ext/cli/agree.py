"""`insight-ext agree`: does a simulated learner rank strategies as recorded runs do."""

from __future__ import annotations

import argparse

from insight_ext.cli.tables import check_output, hand_over, show
from insight_ext.plugins import split_list
from insight_ext.progress import counter
from insight_ext.simulate.agreement import agreement, markdown


def run(options: argparse.Namespace) -> None:
    """Compare how a learner and the recorded runs rank the strategies, and hand the table over."""
    check_output(options)
    seen = agreement(
        options.folder,
        options.learner,
        arms=None if options.strategies is None else split_list(options.strategies),
        simulations=options.seeds,
        on_trial=counter("agree", "trials"),
    )
    hand_over(options, seen.columns(), lambda: show(options, markdown(seen)))
