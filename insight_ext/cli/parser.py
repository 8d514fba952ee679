"""Every command and its arguments. Imports nothing heavy, so that help is there at once."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from insight_ext import __version__
from insight_ext.plugins import nearest

PROGRAM = "insight-ext"
STRATEGIES = (
    "by comma or semicolon: names, names with options (mopps:decay=1), import paths "
    "(package.module:Class)"
)


class CommandParser(argparse.ArgumentParser):
    """A command's parser: what it does not know it refuses itself, under its own usage."""

    def parse_known_args(self, *given: Any, **named: Any) -> Any:
        """As argparse does, less the unknown."""
        options, unknown = super().parse_known_args(*given, **named)
        if unknown:
            known = [option for action in self._actions for option in action.option_strings]
            self.error(f"expected no {unknown[0]}{nearest(unknown[0].partition('=')[0], known)}")
        return options, unknown


def make_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line.

    What it parses names the `command`, whose work is `run` in `insight_ext.cli.COMMAND`; `needs`,
    the packages without which it cannot begin; and `kept`, what is left of it after Ctrl-C.

    Examples:
        >>> options = make_parser().parse_args(["top", "runs/addition", "--once"])
        >>> options.command, options.once, options.needs
        ('top', True, ('rich', 'pyarrow'))
    """
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Chooses the prompts that a language model rolls out next.",
        epilog=f"{PROGRAM} COMMAND --help tells about one command.",
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=CommandParser)
    for name, (told, add_arguments, needs, kept) in COMMANDS.items():
        command = commands.add_parser(name, help=told, description=told)
        add_arguments(command)
        command.set_defaults(needs=needs, kept=kept)
    return parser


def _demo(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--output", type=Path, default=Path("runs/demo"), help="folder of the figure (runs/demo)"
    )


def _report(command: argparse.ArgumentParser) -> None:
    command.add_argument("folder", type=Path, help="a run's folder, or an experiment's")


def _top(command: argparse.ArgumentParser) -> None:
    command.add_argument("folder", type=Path, help="a run's folder")
    command.add_argument("--every", type=float, default=1.0, help="seconds between looks (1)")
    command.add_argument("--once", action="store_true", help="show it once and end")


def _inspect(command: argparse.ArgumentParser) -> None:
    command.add_argument("checkpoint", type=Path, help="of a trainer, such as last.ckpt")
    command.add_argument(
        "--rows", type=int, default=5, help="prompts listed, next ones and by evidence (5)"
    )
    _pool(command, "the prompts, for strategies that use their texts")
    command.add_argument("--strategy", help="import path of your own strategy, to have it asked")
    _table(command, "the belief about each prompt")


def _curate(command: argparse.ArgumentParser) -> None:
    command.add_argument("method", help="lim or point_biserial")
    _log(command)
    amount = command.add_mutually_exclusive_group()
    amount.add_argument(
        "--keep", type=float, help="lim: smallest score (0.6); point_biserial: share (0.3)"
    )
    amount.add_argument("--count", type=int, help="keep this many")
    command.add_argument(
        "--of", choices=("all", "scored"), help="point_biserial: share of which prompts (all)"
    )
    command.add_argument(
        "--uncertainty",
        help="point_biserial: column of it (uncertainty, perplexity or entropy)",
    )
    command.add_argument("--steps-per-epoch", type=int, help="lim: make epochs of steps")
    command.add_argument("--max-epochs", type=int, help="lim: use the first so many epochs")
    _table(command)


def _rank(command: argparse.ArgumentParser) -> None:
    _log(command)
    command.add_argument("--strategy", default="insight", help="a strategy's name or import path")
    command.add_argument("--top", type=int, help="how many prompts (256, or all there are)")
    command.add_argument("--seed", type=int, default=0, help="of draws and ties (0)")
    command.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE", help="of the strategy"
    )
    _table(command)


def _compare(command: argparse.ArgumentParser) -> None:
    command.add_argument("--learner", default="all", help="all, or some by comma or semicolon")
    command.add_argument("--strategies", default="all", help=f"all, or some {STRATEGIES}")
    command.add_argument(
        "--pool", default="2000,40000", help="sizes by comma or semicolon (2000,40000)"
    )
    _training(command)
    command.add_argument("--workers", type=int, default=1, help="processes (1)")
    command.add_argument(
        "--against", metavar="STRATEGY", help="one more table: every strategy beside this one"
    )
    command.add_argument(
        "--grpo",
        type=Path,
        metavar="CONFIG",
        help="compare on a real model instead: an experiment such as configs/addition.yaml",
    )
    command.add_argument(
        "--features", default="ngrams", help="of the real prompts, for predictors (ngrams)"
    )
    _folder(command, "runs/compare")


def _reliability(command: argparse.ArgumentParser) -> None:
    command.add_argument("--learner", default="logistic", help="one learner (logistic)")
    command.add_argument(
        "--strategies", default="insight (features);gps", help="that predict, by comma or semicolon"
    )
    command.add_argument("--pool", type=int, default=40_000, help="pool size (40000)")
    _training(command)
    _folder(command, "runs/reliability")


def _calibrate(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "folder", type=Path, nargs="+", help="of an experiment: experiment.json, ARM-seedS/..."
    )
    command.add_argument("--strategies", help="only the runs of these, by comma or semicolon")
    shown = command.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="print the estimates as JSON")
    shown.add_argument("--markdown", action="store_true", help="print the tables as Markdown")
    command.add_argument(
        "--output",
        type=Path,
        default=Path("runs/calibrated.json"),
        help="file of the learner (runs/calibrated.json), or - to print it and write nothing",
    )


def _agree(command: argparse.ArgumentParser) -> None:
    command.add_argument("folder", type=Path, help="of an experiment with several strategies")
    command.add_argument(
        "--learner", default="kinds", help="a name, or a file that calibrate wrote (kinds)"
    )
    command.add_argument("--strategies", help="only these, by comma or semicolon")
    command.add_argument("--seeds", type=int, default=5, help="of the simulation (5)")
    command.add_argument("--markdown", action="store_true", help="print the tables as Markdown")
    _table(command)


def _allocate(command: argparse.ArgumentParser) -> None:
    command.add_argument("--checkpoint", type=Path, required=True, help="of a run with gps")
    _pool(command, "the prompts of that run", required=True)
    command.add_argument("--prompts", type=Path, required=True, help="the held-out prompts")
    command.add_argument("--budget", type=int, required=True, help="answers to deal")
    command.add_argument(
        "--bins",
        type=int,
        help="bins of predicted difficulty to deal by (a bin for each prompt)",
    )
    _table(command)


def _completion(command: argparse.ArgumentParser) -> None:
    command.add_argument("shell", choices=("bash", "zsh", "fish", "tcsh"))


def _nothing(command: argparse.ArgumentParser) -> None:
    """The command has no arguments."""


def _log(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--log",
        type=Path,
        required=True,
        help="a run's folder, or a log: files, a folder or a pattern",
    )
    _pool(command, "the prompts: a file, a folder or a pattern")
    command.add_argument("--reward", help="column of the reward in a log of completions")
    command.add_argument(
        "--success-threshold",
        default=1.0,
        help="smallest reward of a success (1.0); auto: the middle of the log's rewards",
    )


def _pool(command: argparse.ArgumentParser, told: str, *, required: bool = False) -> None:
    command.add_argument("--pool", type=Path, required=required, help=told)
    command.add_argument(
        "--field",
        action="append",
        default=[],
        metavar="PART=FIELD",
        help="of the prompts' file: which field is the id, the prompt or the answer",
    )


def _training(command: argparse.ArgumentParser) -> None:
    command.add_argument("--correlation", type=float, default=0.7, help="of the feature (0.7)")
    command.add_argument("--seeds", type=int, default=10, help="how many (10)")
    command.add_argument("--steps", type=int, help="updates (100; a recorded run's own number)")
    command.add_argument("--prompts", type=int, help="prompts per step (256; a recorded run's)")
    command.add_argument("--rollouts", type=int, default=8, help="answers per prompt (8)")


def _table(command: argparse.ArgumentParser, what: str = "the table") -> None:
    """Where the command's table goes."""
    command.add_argument("--json", action="store_true", help=f"print {what} as JSON")
    command.add_argument(
        "--output", type=Path, help="write it: .parquet, .jsonl or .csv, or - to print it as CSV"
    )


def _folder(command: argparse.ArgumentParser, default: str) -> None:
    """Where the command's tables and figures go, and how the tables are printed."""
    shown = command.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="print the table as JSON")
    shown.add_argument("--markdown", action="store_true", help="print the tables as Markdown")
    command.add_argument(
        "--output",
        type=Path,
        default=Path(default),
        help=f"folder ({default}), or - to print the table as CSV and write nothing",
    )


NOTHING = "nothing was written"
TABLE = "nothing was written; a table that was there before is whole"
Command = tuple[str, Callable[[argparse.ArgumentParser], None], tuple[str, ...], str]
COMMANDS: dict[str, Command] = {
    "demo": (
        "what choosing prompts is and what it saves, in a minute, without a model",
        _demo,
        ("matplotlib",),
        NOTHING,
    ),
    "report": ("draw report.html and its figures", _report, (), "the run is untouched"),
    "top": ("watch a run while it goes on", _top, ("rich", "pyarrow"), "the run goes on"),
    "inspect": ("what a checkpoint knows about the pool", _inspect, ("rich",), NOTHING),
    "rank": ("the next prompts, from a log of past results", _rank, (), TABLE),
    "curate": ("score a data set from a run's log, and keep part", _curate, (), TABLE),
    "compare": (
        "every strategy on learners whose truth is known",
        _compare,
        ("matplotlib",),
        NOTHING,
    ),
    "reliability": (
        "how far predictions of prompts never seen can be believed",
        _reliability,
        ("matplotlib",),
        "the tables come at the end, so nothing was written",
    ),
    "calibrate": (
        "fit the simulated learner of kinds to recorded runs",
        _calibrate,
        ("pyarrow",),
        NOTHING,
    ),
    "agree": (
        "does a simulated learner rank strategies as recorded runs do",
        _agree,
        ("pyarrow",),
        NOTHING,
    ),
    "allocate": (
        "answers for held-out prompts, by what gps predicts of them",
        _allocate,
        (),
        TABLE,
    ),
    "build-info": ("how this build was made and what it found", _nothing, (), NOTHING),
    "completion": (
        f'completion for a shell: eval "$({PROGRAM} completion bash)", or '
        f"{PROGRAM} completion fish | source",
        _completion,
        ("shtab",),
        NOTHING,
    ),
}
