"""`metrics.csv`: a logger whose file survives a resume."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from insight_ext import InsightError
from insight_ext.atomic_file import write_atomically
from insight_ext.runs.layout import METRICS_FILE
from insight_ext.runs.writer import room_for
from insight_ext.visible_text import visible_text
from lightning_integration.trainer import loggers, rank_zero_only


def start_files(among: Iterable[Any], *, resumed: bool) -> None:
    """Start each `MetricsFile` among the loggers, see `MetricsFile.start_training`."""
    for logger in among:
        if isinstance(logger, MetricsFile):
            logger.start_training(resumed=resumed)


class MetricsFile(loggers.Logger):
    """Logs to `metrics.csv`, in the format of Lightning's CSVLogger, and survives a resume.

    CSVLogger deletes the file of the run that it resumes. This one appends, and after
    `start_training(resumed=True)` drops the rows that the resumed run writes again: those of the
    next step logged and later ones, left by a run that was killed after its last checkpoint.

    Args:
        folder: the run's folder.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self.path = Path(folder) / METRICS_FILE
        self._columns: list[str] | None = None
        self._repeats = False

    @property
    def save_dir(self) -> str:
        return str(self.path.parent)

    @property
    def name(self) -> str:
        return ""

    @property
    def version(self) -> str:
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Settings are in the run's config.yaml."""

    @rank_zero_only
    def start_training(self, *, resumed: bool) -> None:
        """Make room for a run: a new one starts the file anew."""
        self._columns = None
        self._repeats = resumed
        if not resumed:
            self.path.unlink(missing_ok=True)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append one row; a metric not logged before adds a column."""
        named = {visible_text(name): value for name, value in metrics.items()}  # one line each
        row = {**named, "step": 0 if step is None else step}
        if self._columns is None or set(row) - set(self._columns):
            rows = self._rows()
            if self._repeats:
                rows = [old for old in rows if int(old["step"]) < row["step"]]
                self._repeats = False
            self._columns = sorted(set(row).union(*rows[:1]))
            self._rewrite(rows)
        with room_for(self.path), self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self._columns).writerow(row)

    def _rows(self) -> list[dict[str, str]]:
        if not self.path.exists():
            return []
        text = self.path.read_text(encoding="utf-8", errors="backslashreplace")
        whole = text[: text.rfind("\n") + 1]  # a kill or a full disk may have cut off the last row
        rows = list(csv.DictReader(whole.split("\n")))
        for number, row in enumerate(rows, 2):
            if not (row.get("step") or "").isdecimal() or None in row:
                raise InsightError(
                    f"{self.path}: expected a step in each row, got {row!r:.120} as row {number}; "
                    "mend the file or move it away"
                )
        return rows

    def _rewrite(self, rows: Iterable[Mapping[str, Any]]) -> None:
        def write(beside: Path) -> None:
            with beside.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, self._columns)
                writer.writeheader()
                writer.writerows(rows)

        with room_for(self.path):
            write_atomically(self.path, write)
