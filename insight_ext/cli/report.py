"""`insight-ext report`: a run's report, drawn again."""

from __future__ import annotations

import argparse

from insight_ext.report import write_report


def run(options: argparse.Namespace) -> None:
    """Draw the report and print its path."""
    print(write_report(options.folder))
