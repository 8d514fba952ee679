"""`python -m insight_ext compare` and `python -m insight_ext reliability`."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from insight_ext.errors import ArgumentError, InsightError
from insight_ext.plugins import need
from insight_ext.simulate.arms import ARMS
from insight_ext.simulate.compare import Setting, compare, markdown, write_rows
from insight_ext.simulate.held_out import held_out
from insight_ext.simulate.held_out import markdown as held_out_markdown
from insight_ext.simulate.learners import LEARNERS, usual_length
from insight_ext.simulate.paired import paired
from insight_ext.simulate.reliability import CHOICES, PREDICTORS, check_predicts, watch
from insight_ext.simulate.reliability import markdown as reliability_markdown


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The options of `compare`."""
    command.add_argument(
        "--learner", default="all", help=f"all, or some of {','.join(LEARNERS)}, by comma"
    )
    command.add_argument("--strategies", default="all", help=f"all, or some of: {'; '.join(ARMS)}")
    command.add_argument("--pool", default="2000,40000", help="pool sizes (2000,40000)")
    _add_training(command)
    command.add_argument("--workers", type=int, default=1, help="processes (1)")
    command.add_argument(
        "--against", metavar="STRATEGY", help="one more table: every strategy beside this one"
    )
    command.add_argument(
        "--output", type=Path, default=Path("runs/compare"), help="folder (runs/compare)"
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


def add_reliability_arguments(command: argparse.ArgumentParser) -> None:
    """The options of `reliability`."""
    command.add_argument("--learner", default="logistic", help=f"one of {','.join(LEARNERS)}")
    command.add_argument(
        "--strategies",
        default=";".join(PREDICTORS),
        help=f"strategies that predict, by semicolon ({';'.join(PREDICTORS)})",
    )
    command.add_argument("--pool", type=int, default=40_000, help="pool size (40000)")
    _add_training(command)
    command.add_argument(
        "--output", type=Path, default=Path("runs/reliability"), help="folder (runs/reliability)"
    )


def _add_training(command: argparse.ArgumentParser) -> None:
    command.add_argument("--correlation", type=float, default=0.7, help="of the feature (0.7)")
    command.add_argument("--seeds", type=int, default=10, help="how many (10)")
    command.add_argument("--steps", type=int, help="updates (100; a recorded run's own number)")
    command.add_argument("--prompts", type=int, help="prompts per step (256; a recorded run's)")
    command.add_argument("--rollouts", type=int, default=8, help="answers per prompt (8)")


def _setting(options: argparse.Namespace, learner: str, pool: int) -> Setting:
    usual = usual_length(learner)
    steps = usual.steps if options.steps is None else options.steps
    prompts = usual.prompts if options.prompts is None else options.prompts
    return Setting(learner, pool, options.correlation, steps, prompts, options.rollouts)


def run_reliability(options: argparse.Namespace) -> None:
    """Print the tables of what predictors foretold, write them and the figure."""
    need("reliability", "matplotlib")
    from insight_ext.simulate.figures import write_reliability

    setting = _setting(options, options.learner, options.pool)
    arms = [arm.strip() for arm in options.strategies.split(";")]
    for arm in arms:
        check_predicts(arm)
    seen = {
        (arm, choice): watch(setting, arm, choice, options.seeds)
        for arm in arms
        for choice in CHOICES
    }
    options.output.mkdir(parents=True, exist_ok=True)
    text = reliability_markdown(seen)
    if "gps" in arms:
        told = held_out_markdown(held_out(setting, options.seeds))
        text += f"\n### {options.learner}: answers at test time, to prompts held out\n\n{told}"
    (options.output / "reliability.md").write_text(text, encoding="utf-8")
    print(text)
    print(write_reliability(seen, options.output / "predictor_reliability.png"))


def run(options: argparse.Namespace) -> None:
    """Compare, print the tables, write them and the figures."""
    # Options of an arm hold commas, so arms are separated by semicolons where there are any.
    separator = ";" if ";" in options.strategies or ":" in options.strategies else ","
    arms = list(ARMS) if options.strategies == "all" else options.strategies.split(separator)
    arms = [arm.strip() for arm in arms]
    if options.grpo:
        _train(options, arms)
        return
    need("compare", "matplotlib")
    from insight_ext.simulate.figures import write_figures

    learners = list(LEARNERS) if options.learner == "all" else options.learner.split(",")
    try:
        pools = [int(size) for size in options.pool.split(",")]
    except ValueError:
        raise ArgumentError(
            f"pool: expected sizes such as 2000,40000, got {options.pool}"
        ) from None
    settings = [_setting(options, learner, pool) for learner in learners for pool in pools]
    if options.against:
        arms.append(options.against)
    rows, trials = compare(
        settings, arms, options.seeds, workers=options.workers, on_trial=_show_progress
    )
    options.output.mkdir(parents=True, exist_ok=True)
    write_rows(rows, options.output / "compare.csv")
    text = markdown(rows)
    if options.against:
        text += f"\n### Beside {options.against}\n\n{paired(trials, options.against)}"
    (options.output / "compare.md").write_text(text, encoding="utf-8")
    print(text)
    for path in write_figures(rows, trials, options.output):
        print(path)


def _show_progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done:,} of {total:,} trials", end="\n" if done == total else "", file=sys.stderr)


def _train(options: argparse.Namespace, arms: list[str]) -> None:
    """Hand the arms to the trainer, which this package does not import."""
    command = [sys.executable, "-m", "lightning_integration.demo.experiment"]
    command += ["--config", str(options.grpo), "--folder", str(options.output)]
    command += ["--workers", str(options.workers), "--seeds", str(options.seeds)]
    command += ["--features", options.features, "--strategies", ";".join(arms)]
    if subprocess.run(command, check=False).returncode:
        raise InsightError("the comparison on a real model failed; its message is above")
