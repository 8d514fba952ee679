"""A run's folder as it is at the moment, read again and again while the run writes."""

from __future__ import annotations

import csv
import os
from collections import deque
from pathlib import Path

import numpy as np

from insight_ext.errors import ArgumentError
from insight_ext.report.tables import Beliefs, read_beliefs, read_groups
from insight_ext.runs.reader import METRICS_FILE

RECENT = 200  # values of a metric that are kept
GROUPS, BELIEFS = "groups.parquet", "beliefs.parquet"
# What a run writes into its folder, some of it before its first step.
SETTINGS = ("config.yaml", "hparams.yaml")
SIGNS = (METRICS_FILE, GROUPS, BELIEFS, *SETTINGS, "checkpoints", "*.ckpt", "events.out.tfevents.*")

Series = deque[tuple[int, float]]


class MetricsTail:
    """The latest values of a growing metrics.csv; every line is read once.

    A last line without its end waits for the rest. A file that was replaced is read anew.

    Args:
        path: of the file, which need not be there yet.

    Attributes:
        series: of each metric the latest `RECENT` pairs (step, value).
        step: the latest step logged; None before the first.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._begin()

    def _begin(self, head: bytes = b"", inode: int = 0) -> None:
        self.series: dict[str, Series] = {}
        self.step: int | None = None
        self._file = (inode, head)
        self._columns = next(csv.reader([head.decode()]), [])
        self._end, self._lines = len(head), 1

    def read(self) -> None:
        """Take in what was written since the last time.

        Raises:
            ArgumentError: no step column, or an entry that is not a number (file and line named).
        """
        if not self.path.exists():
            self._begin()
            return
        with self.path.open("rb") as file:
            status, head = os.fstat(file.fileno()), file.readline()
            if not head.endswith(b"\n"):
                return
            if self._file != (status.st_ino, head) or status.st_size < self._end:
                self._begin(head, status.st_ino)
            if "step" not in self._columns:
                raise ArgumentError(
                    f"{self.path}: expected a column named step, got {', '.join(self._columns)}"
                )
            file.seek(self._end)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._end += len(line)
                self._lines += 1
                self._take(line.decode())

    def _take(self, line: str) -> None:
        texts = next(csv.reader([line]), [])
        row = {name: text for name, text in zip(self._columns, texts, strict=False) if text}
        try:
            step = int(row.pop("step"))
            values = {name: float(text) for name, text in row.items() if name != "epoch"}
        except (KeyError, ValueError) as error:
            raise ArgumentError(
                f"{self.path}:{self._lines}: expected numbers and an integer step, got "
                f"{line.strip()!r:.80}"
            ) from error
        self.step = step
        for name, value in values.items():
            self.series.setdefault(name, deque(maxlen=RECENT)).append((step, value))


class RunFolder:
    """What a run has written so far.

    Without metrics.csv, as where TensorBoard alone logs, the groups tell how many are mixed.

    Args:
        path: the run's folder.

    Attributes:
        series, step: see `MetricsTail`.
        beliefs: the latest look at the pool, or None.
        written: when something was written last, seconds since the epoch; None before that.

    Raises:
        ArgumentError: no such folder, one that holds other things, or several runs.
    """

    def __init__(self, path: Path) -> None:
        _check(path)
        self.path = path
        self.beliefs: Beliefs | None = None
        self._tail = MetricsTail(path / METRICS_FILE)
        self.refresh()

    def refresh(self) -> None:
        """Read what is new.

        Raises:
            ArgumentError: a file that is not what its name says.
        """
        self._tail.read()
        self.series, self.step = self._tail.series, self._tail.step
        try:
            self.beliefs = read_beliefs(self.path / BELIEFS, latest=True)
            if not self.series:
                self._read_groups()
        except FileNotFoundError:
            pass  # a resumed run drops parts while they are read; the next look finds the new ones
        places = [self.path / METRICS_FILE, *self.path.glob("*.parquet/part-*.parquet")]
        times = [place.stat().st_mtime for place in places if place.exists()]
        self.written = max(times, default=None)

    def _read_groups(self) -> None:
        groups = read_groups(self.path / GROUPS, latest=True)
        if groups is None:
            return
        mixed = (groups.successes > 0) & (groups.successes < groups.rollouts)
        steps, first = np.unique(groups.step, return_index=True)
        shares = np.add.reduceat(mixed, first, dtype=float) / np.diff([*first, len(mixed)])
        pairs = zip(steps.tolist(), shares.tolist(), strict=True)
        self.series, self.step = {"frac_mixed": deque(pairs, maxlen=RECENT)}, int(steps[-1])


def _check(path: Path) -> None:
    if not path.is_dir():
        raise ArgumentError(
            f"expected a run's folder, got {path}, which is none; the run makes it when it starts"
        )
    if not any(path.iterdir()) or any(any(path.glob(sign)) for sign in SIGNS):
        return
    runs = sorted(place.parent.name for place in path.glob(f"*/{METRICS_FILE}"))
    if runs:
        raise ArgumentError(f"{path} holds several runs: give one of them, {', '.join(runs)}")
    raise ArgumentError(
        f"expected a run's folder, with {METRICS_FILE}, {GROUPS} or {BELIEFS}, or an empty one; "
        f"{path} holds other things; give the folder that the run's first logger writes to"
    )
