"""What the runs of an experiment say, seed by seed beside random sampling.

    python -m benchmarks.evidence.table runs/evidence/arithmetic

Several folders are read as one experiment, of which each holds other runs.

Efforts are those to random's final accuracy, as a share of random's own; a run that does not get
there counts with all that it spent. Intervals are 95 %, by Student's t over the seeds.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from insight_ext import ArgumentError, InsightError
from insight_ext.report.curves import Curve, accuracy_curve
from insight_ext.report.experiment import Experiment, read_experiment
from insight_ext.report.measures import Reach, fraction_to_reach
from insight_ext.report.summary import accuracy_gain, mixed_ratio
from insight_ext.runs.reader import Run
from insight_ext.simulate.statistics import t_interval

EFFORTS = ("rollouts", "tokens", "seconds")
NOTHING = "-"  # a cell without a number
TOKENS = ("tokens_read", "tokens_written")


def table(experiment: Experiment) -> str:
    """A row for each strategy: efforts, final accuracy and mixed groups beside random's.

    What no strategy has is no column.
    """
    name = experiment.baseline
    arms = experiment.others
    gains = {arm: accuracy_gain(experiment, arm).per_seed for arm in arms}
    columns = {
        "strategy": arms,
        "seeds": [str(len(gains[arm])) for arm in arms],
        **{effort: [_efforts(experiment, arm, effort) for arm in arms] for effort in EFFORTS},
        f"final accuracy above {name}'s, points": [_spread(gains[arm], "+.1f") for arm in arms],
        f"mixed groups / {name}'s": [
            _spread(mixed_ratio(experiment, arm).per_seed, ".2f") for arm in arms
        ],
    }
    known = {head: cells for head, cells in columns.items() if set(cells) != {NOTHING}}
    rows = [known, ["---"] * len(known), *zip(*known.values(), strict=True)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def read_experiments(folders: Sequence[Path]) -> Experiment:
    """The runs of all folders.

    Raises:
        ArgumentError: a run of one arm and seed in two folders, or what `read_experiment` refuses.
    """
    arms: dict[str, tuple[Run, ...]] = {}
    found: dict[str, Path] = {}
    for folder in folders:
        for run in read_experiment(folder).runs:
            if run.name in found:
                raise ArgumentError(f"{run.name}: is in {found[run.name]} and in {folder}")
            found[run.name] = folder
            arms[run.arm] = (*arms.get(run.arm, ()), run)
    return Experiment(arms)


def _efforts(experiment: Experiment, arm: str, effort: str) -> str:
    reaches: dict[int, Reach] = {}
    for run, other in experiment.pairs(arm):
        own, base = _curve(run, effort), _curve(other, effort)
        reach = fraction_to_reach(*own, *base) if own and base else None
        if reach is not None:
            reaches[run.seed] = reach
    missed = sum(not reach.reached for reach in reaches.values())
    cell = _spread({seed: reach.fraction for seed, reach in reaches.items()}, ".2f")
    return f"> {cell}; {missed} not reached" if missed else cell


def _curve(run: Run, effort: str) -> Curve | None:
    """Held-out accuracy against rollouts, seconds, or tokens read and written."""
    if effort != "tokens":
        return accuracy_curve(run, effort)
    curve = accuracy_curve(run)
    if curve is None or not all(name in run.metrics for name in TOKENS):
        return None
    series = [run.metrics[name] for name in TOKENS]
    done = np.concatenate(([0], series[0].steps + 1))
    spent = np.concatenate(([0.0], sum(each.values for each in series)))
    return Curve(np.interp(curve.x, done, spent), curve.y)


def _spread(values: Mapping[int, float], form: str) -> str:
    if not values:
        return NOTHING
    each = np.array(list(values.values()))
    if len(each) < 3:
        return ", ".join(format(value, form) for value in each)
    mean, low, high = (format(value, form) for value in t_interval(each))
    return f"{mean} ({low} to {high})"


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="benchmarks.evidence.table", description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+", help="of experiments: ARM-seedS/...")
    try:
        print(table(read_experiments(parser.parse_args().folders)))
    except InsightError as error:
        print(f"benchmarks.evidence.table: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
