"""The command line: `python -m insight_ext COMMAND`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from insight_ext.beliefs.pool import PromptPool
from insight_ext.cli.compare import add_arguments as add_compare_arguments
from insight_ext.cli.compare import add_reliability_arguments, run_reliability
from insight_ext.cli.compare import run as compare
from insight_ext.curators import CURATORS, curate
from insight_ext.curators.rank import rank
from insight_ext.errors import InsightError
from insight_ext.kernel.build_info import build_info
from insight_ext.offline.logs import GroupLog, read_log
from insight_ext.offline.tables import checked_ending
from insight_ext.plugins import need, parsed_options
from insight_ext.visible_text import visible_text


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

    watching = commands.add_parser("top", help="watch a run while it goes on")
    watching.add_argument("folder", type=Path, help="a run's folder")
    watching.add_argument("--every", type=float, default=1.0, help="seconds between looks (1)")
    watching.add_argument("--once", action="store_true", help="show it once and end")
    watching.set_defaults(run=_top)

    inspecting = commands.add_parser("inspect", help="what a checkpoint knows about the pool")
    inspecting.add_argument("checkpoint", type=Path, help="of a trainer, such as last.ckpt")
    inspecting.add_argument(
        "--rows", type=int, default=5, help="prompts listed, next ones and by evidence (5)"
    )
    inspecting.add_argument(
        "--pool", type=Path, help="the prompts, for strategies that use their texts"
    )
    inspecting.add_argument("--strategy", help="import path of your own strategy, to have it asked")
    inspecting.set_defaults(run=_inspect)

    curating = commands.add_parser(
        "curate", help="score a data set from a run's log, and keep part"
    )
    curating.add_argument("method", choices=CURATORS)
    _add_log(curating)
    amount = curating.add_mutually_exclusive_group()
    amount.add_argument(
        "--keep", type=float, help="lim: smallest score (0.6); point_biserial: share (0.3)"
    )
    amount.add_argument("--count", type=int, help="keep this many")
    curating.add_argument("--steps-per-epoch", type=int, help="lim: make epochs of steps")
    curating.set_defaults(run=_curate)

    ranking = commands.add_parser("rank", help="the next prompts, from a log of past results")
    _add_log(ranking)
    ranking.add_argument("--strategy", default="insight", help="a selector's name or import path")
    ranking.add_argument("--top", type=int, help="how many prompts (256, or all there are)")
    ranking.add_argument("--seed", type=int, default=0, help="of draws and ties (0)")
    ranking.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE", help="of the strategy"
    )
    ranking.set_defaults(run=_rank)

    comparing = commands.add_parser(
        "compare", help="every strategy on learners whose truth is known"
    )
    add_compare_arguments(comparing)
    comparing.set_defaults(run=compare)

    reliable = commands.add_parser(
        "reliability", help="how far predictions of prompts never seen can be believed"
    )
    add_reliability_arguments(reliable)
    reliable.set_defaults(run=run_reliability)

    allocating = commands.add_parser(
        "allocate", help="answers for held-out prompts, by what gps predicts of them"
    )
    allocating.add_argument("--checkpoint", type=Path, required=True, help="of a run with gps")
    allocating.add_argument("--pool", type=Path, required=True, help="the prompts of that run")
    allocating.add_argument("--prompts", type=Path, required=True, help="the held-out prompts")
    allocating.add_argument("--budget", type=int, required=True, help="answers to deal")
    allocating.add_argument("--output", type=Path, help="where to write: .parquet, .jsonl or .csv")
    allocating.set_defaults(run=_allocate)

    build = commands.add_parser("build-info", help="how this build was made and what it found")
    build.set_defaults(run=_build_info)
    return parser


def _report(options: argparse.Namespace) -> None:
    from insight_ext.report import write_report

    print(write_report(options.folder))


def _top(options: argparse.Namespace) -> None:
    need("top", "rich", "pyarrow")
    from insight_ext.cli.top import top

    top(options.folder, options.every, options.once)


def _inspect(options: argparse.Namespace) -> None:
    need("inspect", "rich")
    from insight_ext.cli.inspect import inspect

    pool = None if options.pool is None else PromptPool.from_file(options.pool)
    inspect(options.checkpoint, options.rows, pool=pool, strategy=options.strategy)


def _add_log(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--log",
        type=Path,
        required=True,
        help="a run's folder, or a log: files, a folder or a pattern",
    )
    command.add_argument("--pool", type=Path, help="the prompts: a file, a folder or a pattern")
    command.add_argument("--reward", help="column of the reward in a log of completions")
    command.add_argument(
        "--success-threshold",
        default=1.0,
        help="smallest reward of a success (1.0); auto: the middle of the log's rewards",
    )
    command.add_argument("--output", type=Path, help="where to write: .parquet, .jsonl or .csv")


def _read_log(options: argparse.Namespace) -> tuple[GroupLog, PromptPool | None]:
    if options.output:
        checked_ending(options.output)
    pool = PromptPool.from_file(options.pool) if options.pool else None
    log = read_log(
        options.log,
        pool=pool,
        reward=options.reward,
        success_threshold=options.success_threshold,
    )
    return log, pool


def _curate(options: argparse.Namespace) -> None:
    log, pool = _read_log(options)
    names = ("keep", "count", "steps_per_epoch")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    curation = curate(options.method, log, **given)
    if options.output:
        curation.write(options.output, pool)
    print(curation.report())


def _rank(options: argparse.Namespace) -> None:
    log, pool = _read_log(options)
    strategy_options = parsed_options(options.option)
    ranking = rank(
        log,
        options.strategy,
        options.top,
        seed=options.seed,
        options=strategy_options,
        pool=pool,
    )
    if options.output:
        ranking.write(options.output, pool)
    ranking.show()


def _allocate(options: argparse.Namespace) -> None:
    from insight_ext.cli.allocate import allocate

    if options.output:
        checked_ending(options.output)
    pool, prompts = (PromptPool.from_file(path) for path in (options.pool, options.prompts))
    columns = allocate(options.checkpoint, pool, prompts, options.budget, options.output)
    for name, rate, answers in list(zip(*columns.values(), strict=True))[:20]:
        print(f"{visible_text(str(name))}  {rate:.2f}  {answers}")


def _build_info(options: argparse.Namespace) -> None:
    print(json.dumps(build_info(), indent=2))
