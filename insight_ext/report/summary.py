"""The numbers that the report is judged by, per arm and seed, beside their targets."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from insight_ext.report.calibration import calibration_of
from insight_ext.report.curves import EFFORTS, accuracy_curve
from insight_ext.report.measures import final_value, is_mixed
from insight_ext.report.targets import accuracy_gain, mixed_ratio, overhead, reach_row
from insight_ext.runs.reader import Experiment, Run
from insight_ext.runs.rows import SummaryRow, deviation, mean


def compared(experiment: Experiment) -> list[SummaryRow]:
    """Every arm beside the baseline; rows with a target first."""
    others = [arm for arm in experiment.arms if arm != experiment.baseline]
    return [
        *(mixed_ratio(experiment, arm) for arm in others),
        *(reach_row(experiment, arm, "steps") for arm in others),
        *(overhead(experiment, arm) for arm in others),
        *(reach_row(experiment, arm, e) for e in EFFORTS if e != "steps" for arm in others),
        *(accuracy_gain(experiment, arm) for arm in others),
    ]


def measured(experiment: Experiment) -> list[SummaryRow]:
    """The plain numbers of every arm, the baseline too."""
    rows = (plain(experiment, arm) for plain in PLAIN for arm in experiment.arms)
    return [row for row in rows if row is not None]


def write_summary(rows: list[SummaryRow], folder: Path) -> None:
    """Write summary.csv and summary.json into `folder`."""
    records = [asdict(row) for row in rows]
    (folder / "summary.json").write_text(json.dumps(records, indent=2) + "\n")
    with (folder / "summary.csv").open("w", newline="") as file:
        columns = ["question", "arm", "result", "target", "verdict", "value"]
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(records)


def _plain(
    question: str, form: str, number: Callable[[Run], float | None]
) -> Callable[[Experiment, str], SummaryRow | None]:
    """A row without a target: a number of every run, mean and deviation over seeds."""

    def row(experiment: Experiment, arm: str) -> SummaryRow | None:
        runs = experiment.arms[arm]
        values = {run.seed: value for run in runs if (value := number(run)) is not None}
        if not values:
            return None
        result = form.format(mean(values))
        if len(values) > 1:
            result += f" ± {form.format(deviation(values))}"
        return SummaryRow(question, arm, result, value=mean(values), per_seed=values)

    return row


def _final_accuracy(run: Run) -> float | None:
    curve = accuracy_curve(run)
    return None if curve is None else final_value(curve.y)


def _mixed(run: Run) -> float | None:
    groups = run.groups
    return None if groups is None else float(is_mixed(groups.successes, groups.rollouts).mean())


def _rollouts(run: Run) -> float | None:
    return None if run.groups is None else float(run.groups.rollouts.sum())


def _seconds(run: Run) -> float | None:
    curve = accuracy_curve(run, "seconds")
    return None if curve is None else float(curve.x[-1])


def _prompts(run: Run) -> float | None:
    return None if run.groups is None else float(len(np.unique(run.groups.index)))


def _calibration_error(run: Run) -> float | None:
    calibration = calibration_of((run,))
    return None if calibration is None else calibration.error


PLAIN = (
    _plain("Final held-out accuracy", "{:.1%}", _final_accuracy),
    _plain("Share of mixed groups", "{:.1%}", _mixed),
    _plain("Rollouts generated", "{:,.0f}", _rollouts),
    _plain("Seconds of training steps", "{:,.0f}", _seconds),
    _plain("Different prompts drawn", "{:,.0f}", _prompts),
    _plain("Expected calibration error, prompts seen before", "{:.3f}", _calibration_error),
)
