"""Text files as bytes: decompressed, in UTF-8, without a byte-order mark."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from insight_ext.data.files import Purpose
from insight_ext.visible_text import reason

BOM = codecs.BOM_UTF8
# What begins files that are no UTF-8 text, and what they are.
FOREIGN = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"PAR1": "Parquet",
    b"ARROW1": "Arrow",
    b"PK\x03\x04": "a zip archive",
}


@contextmanager
def opened(path: Path, purpose: Purpose) -> Iterator[pa.NativeFile]:
    """The file's bytes, decompressed by its ending; errors become the purpose's.

    Raises:
        Purpose.not_found: it cannot be opened.
        Purpose.malformed: a compressed file that is cut off or none.
    """
    try:
        stream = pa.input_stream(str(path), compression="detect")
    except OSError as error:
        raise purpose.not_found(f"{path}: cannot read it: {reason(error)}") from error
    with stream:
        try:
            yield stream
        except OSError as error:
            raise purpose.malformed(f"{path}: cannot read it: {reason(error)}") from error


def check_is_utf8(path: Path, start: bytes, purpose: Purpose) -> None:
    """Refuse what begins like a file of another kind."""
    kinds = [kind for mark, kind in FOREIGN.items() if start.startswith(mark)]
    for kind, at in (("UTF-16LE", 1), ("UTF-16BE", 0)):  # letters without a byte-order mark
        if len(start) > 3 and not any(start[at::2]) and all(start[1 - at :: 2]):
            kinds.append(kind)
    if kinds:
        kind = kinds[0]
        remedy = (
            f"convert it: iconv -f {kind} -t UTF-8 {path.name}"
            if kind.startswith("UTF")
            else "give it the ending of what it is"
        )
        raise purpose.malformed(f"{path}: expected UTF-8 text, got {kind}; {remedy}")


def not_utf8(byte: int) -> str:
    """What to say about a byte that is not UTF-8."""
    return (
        f"expected UTF-8 text, got the byte 0x{byte:02x}; if the file is Latin-1, convert it: "
        "iconv -f LATIN1 -t UTF-8"
    )
