"""Rows as JSON, whatever kind of value they hold: the one place that encodes."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from insight_ext.atomic_file import write_atomically


def json_text(value: Any) -> str:
    """A value as JSON in one line.

    Dates become ISO 8601, decimals their digits, bytes (images) base64, NumPy's values Python's;
    NaN, which JSON does not have, null. Anything else becomes its text.

    Examples:
        >>> from decimal import Decimal
        >>> json_text([date(2026, 1, 2), Decimal("1.50"), b"ab", math.nan, 1 << 70])
        '["2026-01-02", "1.50", "YWI=", null, 1180591620717411303424]'
    """
    plain = plain_value(value)
    text = json.dumps(plain, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return json.dumps(plain)
    return text


def plain_value(value: Any) -> Any:
    """A value in the kinds that JSON has."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else _not_finite(value)
    if isinstance(value, Mapping):
        return {str(name): plain_value(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain_value(inner) for inner in value]
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    if isinstance(value, np.generic | np.ndarray):
        return plain_value(value.tolist())
    if isinstance(value, timedelta):
        return value.total_seconds()
    return str(value)


def plain_numbers(values: Any) -> list[Any]:
    """A tensor or array (n,) as Python's numbers; a float32 is the shortest decimal that means it.

    Examples:
        >>> plain_numbers(np.array([0.9, 12.5], dtype=np.float32))
        [0.9, 12.5]
    """
    array = np.asarray(values)
    return [float(str(each)) for each in array] if array.dtype == np.float32 else array.tolist()


def _not_finite(value: float) -> str | None:
    return None if math.isnan(value) else str(value)


def write_jsonl(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object a line, the whole file or nothing of it.

    Raises:
        OSError: it cannot be written; a file that was there before is whole.
    """

    def write(beside: Path) -> None:
        with beside.open("w", encoding="utf-8") as file:
            file.writelines(f"{json_text(row)}\n" for row in rows)

    write_atomically(path, write)
