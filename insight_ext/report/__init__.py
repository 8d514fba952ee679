"""Figures, numbers and one HTML page from the folder that a training run wrote.

Needs matplotlib and pyarrow, which come with the `lightning` extra.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from insight_ext.plugins import need

if TYPE_CHECKING:
    from insight_ext.runs.rows import SummaryRow

__all__ = ["summary_rows", "write_report"]


def write_report(folder: Path | str) -> Path:
    """Draw the report of an experiment, or of a single run, again from its logs.

    Writes report.html (self-contained), figures/*.png, summary.csv and summary.json into the
    folder. What was not logged is named in the report instead of drawn.

    Args:
        folder: an experiment's folder with one folder `ARM-seedS` per run, or a run's folder.

    Returns:
        The path of report.html.

    Raises:
        InsightError: matplotlib or pyarrow is missing.
        ArgumentError: no such folder, no run in it, or a log that cannot be read.

    Example:
        >>> write_report("no/such/run")
        Traceback (most recent call last):
        ...
        insight_ext.errors.ArgumentError: report: expected a run's folder, got no/such/run, ...
    """
    need("report", "matplotlib", "pyarrow")
    from insight_ext.report.write import write

    return write(Path(folder))


def summary_rows(folder: Path | str) -> list[SummaryRow]:
    """The numbers of the report's tables, those with a target first; nothing is written.

    Raises:
        InsightError, ArgumentError: as `write_report`.
    """
    need("report", "pyarrow")
    from insight_ext.report.summary import compared, measured
    from insight_ext.runs.reader import read_experiment

    experiment = read_experiment(Path(folder))
    return [*compared(experiment), *measured(experiment)]
