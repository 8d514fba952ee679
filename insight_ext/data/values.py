"""Columns as ids, whole numbers and numbers.

Each is cast at once where Arrow can do it without loss; else value by value, which names the first
row that does not fit.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from insight_ext.data.table import Column, Table

INT64 = 1 << 63
TRUTH = {"True": 1.0, "False": 0.0, "true": 1.0, "false": 0.0}


def ids(table: Table, path: str) -> pa.Array:
    """A column of ids as texts; numbers by their decimal text, 10.0 as `10`.

    Raises:
        Purpose.malformed: an id that is missing, or neither text nor whole number.
    """
    column = table.column(path)
    texts = texts_at_once(column)
    if texts is None:
        texts = pa.array(
            [_id(table, row, value) for row, value in enumerate(table.values(path))],
            pa.large_string(),
        )
    empty = pc.index(texts, "").as_py()  # what is missing in CSV
    if empty >= 0:
        raise table.malformed(empty, "expected an id, got ''")
    return texts


def distinct(texts: pa.Array) -> tuple[pa.Array, NDArray[np.int32]]:
    """Each text once, in the order in which they come, and for each row which one it has."""
    encoded = texts.dictionary_encode()
    return encoded.dictionary, np.asarray(encoded.indices)


def texts_at_once(column: Column) -> pa.Array | None:
    """The texts of a column of texts or whole numbers without a gap."""
    if isinstance(column, list) or column.null_count:
        return None
    if pa.types.is_large_string(column.type):
        return column
    with suppress(pa.ArrowInvalid):
        if pa.types.is_floating(column.type):
            column = column.cast(pa.int64())
        if pa.types.is_integer(column.type):
            return column.cast(pa.large_string())
    return None


def _id(table: Table, row: int, value: Any) -> str:
    text = value if isinstance(value, str) else number_text(value)
    if text is None or (not isinstance(value, str) and not text.lstrip("-").isdecimal()):
        raise table.malformed(row, f"expected an id, got {value!r:.80}")
    return encodable(text, "id", lambda message: table.malformed(row, message))


def number_text(value: Any) -> str | None:
    """A number as a person writes it, `10.0` as `10`; None for what is none, or not finite.

    Examples:
        >>> [number_text(value) for value in (10.0, 2.5, 1 << 70, Decimal("1.50"), True, "x")]
        ['10', '2.5', '1180591620717411303424', '1.50', None, None]
    """
    if isinstance(value, bool | np.bool_):
        return None
    if isinstance(value, int | np.integer):
        return str(int(value))
    if isinstance(value, float | np.floating):
        number = float(value)
        if not math.isfinite(number):
            return None
        return str(int(number)) if number.is_integer() else repr(number)
    if isinstance(value, Decimal) and value.is_finite():
        is_whole = value.is_finite() and value.adjusted() < 400 and value == int(value)
        return str(int(value)) if is_whole else str(value)
    return None


def number_texts(column: Column) -> pa.Array | None:
    """A column of floating numbers, all of them finite, as `number_text` writes them."""
    if isinstance(column, list) or column.null_count or not pa.types.is_floating(column.type):
        return None
    texts = pa.array(map(number_text, column.to_pylist()), pa.large_string())
    return None if texts.null_count else texts


def encodable(text: str, name: str, error: Callable[[str], Exception]) -> str:
    """The text, unless it holds half of a surrogate pair, which JSON can escape."""
    try:
        text.encode()
    except UnicodeEncodeError as reason:
        raise error(
            f"expected {name} to be Unicode text, got a lone surrogate in {text!r:.80}; "
            "write the whole character"
        ) from reason
    return text


def whole_numbers(table: Table, path: str) -> NDArray[np.int64]:
    """A column as int64; `10.0` and texts such as "3" count, since CSV has nothing else.

    Raises:
        Purpose.malformed: a value that is missing, a bool, a fraction, or beyond 64 bits.
    """
    column = table.column(path)
    if not isinstance(column, list) and not column.null_count:
        kinds = [pa.int64()]
        if not pa.types.is_integer(column.type):
            kinds.append(pa.float64())
        if not pa.types.is_boolean(column.type):
            for kind in kinds:
                with suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError):
                    return np.asarray(column.cast(kind).cast(pa.int64()))
    numbers = np.empty(len(table), dtype=np.int64)
    for row, value in enumerate(table.values(path)):
        number = _whole(value)
        if number is None:
            message = f"expected {path} to be a whole number, got {value!r:.80}"
            raise table.malformed(row, message)
        numbers[row] = number
    return numbers


def _whole(value: Any) -> int | None:
    """A value as a whole number of 64 bits."""
    if isinstance(value, str):
        with suppress(ValueError, ArithmeticError):
            value = Decimal(value.strip())
    text = number_text(value)
    if text is None or not text.lstrip("-").isdecimal():
        return None
    number = int(text)
    return number if -INT64 <= number < INT64 else None


def numbers(table: Table, path: str, *, finite: bool = False) -> NDArray[np.float64]:
    """A column as float64; NaN where a value is missing. Bools count as 0 and 1.

    Args:
        table, path: of the column.
        finite: refuse what is missing or NaN, too.

    Raises:
        Purpose.malformed: a value that is no number, or infinite.
    """
    column = table.column(path)
    result = None
    if not isinstance(column, list):
        result = numbers_at_once(column)
    if result is None:
        result = np.array([number(value) for value in table.values(path)], dtype=np.float64)
    bad = ~np.isfinite(result) if finite else np.isinf(result)
    if bad.any():
        row = int(np.argmax(bad))
        what = "a finite number" if finite else "a number"
        value = table.values(path)[row]
        raise table.malformed(row, f"expected {path} to be {what}, got {value!r:.80}")
    return result


def numbers_at_once(column: pa.Array) -> NDArray[np.float64] | None:
    """An array as float64, NaN for null; None where that is not how its values read."""
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    with suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError):
        cast = column.cast(pa.float64())
        return np.asarray(cast.to_numpy(zero_copy_only=False), dtype=np.float64)
    return None


def number(value: Any) -> float:
    """A value as a number: NaN if it is missing, infinity if it is none.

    Truth values count as 0 and 1, also written out, as CSV and verl's dumps have them.

    Examples:
        >>> number("0.5"), number(True), number("True"), number(None), number("good")
        (0.5, 1.0, 1.0, nan, inf)
    """
    if value is None or value == "":
        return math.nan
    try:
        return float(TRUTH.get(value, value) if isinstance(value, str) else value)
    except (TypeError, ValueError, OverflowError):
        return math.inf


def number_lists(table: Table, path: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """A column of numbers, or of lists of them, as float64; NaN where one is missing.

    Returns:
        For each number the row of the table that it stands in, and the numbers.

    Raises:
        Purpose.malformed: a value that is no number, or infinite.
    """
    column = table.column(path)
    if isinstance(column, pa.Array) and _is_list(column.type):
        rows = np.asarray(pc.list_parent_indices(column), dtype=np.int64)
        values = numbers_at_once(pc.list_flatten(column))
        if values is not None and not np.isinf(values).any():
            return rows, values
    elif isinstance(column, pa.Array) and (values := numbers_at_once(column)) is not None:
        return np.arange(len(table)), numbers(table, path)
    flat = [
        (row, number(value))
        for row, values_of_row in enumerate(table.values(path))
        for value in _listed(values_of_row)
    ]
    rows = np.array([row for row, _ in flat], dtype=np.int64)
    found = np.array([value for _, value in flat], dtype=np.float64)
    if np.isinf(found).any():
        row = int(rows[np.argmax(np.isinf(found))])
        value = table.values(path)[row]
        raise table.malformed(row, f"expected {path} to be a number, got {value!r:.80}")
    return rows, found


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def _listed(value: Any) -> list[Any]:
    """A list, also one written into a text; any other value as a list of itself."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        with suppress(ValueError):
            value = json.loads(value)
    return value if isinstance(value, list) else [value]


def is_numeric(column: Column) -> bool:
    """Whether a column holds numbers, or lists of them: by its type, of texts by their values."""
    if isinstance(column, pa.Array):
        kind = column.type.value_type if _is_list(column.type) else column.type
        if not pa.types.is_large_string(kind):
            numeric = pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal
            return any(test(kind) for test in numeric) or bool(pa.types.is_boolean(kind))
    values = column if isinstance(column, list) else column.to_pylist()
    present = [value for value in values if value is not None and value != ""]
    return bool(present) and all(math.isfinite(number(value)) for value in present[:1])


def text_column(table: Table, path: str, text: Callable[[int, Any], str]) -> pa.Array:
    """A column as texts; where they are not texts already, as this function makes them.

    Args:
        table, path: of the column.
        text: from a row's number and its value.
    """
    column = table.column(path)
    is_text = isinstance(column, pa.Array) and pa.types.is_large_string(column.type)
    if is_text and not column.null_count:
        return column
    values = enumerate(table.values(path))
    return pa.array([text(row, value) for row, value in values], pa.large_string())
