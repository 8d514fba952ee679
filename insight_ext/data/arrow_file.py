"""Parquet files, Arrow files as `datasets` saves them, and data sets in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from insight_ext.data.files import Purpose
from insight_ext.data.table import PART, WHOLE_PART, DataFile, Row, Table

Batches = Iterable[pa.RecordBatch]
IN_MEMORY = 1 << 16  # rows looked at together
# What Arrow raises at a damaged file; names of columns that are no UTF-8 are among it.
DAMAGED = (OSError, pa.ArrowException, UnicodeDecodeError)
ROW = 64  # bytes that a row takes at least, since equal values are stored once
BUFFER = 1 << 16  # bytes of a column that are read at once; without, all of a row group


class ColumnarFile(DataFile):
    """What knows the types of its columns."""

    def __init__(self, path: Path | str, purpose: Purpose) -> None:
        super().__init__(path, purpose)
        with self._opened(None) as (schema, _):
            self.names = schema.names
            self.sample = [outline(schema)]

    @contextmanager
    def _opened(self, columns: Sequence[str] | None) -> Iterator[tuple[pa.Schema, Batches]]:
        """The schema, and the rows with these columns or more."""
        raise NotImplementedError

    def tables(self, columns: Sequence[str], *, whole: bool = False) -> Iterator[Table]:
        """The rows in parts."""
        heads = {column.partition(".")[0] for column in columns} | set(columns)
        needed = [name for name in self.names if name in heads]
        first = 0
        with self._opened(None if whole else needed) as (_, batches):
            for batch in batches:
                self._check_texts(batch, first)
                yield Table(self, first, batch.select(needed), batch if whole else None)
                first += len(batch)

    def _check_texts(self, batch: pa.RecordBatch, first: int) -> None:
        try:
            batch.validate(full=True)
        except pa.ArrowInvalid as error:
            raise self.malformed(
                f"expected sound columns of UTF-8 text in the rows from {first} on: {error}"
            ) from error


class ParquetFile(ColumnarFile):
    """A Parquet file, of which only the columns asked for are read."""

    @contextmanager
    def _opened(self, columns: Sequence[str] | None) -> Iterator[tuple[pa.Schema, Batches]]:
        try:
            with pa.parquet.ParquetFile(self.path, buffer_size=BUFFER) as file:
                rows = _rows(file.metadata, columns is None)
                # Each row group alone: together, the dictionaries of all of them are kept.
                groups = ([number] for number in range(file.num_row_groups))
                parts = (file.iter_batches(rows, group, columns) for group in groups)
                yield file.schema_arrow, chain.from_iterable(parts)
        except DAMAGED as error:
            raise self.malformed(f"expected a Parquet file: {_reason(error)}") from error


class ArrowFile(ColumnarFile):
    """An Arrow file, mapped into memory: as `datasets` saves it (a stream) or one with an index."""

    @contextmanager
    def _opened(self, columns: Sequence[str] | None) -> Iterator[tuple[pa.Schema, Batches]]:
        try:
            with pa.memory_map(str(self.path)) as source:
                reader = _reader(source)
                yield reader.schema, reader
        except DAMAGED as error:
            raise self.malformed(f"expected an Arrow file: {_reason(error)}") from error


class InMemory(ColumnarFile):
    """A table that is in memory.

    Args:
        name: what messages call it.
        table: its rows.
    """

    def __init__(self, name: str, table: pa.Table, purpose: Purpose) -> None:
        self._table = table
        super().__init__(name, purpose)

    @contextmanager
    def _opened(self, columns: Sequence[str] | None) -> Iterator[tuple[pa.Schema, Batches]]:
        yield self._table.schema, self._table.to_batches(IN_MEMORY)


def outline(fields: pa.Schema | pa.StructType) -> Row:
    """A row of these fields without values, nested as they are.

    Examples:
        >>> outline(pa.schema([("id", pa.string()), ("info", pa.struct([("index", pa.int64())]))]))
        {'id': None, 'info': {'index': None}}
    """
    return {
        field.name: outline(field.type) if pa.types.is_struct(field.type) else None
        for field in fields
    }


def _reader(source: Any) -> Any:
    start = source.read(6)
    source.seek(0)
    if start != b"ARROW1":
        return pa.ipc.open_stream(source)
    file = pa.ipc.open_file(source)
    batches = (file.get_batch(i) for i in range(file.num_record_batches))
    return pa.RecordBatchReader.from_batches(file.schema, batches)


def _reason(error: Exception) -> str:
    return (str(error) or type(error).__name__).partition("\n")[0]


def _rows(metadata: Any, whole: bool) -> int:
    """How many rows make a part, whole or of some columns."""
    size = metadata.num_rows * ROW
    for number in range(metadata.num_row_groups):
        # Of all columns: to ask for one of them ends the process where a file is damaged.
        size += metadata.row_group(number).total_byte_size
    rows: int = (WHOLE_PART if whole else PART) * metadata.num_rows // max(1, size)
    return max(1, rows)
