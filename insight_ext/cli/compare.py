"""`insight-ext compare`: every strategy on learners whose truth is known."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from functools import partial

from insight_ext.atomic_file import write_text
from insight_ext.child_process import end_with
from insight_ext.cli.tables import STANDARD_OUTPUT, check_folder, printed, show
from insight_ext.errors import ArgumentError, InsightError
from insight_ext.plugins import split_list
from insight_ext.progress import STOPPED, counter
from insight_ext.simulate.arms import ARMS, named_arms, needs_other_models
from insight_ext.simulate.compare import Row, Setting, compare, markdown, write_rows
from insight_ext.simulate.figures import write_figures
from insight_ext.simulate.learners import LEARNERS, usual_length
from insight_ext.simulate.paired import paired
from insight_ext.simulate.trial import Trial

TABLE = "compare.csv"


def run(options: argparse.Namespace) -> None:
    """Compare, print the tables, write them and the figures."""
    arms = list(ARMS) if options.strategies == "all" else named_arms(options.strategies)
    if options.grpo:
        if options.strategies == "all":
            arms = [arm for arm in arms if not needs_other_models(arm)]
        _train(options, arms)
        return
    if options.against:
        arms += named_arms(options.against)
    learners = list(LEARNERS) if options.learner == "all" else split_list(options.learner)
    try:
        pools = [int(size) for size in split_list(options.pool)]
    except ValueError:
        raise ArgumentError(
            f"pool: expected sizes such as 2000,40000, got {options.pool}"
        ) from None
    check_folder(options.output)
    settings = [setting_of(options, learner, pool) for learner in learners for pool in pools]
    told = counter("compare", "trials")
    rows: list[Row] = []
    trials: dict[tuple[Setting, str], list[Trial]] = {}
    for at, setting in enumerate(settings):

        def on_trial(done: int, total: int, before: int = at) -> None:
            told(before * total + done, len(settings) * total)

        more, of = compare(
            [setting], arms, options.seeds, workers=options.workers, on_trial=on_trial
        )
        rows += more
        trials |= of
        if options.output != STANDARD_OUTPUT:
            options.output.mkdir(parents=True, exist_ok=True)
            write_rows(rows, options.output / TABLE)
            options.kept = f"the learners that are done are in {options.output / TABLE}"
    text = markdown(rows)
    if options.against:
        text += f"\n### Beside {options.against}\n\n{paired(trials, options.against)}"
    for_program = printed(options, _columns(rows))
    if not for_program:
        show(options, text)
    if options.output == STANDARD_OUTPUT:
        return
    write_text(options.output / "compare.md", text)
    for path in write_figures(rows, trials, options.output):
        print(path, file=sys.stderr if for_program else sys.stdout)


def setting_of(options: argparse.Namespace, learner: str, pool: int) -> Setting:
    """A learner and the length of its training, as the arguments say."""
    usual = usual_length(learner)
    steps = usual.steps if options.steps is None else options.steps
    prompts = usual.prompts if options.prompts is None else options.prompts
    return Setting(learner, pool, options.correlation, steps, prompts, options.rollouts)


def _columns(rows: list[Row]) -> dict[str, list[object]]:
    table = [asdict(row) for row in rows]
    return {name: [row[name] for row in table] for name in table[0]}


def _train(options: argparse.Namespace, arms: list[str]) -> None:
    """Hand the arms to the trainer, which this package does not import."""
    command = [sys.executable, "-m", "lightning_integration.demo"]
    command += ["--config", str(options.grpo), "--folder", str(options.output)]
    command += ["--workers", str(options.workers), "--seeds", str(options.seeds)]
    command += ["--features", options.features, "--strategies", ";".join(arms)]
    try:
        stopping = partial(end_with, os.getpid(), signal.SIGTERM)
        ended = subprocess.run(command, check=False, preexec_fn=stopping).returncode
    except KeyboardInterrupt:
        ended = STOPPED
    if ended == STOPPED:  # and has said what is kept
        options.kept = f"the same command goes on in {options.output}"
        raise KeyboardInterrupt
    if ended:
        raise InsightError("the comparison on a real model failed; its message is above")
