"""`insight-ext reliability`: how far predictions of prompts never seen can be believed."""

from __future__ import annotations

import argparse
import sys

import numpy as np

from insight_ext.atomic_file import write_text
from insight_ext.cli.compare import setting_of
from insight_ext.cli.tables import STANDARD_OUTPUT, check_folder, printed, show
from insight_ext.progress import Progress
from insight_ext.simulate.arms import named_arms
from insight_ext.simulate.figures import write_reliability
from insight_ext.simulate.held_out import held_out
from insight_ext.simulate.held_out import markdown as held_out_markdown
from insight_ext.simulate.reliability import CHOICES, Foresight, check_predicts, markdown, watch


def run(options: argparse.Namespace) -> None:
    """Print the tables of what predictors foretold, write them and the figure."""
    check_folder(options.output)
    setting = setting_of(options, options.learner, options.pool)
    arms = named_arms(options.strategies)
    for arm in arms:
        check_predicts(arm)
    pairs = [(arm, choice) for arm in arms for choice in CHOICES]
    total = len(pairs) + ("gps" in arms)
    progress = Progress("reliability", total, "tables")
    seen: dict[tuple[str, str], Foresight] = {}
    for done, (arm, choice) in enumerate(pairs):
        progress.update(done, f"{arm}, prompts chosen {choice}")
        seen[arm, choice] = watch(setting, arm, choice, options.seeds)
    text = markdown(seen)
    if "gps" in arms:
        progress.update(len(pairs), "answers to prompts held out")
        found = held_out_markdown(held_out(setting, options.seeds))
        text += f"\n### Answers at test time, to prompts held out\n\n{found}"
    progress.update(total)
    for_program = printed(options, _columns(seen))
    if not for_program:
        show(options, text)
    if options.output == STANDARD_OUTPUT:
        return
    options.output.mkdir(parents=True, exist_ok=True)
    write_text(options.output / "reliability.md", text)
    path = write_reliability(seen, options.output / "predictor_reliability.png")
    print(path, file=sys.stderr if for_program else sys.stdout)


def _columns(seen: dict[tuple[str, str], Foresight]) -> dict[str, list[object]]:
    return {
        "strategy": [arm for arm, _ in seen],
        "chosen": [choice for _, choice in seen],
        "first_visits": [len(one.successes) for one in seen.values()],
        "calibration_error": [one.error for one in seen.values()],
        "strength": [float(np.mean(one.alpha + one.beta)) for one in seen.values()],
    }
