"""Figures, numbers and one HTML page from the folder that a training run wrote.

Needs matplotlib, pyarrow and PyYAML, which come with the `lightning` extra.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from insight_ext.plugins import need

if TYPE_CHECKING:
    from insight_ext.report.summary import SummaryRow

__all__ = ["summary_rows", "write_report"]


def write_report(folder: Path | str) -> Path:
    """Draw the report of a run, or of several beside each other, from what they logged.

    Writes report.html (self-contained), figures/*.png, summary.csv and summary.json into the
    folder. What was not logged is named in the report instead of drawn.

    Args:
        folder: a run's folder, or one that holds several. Runs named `ARM-seedS` are seeds of an
            arm, an arm named random or uniform is the baseline of the others, and Lightning's
            `version_0`, `version_1`, ... are one run where it was resumed.

    Returns:
        The path of report.html.

    Raises:
        InsightError: matplotlib, pyarrow or PyYAML is missing.
        ArgumentError: no such folder, no run in it, or a log that cannot be read.

    Examples:
        >>> write_report("no/such/run")
        Traceback (most recent call last):
        ...
        insight_ext.errors.ArgumentError: expected a run's folder, got no/such/run, ...
    """
    need("report", "matplotlib", "pyarrow", "yaml")
    from insight_ext.report.write import write

    return write(Path(folder))


def summary_rows(folder: Path | str) -> list[SummaryRow]:
    """The numbers of the report's tables, those beside the baseline first; nothing is written.

    Raises:
        InsightError, ArgumentError: as `write_report`.
    """
    need("report", "pyarrow", "yaml")
    from insight_ext.report.experiment import read_experiment
    from insight_ext.report.summary import compared, measured

    experiment = read_experiment(Path(folder))
    return [*compared(experiment), *measured(experiment)]
