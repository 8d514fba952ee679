"""Comma-separated values, every one of them a text."""

from __future__ import annotations

import csv
import io
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from insight_ext.data.files import Purpose
from insight_ext.data.table import PART, SAMPLED, DataFile, Table
from insight_ext.data.text import check_is_utf8, not_utf8, opened

WITH_POINT = re.compile(r"^-?\d+\.0$")


class CsvFile(DataFile):
    """A file of comma-separated values whose first line names the columns.

    Arrow reads it. Python's reader, slower and exact about lines, finds what is wrong and where.
    """

    path: Path

    def __init__(self, path: Path, purpose: Purpose) -> None:
        super().__init__(path, purpose)
        with opened(path, purpose) as stream:
            check_is_utf8(path, stream.read(64), purpose)
        rows = self._rows()
        _, self.names = next(rows, (0, []))
        separators = [mark for mark in ";\t|" if mark in "".join(self.names[:1])]
        if len(self.names) == 1 and separators:
            raise self.malformed(
                f"expected commas between the columns, got {self.names[0]!r:.80}; write the file "
                f"with commas, such as pandas.read_csv(file, sep={separators[0]!r}).to_csv(...)"
            )
        repeated = [name for name, count in Counter(self.names).items() if count > 1]
        if repeated:
            raise self.malformed(f"expected distinct columns, got {repeated[0]!r} twice")
        sample = [cells for (_, cells), _ in zip(rows, range(SAMPLED), strict=False)]
        self.sample = [dict(zip(self.names, cells, strict=True)) for cells in sample]

    def where(self, row: int) -> str:
        """The file and the line, counted from 1; the last one where a row takes several."""
        for number, (line, _) in enumerate(self._rows(), start=-1):
            if number == row:
                return f"{self.path}:{line}"
        return f"{self.path}, row {row}"

    def tables(self, columns: Sequence[str], *, whole: bool = False) -> Iterator[Table]:
        """The rows in parts."""
        if not self.sample:
            return
        needed = self.names if whole else [name for name in self.names if name in columns]
        first = 0
        try:
            with opened(self.path, self.purpose) as stream, _reader(stream, self.names) as batches:
                for batch in batches:
                    for name in filter(self.names.__contains__, columns):
                        at = self.names.index(name)
                        batch = batch.set_column(at, name, without_point(batch.column(at)))
                    yield Table(self, first, batch.select(needed), batch if whole else None)
                    first += len(batch)
        except pa.ArrowInvalid as error:
            for _ in self._rows():
                pass
            raise self.malformed(
                f"expected comma-separated values in rows of at most {PART >> 20} MiB, which JSONL "
                f"and Parquet need not have: {error}"
            ) from error

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """The rows that are not blank, the names first, with the line at which each one ends."""
        width: list[str] | None = None
        with opened(self.path, self.purpose) as stream, _cells_of_any_size():
            text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
            reader = csv.reader(text)
            try:
                for cells in reader:
                    width = width or cells
                    if cells and len(cells) != len(width):
                        raise self.purpose.malformed(
                            f"{self.path}:{reader.line_num}: expected {len(width)} cells, one for "
                            f"each of {', '.join(width)}, got {len(cells)}"
                        )
                    if cells:
                        yield reader.line_num, cells
            except UnicodeDecodeError as error:
                message = not_utf8(error.object[error.start])
                raise self.malformed(f"{message}, after line {reader.line_num}") from error
            except csv.Error as error:
                raise self.purpose.malformed(
                    f"{self.path}:{reader.line_num}: expected comma-separated values: {error}"
                ) from error


def without_point(texts: pa.Array) -> pa.Array:
    """A column of whole numbers that pandas wrote as `10.0`, since a value was missing, as `10`.

    Examples:
        >>> without_point(pa.array(["10.0", "", "-3.0"])).to_pylist()
        ['10', '', '-3']
        >>> without_point(pa.array(["10.0", "2.5"])).to_pylist()
        ['10.0', '2.5']
    """
    if not any(WITH_POINT.fullmatch(text) for text in texts[:SAMPLED].to_pylist()):
        return texts
    whole = pc.match_substring_regex(texts, WITH_POINT.pattern)
    if not pc.all(pc.or_(whole, pc.equal(texts, ""))).as_py():
        return texts
    return pc.replace_substring_regex(texts, r"\.0$", "")


def _reader(stream: pa.NativeFile, names: Sequence[str]) -> pa.csv.CSVStreamingReader:
    return pa.csv.open_csv(
        stream,
        pa.csv.ReadOptions(use_threads=False, block_size=PART),
        pa.csv.ParseOptions(newlines_in_values=True),
        pa.csv.ConvertOptions(column_types={name: pa.large_string() for name in names}),
    )


@contextmanager
def _cells_of_any_size() -> Iterator[None]:
    limit = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(limit)
