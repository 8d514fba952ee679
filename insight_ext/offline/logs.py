"""Logs of rolled-out groups: of this project's runs, of TRL's, or anybody's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from insight_ext.beliefs.pool import PromptPool
from insight_ext.errors import ArgumentError, ObservationError
from insight_ext.offline.tables import Table, read_tables
from insight_ext.offline.trl_logs import is_completion_log, read_completions

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

GROUPS = "groups.parquet"
# What a run's folder holds beside its groups.
RUN_FILES = ("metrics.csv", "config.yaml", "checkpoints", "experiment.json")


@dataclass(frozen=True)
class GroupLog:
    """Visits of prompts in the order of time; every array has shape (V,).

    Attributes:
        ids: the prompts; of the pool if one was given, else in the order of their first visit.
        prompt: int64, position in `ids`.
        successes, rollouts: int64, `0 <= successes <= rollouts`, `rollouts >= 1`.
        step, epoch: int64, not decreasing; None where not logged. One of them is there.
        uncertainty: float64, finite; None where not logged.
    """

    ids: tuple[str, ...]
    prompt: Integers
    successes: Integers
    rollouts: Integers
    step: Integers | None
    epoch: Integers | None
    uncertainty: Floats | None = None

    def __len__(self) -> int:
        return len(self.prompt)

    @property
    def time(self) -> Integers:
        """The steps, or the epochs where no steps were logged."""
        time = self.epoch if self.step is None else self.step
        assert time is not None, "a log without step and epoch is refused when it is read"
        return time

    def moments(self) -> Iterator[slice]:
        """The visits of each step (or epoch) together, in the order of time."""
        bounds = np.flatnonzero(np.diff(self.time)) + 1
        edges = [0, *bounds.tolist(), len(self)]
        for start, stop in pairwise(edges):
            yield slice(start, stop)


def read_log(
    path: str | Path,
    *,
    pool: PromptPool | None = None,
    reward: str | None = None,
    success_threshold: float = 1.0,
) -> GroupLog:
    """Read a log of groups, or TRL's log of completions.

    A row of groups has `id`, `epoch` or `step` (or both), `successes`, `rollouts`, and may have
    `uncertainty`; other columns are ignored. A run of this project writes such a log into its
    folder as `groups.parquet/`. For TRL's logs see `insight_ext.offline.trl_logs`.

    Args:
        path: a `.csv`, `.jsonl` or `.parquet` file, a folder of such files, or the folder of a run
            of this project.
        pool: the prompts that the log is about; ids then have to be among them.
        reward, success_threshold: of completion logs: the column of the reward, and the smallest
            reward of a success.

    Returns:
        The visits, ordered by step (by epoch without steps), rows of one step as in the file.

    Raises:
        ArgumentError: no such file, a wrong ending, an ambiguous reward column, the folder of an
            experiment with several runs, or of a run without `groups.parquet`.
        ObservationError: no rows, missing columns, or a bad row: successes > rollouts, negative
            numbers, no id or one that is not in the pool. File and row are named.

    Example:
        >>> import tempfile
        >>> from insight_ext.offline.tables import write_columns
        >>> folder = tempfile.TemporaryDirectory()
        >>> rows = {"id": ["b", "a"], "step": [1, 0], "successes": [2, 8], "rollouts": [8, 8]}
        >>> write_columns(f"{folder.name}/log.csv", rows)
        >>> log = read_log(f"{folder.name}/log.csv")
        >>> folder.cleanup()
        >>> log.ids, log.successes.tolist()
        (('a', 'b'), [8, 2])
    """
    tables = [table for table in read_tables(_groups_of(Path(path))) if table.columns]
    if tables and is_completion_log(tables[0]):
        tables = read_completions(tables, pool, reward, success_threshold)
    tables = [table for table in tables if len(table)]
    if not tables:
        raise ObservationError(f"{path}: expected at least one row, found none; log a few steps")
    return _joined([_checked(table, pool) for table in tables], pool)


def _groups_of(path: Path) -> Path:
    """The log of a run, if this is its folder; else the path itself."""
    if (path / GROUPS).exists():
        return path / GROUPS
    runs = sorted(path.glob(f"*/{GROUPS}"))
    if runs:
        raise ArgumentError(
            f"{path}: expected the folder of one run, got one that holds {len(runs)} of them; "
            f"give one, such as {runs[0].parent}"
        )
    if any((path / name).exists() for name in RUN_FILES):
        raise ArgumentError(
            f"{path}: expected {GROUPS} in the run's folder, found none; a run writes it where "
            "PromptSelectionCallback's history_every is above 0"
        )
    return path


def _checked(table: Table, pool: PromptPool | None) -> dict[str, Any]:
    table.need("id", "successes", "rollouts")
    times = [name for name in ("step", "epoch") if name in table.columns]
    if not times:
        raise table.lacks("step or epoch")
    columns: dict[str, Any] = {"id": _ids(table, pool)}
    for name in ("successes", "rollouts", *times):
        columns[name] = whole_numbers(table, name)
    successes, rollouts = columns["successes"], columns["rollouts"]
    for name, bad, expected in (
        ("rollouts", rollouts < 1, "at least 1"),
        ("successes", successes < 0, "at least 0"),
        ("successes", successes > rollouts, "at most the row's rollouts"),
        *((name, columns[name] < 0, "at least 0") for name in times),
    ):
        if bad.any():
            row = int(np.argmax(bad))
            of = f" of {rollouts[row]} rollouts" if name == "successes" else ""
            raise ObservationError(
                f"{table.where(row)}: expected {name} to be {expected}, "
                f"got {columns[name][row]}{of}"
            )
    if "uncertainty" in table.columns:
        columns["uncertainty"] = finite_numbers(table, "uncertainty")
    return columns


def _ids(table: Table, pool: PromptPool | None) -> list[str]:
    values = table.columns["id"]
    known = None if pool is None else set(pool.ids)
    ids = []
    for row, value in enumerate(values):
        if not isinstance(value, str | int | np.integer) or value == "":
            raise ObservationError(f"{table.where(row)}: expected an id, got {value!r}")
        if known is not None and str(value) not in known:
            raise ObservationError(
                f"{table.where(row)}: expected an id of the pool's {len(known)} prompts, "
                f"got {str(value)!r}; give the pool that the log was written with"
            )
        ids.append(str(value))
    return ids


def whole_numbers(table: Table, name: str) -> Integers:
    """A column as int64; texts such as "3" count, since CSV has nothing else."""
    values = table.columns[name]
    if isinstance(values, np.ndarray):
        return values.astype(np.int64)
    numbers = np.empty(len(values), dtype=np.int64)
    for row, value in enumerate(values):
        try:
            number = float(value) if isinstance(value, float) else int(value)
            numbers[row] = number
        except (TypeError, ValueError, OverflowError):
            number = None
        if isinstance(value, bool) or number != numbers[row]:
            raise ObservationError(
                f"{table.where(row)}: expected {name} to be a whole number, got {value!r}"
            )
    return numbers


def finite_numbers(table: Table, name: str) -> Floats:
    """A column as float64 without NaN and infinities."""
    numbers = np.full(len(table), np.nan)
    for row, value in enumerate(table.columns[name]):
        with suppress(TypeError, ValueError):
            numbers[row] = float(value)
        if not np.isfinite(numbers[row]):
            raise ObservationError(
                f"{table.where(row)}: expected {name} to be a finite number, got {value!r}"
            )
    return numbers


def _joined(parts: Sequence[dict[str, Any]], pool: PromptPool | None) -> GroupLog:
    def column(name: str) -> Any:
        if not all(name in part for part in parts):
            return None
        return np.concatenate([part[name] for part in parts])

    step, epoch = column("step"), column("epoch")
    if step is None and epoch is None:
        raise ObservationError("expected the log's files to share a column step or epoch")
    order = np.argsort(epoch if step is None else step, kind="stable")
    names = np.array([name for part in parts for name in part["id"]], dtype=object)[order]
    ids = tuple(dict.fromkeys(names)) if pool is None else pool.ids
    position = {name: at for at, name in enumerate(ids)}

    def ordered(values: Any) -> Any:
        return None if values is None else values[order]

    return GroupLog(
        ids=ids,
        prompt=np.array([position[name] for name in names], dtype=np.int64),
        successes=ordered(column("successes")),
        rollouts=ordered(column("rollouts")),
        step=ordered(step),
        epoch=ordered(epoch),
        uncertainty=ordered(column("uncertainty")),
    )
