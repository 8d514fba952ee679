"""The command line: `python -m insight_ext COMMAND`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from insight_ext.build_info import build_info
from insight_ext.errors import InsightError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; an InsightError becomes one line on standard error and exit status 2."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except InsightError as error:
        print(f"insight_ext {options.command}: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="insight_ext", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    report = commands.add_parser("report", help="draw report.html and its figures again")
    report.add_argument("folder", type=Path, help="a run's folder, or an experiment's")
    report.set_defaults(run=_report)

    build = commands.add_parser("build-info", help="how this build was made and what it found")
    build.set_defaults(run=_build_info)
    return parser


def _report(options: argparse.Namespace) -> None:
    from insight_ext.report import write_report

    print(write_report(options.folder))


def _build_info(options: argparse.Namespace) -> None:
    print(json.dumps(build_info(), indent=2))
