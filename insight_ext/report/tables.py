"""The files of a run's folder as arrays: sparse metrics, groups, beliefs."""

from __future__ import annotations

import csv
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads
from numpy.typing import NDArray

from insight_ext.errors import ArgumentError
from insight_ext.report.measures import Floats


@dataclass(frozen=True)
class Series:
    """One logged metric: the steps at which it was logged, increasing, and its values."""

    steps: NDArray[np.int64]
    values: Floats


@dataclass(frozen=True)
class Groups:
    """Every rolled-out group in the order of the visits; `predicted` is NaN where unknown."""

    index: NDArray[np.int64]
    step: NDArray[np.int64]
    successes: NDArray[np.int64]
    rollouts: NDArray[np.int64]
    predicted: Floats

    def until(self, step: int) -> Groups:
        """The groups of the steps up to and including `step`."""
        kept = self.step <= step
        return Groups(*(getattr(self, field.name)[kept] for field in fields(self)))


@dataclass(frozen=True)
class Beliefs:
    """The whole pool at some steps: prompts never visited, and the others by posterior mean.

    `means` has shape (T, bins): prompts per equal bin of [0, 1].
    """

    step: NDArray[np.int64]
    unseen: NDArray[np.int64]
    means: NDArray[np.int64]

    @property
    def pool_size(self) -> int:
        return int(self.unseen[0] + self.means[0].sum())


def read_metrics(path: Path) -> dict[str, Series]:
    """Each column of a CSVLogger file without its gaps; of a step logged twice the last value.

    Raises:
        ArgumentError: no step column, or an entry that is not a number (file and line named).
    """
    columns: dict[str, dict[int, float]] = {}
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames and "step" not in reader.fieldnames:
            raise ArgumentError(
                f"{path}: expected a column named step, got {', '.join(reader.fieldnames)}"
            )
        for row in reader:
            for name, text in row.items():
                if name and name not in ("step", "epoch") and text:
                    try:
                        columns.setdefault(name, {})[int(row["step"])] = float(text)
                    except (TypeError, ValueError):
                        raise ArgumentError(
                            f"{path}:{reader.line_num}: expected a number in column {name} and an "
                            f"integer step, got {text!r} and {row['step']!r}"
                        ) from None
    return {
        name: Series(np.array(sorted(values)), np.array([values[s] for s in sorted(values)]))
        for name, values in columns.items()
    }


def read_groups(folder: Path, *, latest: bool = False) -> Groups | None:
    """The data set of groups, ordered by step; None if there is none or it is empty.

    `latest` reads the last part alone, which is bounded.
    """
    table = _read_parts(folder, [field.name for field in fields(Groups)], latest)
    if table is None:
        return None
    return Groups(
        index=_integers(table, "index"),
        step=_integers(table, "step"),
        successes=_integers(table, "successes"),
        rollouts=_integers(table, "rollouts"),
        predicted=table["predicted"].cast(pa.float64()).fill_null(float("nan")).to_numpy(),
    )


def read_beliefs(folder: Path, *, latest: bool = False) -> Beliefs | None:
    """The data set of belief snapshots, as `read_groups` reads that of groups."""
    table = _read_parts(folder, [field.name for field in fields(Beliefs)], latest)
    if table is None:
        return None
    means = np.array(table["means"].to_pylist(), dtype=np.int64)
    return Beliefs(_integers(table, "step"), _integers(table, "unseen"), means)


def _read_parts(folder: Path, columns: list[str], latest: bool) -> Any:
    files = sorted(str(path) for path in folder.glob("part-*.parquet"))
    files = files[-1:] if latest else files
    if not files:
        return None
    try:
        table = pads.dataset(files, format="parquet").to_table(columns=columns)
    except pa.ArrowInvalid as error:
        raise ArgumentError(
            f"{folder}: expected Parquet files with the columns {', '.join(columns)}, got: {error}"
        ) from error
    return table.sort_by("step") if table.num_rows else None


def _integers(table: Any, name: str) -> NDArray[np.int64]:
    return np.asarray(table[name].to_numpy(), dtype=np.int64)
