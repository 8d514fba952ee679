"""The one way from a path to rows, for pools and logs alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from insight_ext.data.arrow_file import ArrowFile, ParquetFile
from insight_ext.data.csv_file import CsvFile
from insight_ext.data.files import Paths, Purpose, ending, find_files
from insight_ext.data.jsonl_file import JsonlFile
from insight_ext.data.table import DataFile

FORMATS: dict[str, Callable[[Path, Purpose], DataFile]] = {
    ".csv": CsvFile,
    ".jsonl": JsonlFile,
    ".json": JsonlFile,
    ".parquet": ParquetFile,
    ".arrow": ArrowFile,
}


def open_data(paths: Paths, purpose: Purpose) -> list[DataFile]:
    """The files that a path, a pattern, a folder or a list of these stands for, by their endings.

    Raises:
        Purpose.not_found, Purpose.malformed: see `find_files`, and the files' classes.
    """
    return [FORMATS[ending(path)](path, purpose) for path in find_files(paths, purpose)]
