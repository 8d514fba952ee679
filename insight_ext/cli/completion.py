"""`insight-ext completion`: what a shell completes after `insight-ext`."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

import shtab

from insight_ext.cli.parser import make_parser
from insight_ext.curators import CURATORS
from insight_ext.selectors import SELECTORS
from insight_ext.simulate import LEARNERS

NAMES: dict[str, Iterable[str]] = {"method": CURATORS, "strategy": SELECTORS, "learner": LEARNERS}


def run(options: argparse.Namespace) -> None:
    """Print the shell's program."""
    parser = make_parser()
    for action in _arguments(parser):
        if action.dest in NAMES:
            action.choices = list(NAMES[action.dest])
        elif action.type is Path:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    print(shtab.complete(parser, options.shell))


def _arguments(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Those of the parser's commands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from command._actions
