"""Where a command's table goes: to a reader, to a program, into a file."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from insight_ext.data.json_text import json_text
from insight_ext.errors import ArgumentError
from insight_ext.offline.tables import checked_ending, write_columns, write_csv
from insight_ext.visible_text import ANY_CONTROL

Columns = Mapping[str, Sequence[Any]]
STANDARD_OUTPUT = Path("-")


def check_output(options: argparse.Namespace) -> None:
    """ArgumentError, before the work begins, if the file cannot be of this kind."""
    if options.output and options.output != STANDARD_OUTPUT:
        checked_ending(options.output)


def check_folder(folder: Path) -> None:
    """ArgumentError, before the work begins, if this cannot be a folder for figures and tables."""
    for place in () if folder == STANDARD_OUTPUT else (folder, *folder.parents):
        if place.exists():
            if not place.is_dir():
                raise ArgumentError(
                    f"--output: expected a folder, got {folder}, where {place} is a file; name "
                    "another one"
                )
            return


def hand_over(options: argparse.Namespace, columns: Columns, show: Callable[[], None]) -> None:
    """Write the table where `--output` says, and print it: for a reader unless asked otherwise."""
    if options.output and options.output != STANDARD_OUTPUT:
        write_columns(options.output, columns)
    if not printed(options, columns):
        show()


def printed(options: argparse.Namespace, columns: Columns) -> bool:
    """Print the table for a program, if one was asked for: `--json`, or `--output -`, as CSV."""
    if options.json:
        rows = zip(*columns.values(), strict=True)
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
    elif options.output == STANDARD_OUTPUT:
        write_csv(sys.stdout, columns)
    return bool(options.json or options.output == STANDARD_OUTPUT)


def print_json(rows: Sequence[Mapping[str, Any]]) -> None:
    r"""Print the rows of a table for a program, or for a terminal, on which no text acts.

    Examples:
        >>> print_json([{"id": "a\x9b2J"}])
        [{"id": "a\u009b2J"}]
    """
    text = ANY_CONTROL.sub(lambda found: json.dumps(found[0])[1:-1], json_text(rows))
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(json.loads(text))
    print(text)


def show(options: argparse.Namespace, markdown: str) -> None:
    """Print the tables for a reader: as Markdown with `--markdown` only."""
    print(markdown if options.markdown else aligned(markdown))


def aligned(markdown: str) -> str:
    """The tables of a Markdown text with aligned columns and without bars, for a terminal.

    Examples:
        >>> print(aligned("### Title\\n\\n| name | n |\\n| --- | --- |\\n| a | 10 |\\n"))
        Title
        <BLANKLINE>
        name  n
        a     10
    """
    lines: list[str] = []
    table: list[list[str]] = []
    for line in [*markdown.splitlines(), ""]:
        if line.startswith("|"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if set("".join(cells)) != {"-"}:
                table.append(cells)
            continue
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for row in table:
            cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)]
            lines.append("  ".join(cells).rstrip())
        table = []
        lines.append(line.lstrip("#").lstrip())
    return "\n".join(lines[:-1])
