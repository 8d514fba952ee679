"""Columns from and to CSV, JSONL and Parquet files, with the place of every row for messages."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from insight_ext.beliefs.pool import PromptPool
from insight_ext.errors import ArgumentError, ObservationError
from insight_ext.plugins import need

ENDINGS = (".csv", ".jsonl", ".parquet")


@dataclass(frozen=True)
class Table:
    """The columns of one file; a value that a row does not have is None.

    `places` tells where each row stands: its line, counted from 1, or in Parquet its number,
    counted from 0.
    """

    path: Path
    columns: Mapping[str, Sequence[Any]]
    places: Sequence[int]

    def __len__(self) -> int:
        return len(self.places)

    def where(self, row: int) -> str:
        """The row's file and place, as messages name it."""
        separator = ", row " if self.path.suffix == ".parquet" else ":"
        return f"{self.path}{separator}{self.places[row]}"

    def need(self, *names: str) -> None:
        """ObservationError if a column is missing."""
        missing = [name for name in names if name not in self.columns]
        if missing:
            raise self.lacks(*missing)

    def lacks(self, *missing: str) -> ObservationError:
        """The error that says which columns were expected, and which there are."""
        expected = " and ".join(f"a column {name}" for name in missing)
        got = ", ".join(self.columns) or "none"
        return ObservationError(f"{self.path}: expected {expected}, its columns are {got}")


def read_tables(path: str | Path) -> list[Table]:
    """Read a `.csv`, `.jsonl` or `.parquet` file, or every such file of a folder by name.

    Raises:
        ArgumentError: nothing there, another ending, or pyarrow is missing.
        ObservationError: a file that is not what its ending says (file and line named).
    """
    path = Path(path)
    files = [path]
    if path.is_dir():
        files = sorted(f for f in path.iterdir() if f.suffix in ENDINGS and f.name[0] != ".")
    if not files or not path.exists():
        raise ArgumentError(
            f"{path}: expected a log, a file or a folder of files ending in "
            f"{', '.join(ENDINGS)}, found none"
        )
    readers = {".csv": _read_csv, ".jsonl": _read_jsonl, ".parquet": _read_parquet}
    return [readers[checked_ending(file)](file) for file in files]


def checked_ending(path: Path) -> str:
    """The path's ending, one of `ENDINGS`."""
    if path.suffix not in ENDINGS:
        raise ArgumentError(f"{path}: expected a file ending in {', '.join(ENDINGS)}")
    return path.suffix


def write_columns(path: str | Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write equally long columns; the format follows the path's ending.

    Raises:
        ArgumentError: another ending, or pyarrow is missing.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> write_columns(f"{folder.name}/kept.csv", {"id": ["a", "b"], "score": [0.9, 0.7]})
        >>> print(Path(folder.name, "kept.csv").read_text())
        id,score
        a,0.9
        b,0.7
        >>> folder.cleanup()
    """
    path = Path(path)
    ending = checked_ending(path)
    if ending == ".parquet":
        pq = _parquet(path)
        import pyarrow as pa

        pq.write_table(pa.table(dict(columns)), path)
        return
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = zip(*columns.values(), strict=True)
        if ending == ".csv":
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(rows)
        else:
            for row in rows:
                file.write(json.dumps(dict(zip(columns, row, strict=True))) + "\n")


def _read_csv(path: Path) -> Table:
    with _opened(path) as file:
        reader = csv.reader(file)
        names = next(reader, [])
        rows, lines = [], []
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(names):
                raise ObservationError(
                    f"{path}:{reader.line_num}: expected {len(names)} cells, one for each of "
                    f"{', '.join(names)}, got {len(cells)}"
                )
            rows.append(cells)
            lines.append(reader.line_num)
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    return Table(path, dict(zip(names, columns, strict=True)), lines)


def _read_jsonl(path: Path) -> Table:
    rows, lines = [], []
    with _opened(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ObservationError(
                    f"{path}:{number}: expected one JSON object a line, got {error}"
                ) from error
            if not isinstance(row, dict):
                raise ObservationError(
                    f"{path}:{number}: expected a JSON object, got {type(row).__name__}"
                )
            rows.append(row)
            lines.append(number)
    names = dict.fromkeys(name for row in rows for name in row)
    return Table(path, {name: [row.get(name) for row in rows] for name in names}, lines)


def _read_parquet(path: Path) -> Table:
    pq = _parquet(path)
    import pyarrow as pa

    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise ObservationError(f"{path}: expected a Parquet file: {error}") from error
    columns = {name: _values(table[name]) for name in table.column_names}
    return Table(path, columns, range(table.num_rows))


def _values(column: Any) -> Any:
    import pyarrow as pa

    if pa.types.is_integer(column.type) and not column.null_count:
        return np.asarray(column.to_numpy())
    return list(column.to_pylist())


def _opened(path: Path) -> Any:
    # The byte-order mark that spreadsheets put before the first column's name is no part of it.
    try:
        return path.open(encoding="utf-8-sig", newline="")
    except OSError as error:
        raise ArgumentError(f"{path}: cannot read it: {error}") from error


def _parquet(path: Path) -> Any:
    need(f"{path}", "pyarrow")
    import pyarrow.parquet

    return pyarrow.parquet


def prompt_columns(pool: PromptPool, ids: list[str]) -> dict[str, list[Any]]:
    """id, prompt, answer and the further fields of these prompts; None where one lacks a field."""
    unknown = set(ids) - set(pool.ids)
    if unknown:
        raise ArgumentError(
            f"expected the pool to hold every prompt of the log, {len(unknown)} are missing, "
            f"among them {min(unknown)!r}; give the pool that the log was written with"
        )
    prompts = [pool[pool.position(name)] for name in ids]
    names = dict.fromkeys(name for prompt in prompts for name in prompt.meta)
    columns: dict[str, list[Any]] = {
        name: [getattr(prompt, name) for prompt in prompts] for name in ("id", "prompt", "answer")
    }
    return {**{name: [p.meta.get(name) for p in prompts] for name in names}, **columns}
