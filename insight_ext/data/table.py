"""Rows of a file as columns: Arrow's where they have one type, else plain lists."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from insight_ext.data.files import Purpose
from insight_ext.errors import InsightError

Column = Any  # a pyarrow.Array, or a list
Row = Mapping[str, Any]
SAMPLED = 1000  # rows from which columns and their types are known
# Bytes of a file that are in memory at once: many rows of few columns, or few of all of them.
PART, WHOLE_PART = 1 << 24, 1 << 21


class DataFile(ABC):
    """A file of rows, read in parts, by columns.

    Attributes:
        path: of the file, or what messages call a data set in memory.
        names: its columns.
        sample: its first rows.
    """

    names: list[str]
    sample: list[Row]

    def __init__(self, path: Path | str, purpose: Purpose) -> None:
        self.path = path
        self.purpose = purpose

    @abstractmethod
    def tables(self, columns: Sequence[str], *, whole: bool = False) -> Iterator[Table]:
        """The rows in parts, in order.

        Args:
            columns: paths of those that are needed, see `value_at`.
            whole: keep whole rows too, see `Table.stored`.
        """

    def where(self, row: int) -> str:
        """The file and the place of a row, counted from 0, as messages name it."""
        return f"{self.path}, row {row}"

    def has(self, column: str) -> bool:
        """Whether there is such a column, or a field of that path in the first rows."""
        return column in self.names or any(holds(row, column) for row in self.sample)

    def malformed(self, message: str, row: int | None = None) -> InsightError:
        """The error about the file's content, at a row."""
        place = self.path if row is None else self.where(row)
        return self.purpose.malformed(f"{place}: {message}")

    def lacks(self, *missing: str) -> InsightError:
        """The error that says which columns were expected, and which there are."""
        expected = " and ".join(f"a column {name}" for name in missing)
        got = ", ".join(self.names) or "none"
        return self.malformed(f"expected {expected}, its columns are {got}")


class Table:
    """Some rows of a file.

    Args:
        file: where they are from.
        first: the number of the first row.
        content: the columns asked for, or the rows one by one.
        stored: whole rows in little room, for `row_of`, where they were asked for.
    """

    def __init__(
        self,
        file: DataFile,
        first: int,
        content: pa.Table | pa.RecordBatch | list[Row],
        stored: pa.RecordBatch | pa.Array | None = None,
    ) -> None:
        self.file = file
        self.first = first
        self.stored = stored
        self._content = content

    def __len__(self) -> int:
        return len(self._content)

    def where(self, row: int) -> str:
        """The file and place of a row of this table."""
        return self.file.where(self.first + row)

    def malformed(self, row: int, message: str) -> InsightError:
        """The error about a row."""
        return self.file.malformed(message, self.first + row)

    def column(self, path: str) -> Column:
        """A column by its path: an array, or a list where the values are of several types."""
        if isinstance(self._content, list):
            return [value_at(row, path) for row in self._content]
        names = self._content.schema.names
        if path in names:
            return one_array(self._content.column(path))
        head, *rest = path.split(".")
        if head not in names:
            return pa.nulls(len(self))
        array = one_array(self._content.column(head))
        for name in rest:
            if not pa.types.is_struct(array.type) or array.type.get_field_index(name) < 0:
                return pa.nulls(len(self))
            array = one_array(pc.struct_field(array, name))
        return array

    def values(self, path: str) -> list[Any]:
        """A column as Python's values, None where a row has none."""
        return as_list(self.column(path))


def as_list(column: Column) -> list[Any]:
    """A column as Python's values."""
    return column if isinstance(column, list) else column.to_pylist()


def row_of(stored: pa.RecordBatch | pa.Array, at: int) -> dict[str, Any]:
    """A row that `Table.stored` keeps: of columns, or a line of JSON."""
    if isinstance(stored, pa.Array):
        row: dict[str, Any] = json.loads(stored[at].as_py())
        return row
    return {name: stored.column(i)[at].as_py() for i, name in enumerate(stored.schema.names)}


def one_array(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """A column in one piece, without a dictionary, its texts with 64-bit offsets."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
        if isinstance(column, pa.ChunkedArray):
            column = pa.concat_arrays(column.chunks)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string(column.type) or pa.types.is_string_view(column.type):
        column = column.cast(pa.large_string())
    return column


def value_at(row: Row, path: str) -> Any:
    """A row's value by name, or by the path through nested fields; None if there is none.

    Examples:
        >>> value_at({"reward_model": {"ground_truth": "7"}}, "reward_model.ground_truth")
        '7'
    """
    if path in row:
        return row[path]
    value: Any = row
    for name in path.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return None
        value = value[name]
    return value


def holds(row: Row, path: str) -> bool:
    """Whether a row has a field at this path, be it None."""
    head, _, name = path.rpartition(".")
    inside = value_at(row, head) if head else row
    return path in row or (isinstance(inside, Mapping) and name in inside)
