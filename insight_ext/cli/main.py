"""The command line: `insight-ext COMMAND`, or `python -m insight_ext COMMAND`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path

from insight_ext.cli.parser import COMMANDS, PROGRAM, make_parser
from insight_ext.errors import InsightError
from insight_ext.plugins import named, need
from insight_ext.progress import STOPPED
from insight_ext.visible_text import reason, visible_text


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; without one, show the help.

    Returns:
        The exit status: 2 after an InsightError or an OSError, which become one line on standard
        error; 130 after Ctrl-C, with a line that says what is kept.
    """
    for stream in (sys.stdout, sys.stderr):  # a terminal need not have the characters of an id
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    parser = make_parser()
    given = sys.argv[1:] if arguments is None else arguments
    if given and not given[0].startswith("-"):
        try:
            named("command", COMMANDS, given[0])
        except InsightError as error:
            parser.error(str(error))
    options = parser.parse_args(given)
    if options.command is None:
        parser.print_help()
        return 0
    here = str(Path.cwd())
    if here not in sys.path:  # as `python -m` has it, for import paths
        sys.path.append(here)
    try:
        need(options.command, *options.needs)
        import_module(f"insight_ext.cli.{options.command.replace('-', '_')}").run(options)
        sys.stdout.flush()
    except InsightError as error:
        print(f"{PROGRAM} {options.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\n{PROGRAM} {options.command}: stopped; {options.kept}", file=sys.stderr)
        return STOPPED
    except BrokenPipeError:  # whoever read along, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:  # a full disk, a folder that nobody may write
        told = visible_text(f"{error.filename or 'cannot write'}: {reason(error)}")
        print(f"{PROGRAM} {options.command}: {told}", file=sys.stderr)
        return 2
    return 0
