"""The tables that commands write: CSV to look at, JSONL and Parquet to go on with."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from insight_ext.atomic_file import write_atomically
from insight_ext.beliefs.pool import PromptPool
from insight_ext.data.json_text import json_text, plain_value, write_jsonl
from insight_ext.errors import ArgumentError
from insight_ext.plugins import need
from insight_ext.visible_text import visible_text

ENDINGS = (".csv", ".jsonl", ".parquet")
# What a spreadsheet would work out; a number alone does no harm.
FORMULA = re.compile(r"[=+\-@\t\r](?!\d+(\.\d+)?([eE][+-]?\d+)?$)")


def checked_ending(path: Path) -> str:
    """The path's ending, one of `ENDINGS`."""
    if path.suffix not in ENDINGS:
        raise ArgumentError(f"{path}: expected a file ending in {', '.join(ENDINGS)}")
    return path.suffix


def write_columns(path: str | Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write equally long columns; the format follows the path's ending.

    Values of any kind can be written, see `insight_ext.data.json_text`. Parquet keeps the types of
    columns that have one, dates and images too; a column of several becomes texts. CSV is for
    people: a cell that a spreadsheet would take for a formula begins with `'`, control characters
    are escaped. JSONL and Parquet keep every text as it is.

    Raises:
        ArgumentError: another ending, or a file that cannot be written; what was there before is
            whole.
        InsightError: pyarrow, which Parquet needs, is missing.

    Examples:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> write_columns(f"{folder.name}/kept.csv", {"id": ["a", "=1+1"], "score": [0.9, -0.7]})
        >>> print(Path(folder.name, "kept.csv").read_text())
        id,score
        a,0.9
        '=1+1,-0.7
        >>> folder.cleanup()
    """
    path = Path(path)
    writers = {".csv": _write_csv, ".jsonl": _write_jsonl, ".parquet": _write_parquet}
    try:
        writers[checked_ending(path)](path, columns)
    except OSError as error:
        raise ArgumentError(f"{path}: cannot write the table: {error.strerror or error}") from error


def prompt_columns(pool: PromptPool, ids: list[str]) -> dict[str, list[Any]]:
    """id, prompt, answer and the further fields of these prompts; None where one lacks a field."""
    unknown = set(ids) - set(pool.ids)
    if unknown:
        raise ArgumentError(
            f"expected the pool to hold every prompt of the log, {len(unknown)} are missing, "
            f"among them {min(unknown)!r}; give the pool that the log was written with"
        )
    rows = [pool[pool.position(name)].row() for name in ids]
    of_prompt = ("id", "prompt", "answer")
    others = dict.fromkeys(name for row in rows for name in row if name not in of_prompt)
    return {name: [row.get(name) for row in rows] for name in (*others, *of_prompt)}


def write_csv(file: IO[str], columns: Mapping[str, Sequence[Any]]) -> None:
    """Write equally long columns as `write_columns` does, to an open file.

    Examples:
        >>> import sys
        >>> write_csv(sys.stdout, {"id": ["a"], "score": [float("nan")]})
        id,score
        a,
    """
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(map(_cell, columns))
    for row in zip(*columns.values(), strict=True):
        writer.writerow(map(_cell, row))


def _write_csv(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    def write(beside: Path) -> None:
        with beside.open("w", encoding="utf-8", newline="") as file:
            write_csv(file, columns)

    write_atomically(path, write)


def _write_jsonl(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    rows = zip(*columns.values(), strict=True)
    write_jsonl(path, (dict(zip(columns, row, strict=True)) for row in rows))


def _write_parquet(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    need(f"{path}", "pyarrow")
    import pyarrow as pa
    import pyarrow.parquet

    def array(values: Sequence[Any]) -> Any:
        try:
            found = pa.array(values)
            pa.parquet.write_table(pa.table({"": found}), pa.MockOutputStream())
        except (pa.ArrowException, OverflowError, TypeError, ValueError):
            # Several types, whole numbers of more than 64 bits, objects without fields, text that
            # UTF-8 cannot hold.
            texts = (None if value is None else _text(value) for value in values)
            found = pa.array(
                [text and text.encode(errors="backslashreplace").decode() for text in texts]
            )
        return found

    table = pa.table({name: array(values) for name, values in columns.items()})
    write_atomically(path, lambda beside: pa.parquet.write_table(table, beside))


def _cell(value: Any) -> Any:
    """A value as CSV has it: numbers as they are, nothing for None and NaN, else harmless text."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool | int | float):
        return value
    text = visible_text(_text(value), keep_lines=True)
    return f"'{text}" if FORMULA.match(text) else text


def _text(value: Any) -> str:
    """A text as it is, any other value as JSON, without quotes where that is a text."""
    plain = plain_value(value)
    return plain if isinstance(plain, str) else json_text(plain)
