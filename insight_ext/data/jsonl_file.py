"""One JSON object a line.

Arrow parses a block of lines at once where its values have the types of the first rows; any other
block is read line by line, which also finds what is wrong with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.json
from numpy.typing import NDArray

from insight_ext.data.files import Purpose, ending
from insight_ext.data.table import PART, SAMPLED, WHOLE_PART, DataFile, Row, Table
from insight_ext.data.text import BOM, check_is_utf8, not_utf8, opened

Bytes = NDArray[np.uint8]

EXACT_IN_FLOAT = 1 << 53
INT64 = 1 << 63
NEWLINE, BRACE = ord("\n"), ord("{")


class JsonlFile(DataFile):
    """A file with one JSON object a line; a `.json` file may be one array of objects instead."""

    path: Path

    def __init__(self, path: Path, purpose: Purpose) -> None:
        super().__init__(path, purpose)
        self._blank: list[int] = []  # numbers of the blank lines read so far, from 0
        self._is_array = ending(path) == ".json" and self._start().lstrip()[:1] == b"["
        lines = next(self._blocks(WHOLE_PART), None)
        self.sample = [] if lines is None else self._objects(lines.slice(0, SAMPLED), 0)
        self.names = list(dict.fromkeys(name for row in self.sample for name in row))

    def where(self, row: int) -> str:
        """The file and the line, counted from 1; in an array the row, counted from 0."""
        if self._is_array:
            return super().where(row)
        line = row
        for blank in self._blank:
            if blank > line:
                break
            line += 1
        return f"{self.path}:{line + 1}"

    def tables(self, columns: Sequence[str], *, whole: bool = False) -> Iterator[Table]:
        """The rows in parts; what is stored of whole rows is their lines."""
        schema = schema_of(self.sample, [name for name in columns if self.has(name)])
        first = 0
        for lines in self._blocks(WHOLE_PART if whole else PART):
            content = parsed(lines, schema)
            if content is None:
                content = self._objects(lines, first)
            yield Table(self, first, content, lines if whole else None)
            first += len(lines)

    def _objects(self, lines: pa.Array, first: int) -> list[Row]:
        return [self._object(line, first + i) for i, line in enumerate(lines.to_pylist())]

    def _object(self, line: str, row: int) -> Row:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise self.malformed(f"expected one JSON object a line, got {error}", row) from error
        if not isinstance(value, dict):
            more = "; a file that is one array ends in .json" if isinstance(value, list) else ""
            raise self.malformed(f"expected a JSON object, got {type(value).__name__}{more}", row)
        return value

    def _start(self) -> bytes:
        with opened(self.path, self.purpose) as stream:
            start: bytes = stream.read(64)
        check_is_utf8(self.path, start, self.purpose)
        return start.removeprefix(BOM)

    def _blocks(self, size: int) -> Iterator[pa.Array]:
        """The lines that are not blank, many at a time, each with the line feed at its end."""
        self._blank = []
        if self._is_array:
            yield self._of_array()
            return
        self._start()
        number, rest = 0, np.empty(0, np.uint8)
        with opened(self.path, self.purpose) as stream:
            while len(buffer := stream.read_buffer(max(size, len(rest)))):
                block = np.frombuffer(buffer, np.uint8)
                if number == 0 and not len(rest) and bytes(block[: len(BOM)]) == BOM:
                    block = block[len(BOM) :]
                ends = np.flatnonzero(block == NEWLINE) + 1
                if len(ends):
                    lines = lines_of((rest, block[: ends[-1]]), len(rest) + ends)
                    rest = np.empty(0, np.uint8)
                    yield from self._kept(lines, number)
                    number += len(lines)
                rest = np.concatenate((rest, block[ends[-1] if len(ends) else 0 :]))
            if len(rest):
                yield from self._kept(lines_of((rest,), np.array([len(rest)])), number)

    def _kept(self, lines: pa.Array, first: int) -> Iterator[pa.Array]:
        """The lines as text, those that are blank left out."""
        at_start = np.frombuffer(lines.buffers()[2], np.uint8)[offsets_of(lines)[:-1]]
        odd = np.flatnonzero(at_start != BRACE)
        blank = [i for i in odd.tolist() if not lines[i].as_py().strip()]
        self._blank += [first + i for i in blank]
        if blank:
            mask = np.ones(len(lines), dtype=bool)
            mask[blank] = False
            lines = lines.filter(pa.array(mask))
        if not len(lines):
            return
        texts = pa.Array.from_buffers(pa.large_string(), len(lines), lines.buffers())
        try:
            texts.validate(full=True)
        except pa.ArrowInvalid:
            self._find_not_utf8(lines, first - len(self._blank) + len(blank))
            raise
        yield texts

    def _find_not_utf8(self, lines: pa.Array, first: int) -> None:
        for i, line in enumerate(lines.to_pylist()):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                raise self.malformed(not_utf8(line[error.start]), first + i) from error

    def _of_array(self) -> pa.Array:
        with opened(self.path, self.purpose) as stream:
            content = stream.read().removeprefix(BOM)
        try:
            rows = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise self.malformed(f"expected a JSON array of objects, got {error}") from error
        return pa.array([json.dumps(row) for row in rows], pa.large_string())


def lines_of(pieces: Sequence[Bytes], ends: NDArray[np.int64]) -> pa.Array:
    """Lines as binary values, in one piece of Arrow's memory, line feeds included.

    Args:
        pieces: their bytes.
        ends: where each line ends.
    """
    # What may be kept for long lies apart from what parsing takes and gives back.
    buffer = pa.allocate_buffer(int(ends[-1]), memory_pool=pa.system_memory_pool())
    np.concatenate(pieces, out=np.frombuffer(buffer, np.uint8))
    offsets = np.concatenate(([0], ends)).astype(np.int64)
    buffers = [None, pa.py_buffer(offsets), buffer]
    return pa.Array.from_buffers(pa.large_binary(), len(ends), buffers)


def offsets_of(lines: pa.Array) -> NDArray[np.int64]:
    """Where each of these values begins, and where the last one ends."""
    return np.frombuffer(lines.buffers()[1], np.int64)[lines.offset :][: len(lines) + 1]


def parsed(lines: pa.Array, schema: pa.Schema | None) -> pa.Table | None:
    """The columns of a schema, by Arrow; None where these lines do not fit it."""
    if schema is None:
        return None
    offsets = offsets_of(lines)
    data = lines.buffers()[2].slice(int(offsets[0]), int(offsets[-1] - offsets[0]))
    try:
        table = pa.json.read_json(
            pa.BufferReader(data),
            pa.json.ReadOptions(use_threads=False, block_size=len(data) + 1),
            pa.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
        )
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
    return table if len(table) == len(lines) else None


def schema_of(rows: Sequence[Row], columns: Sequence[str]) -> pa.Schema | None:
    """The types of these columns in these rows; None where one is of several.

    Examples:
        >>> rows = [{"id": "a", "info": {"index": 1, "of": {}}}, {"id": "b", "info": None}]
        >>> print(schema_of(rows, ["id", "info.index"]))
        id: string
        info: struct<index: int64>
          child 0, index: int64
        >>> schema_of([{"id": "a"}, {"id": 2}], ["id"])
    """
    fields: dict[str, list[str]] = {}
    for path in columns:
        head, _, rest = path.partition(".")
        if any(path in row for row in rows):
            head, rest = path, ""
        fields.setdefault(head, []).append(rest)
    types = []
    for name, paths in fields.items():
        values = [row.get(name) for row in rows]
        if "" in paths:
            kind = type_of(values)
        else:
            inner = schema_of([value for value in values if isinstance(value, dict)], paths)
            kind = None if inner is None else pa.struct(inner)
        if kind is None:
            return None
        types.append((name, kind))
    return pa.schema(types)


def type_of(values: Sequence[Any]) -> pa.DataType | None:
    """The one type of these values; None if there is none, or they are objects.

    Objects are left out since Arrow's would drop what the first rows do not have.
    """
    present = [value for value in values if value is not None]
    kinds = {type(value) for value in present}
    if not kinds:
        return pa.null()
    if kinds == {str}:
        return pa.string()
    if kinds == {bool}:
        return pa.bool_()
    if kinds == {int}:
        return pa.int64() if all(-INT64 <= value < INT64 for value in present) else None
    if kinds == {float} or kinds == {int, float}:
        exact = all(isinstance(v, float) or abs(v) <= EXACT_IN_FLOAT for v in present)
        return pa.float64() if exact else None
    if kinds == {list}:
        inner = type_of(list(chain.from_iterable(present)))
        # Of lists that hold nothing but null Arrow's reader makes arrays that are not valid.
        return None if inner is None or pa.types.is_null(inner) else pa.list_(inner)
    return None
