"""The report's numbers, per arm and seed: every arm's own, and beside the baseline's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from insight_ext.atomic_file import write_text
from insight_ext.offline.tables import write_columns
from insight_ext.report.calibration import calibration_of
from insight_ext.report.curves import EFFORTS, Effort, accuracy_curve
from insight_ext.report.experiment import Experiment
from insight_ext.report.measures import (
    SMOOTHING,
    Reach,
    final_value,
    fraction_to_reach,
    is_mixed,
    overhead_share,
)
from insight_ext.runs.layout import Metric
from insight_ext.runs.reader import Groups, Run


@dataclass(frozen=True)
class SummaryRow:
    """One number of one arm.

    Attributes:
        question: what is measured, in plain words.
        arm: the arm it belongs to.
        result: the number as text, with its spread, or why there is none.
        value: the number itself, mean over seeds.
        per_seed: the same for each seed.
    """

    question: str
    arm: str
    result: str
    value: float | None = None
    per_seed: Mapping[int, float] = field(default_factory=dict)


def compared(experiment: Experiment) -> list[SummaryRow]:
    """Every other arm beside the baseline; nothing without a baseline."""
    reaches = (partial(reach_row, effort=effort) for effort in EFFORTS)
    rows: list[Callable[[Experiment, str], SummaryRow]] = [mixed_ratio, *reaches, accuracy_gain]
    return [row(experiment, arm) for row in rows for arm in experiment.others]


def measured(experiment: Experiment) -> list[SummaryRow]:
    """The numbers of every arm by itself, as far as its runs logged them."""
    return [
        _row(question, arm, values, form)
        for question, form, number in OWN
        for arm, runs in experiment.arms.items()
        if (values := {run.seed: value for run in runs if (value := number(run)) is not None})
    ]


def mixed_ratio(experiment: Experiment, arm: str) -> SummaryRow:
    """Share of mixed groups over the baseline's, per seed over the steps that both have."""
    name = experiment.baseline
    ratios, none_mixed = {}, False
    for run, other in experiment.pairs(arm):
        if run.groups is None or other.groups is None:
            continue
        until = min(run.groups.step[-1], other.groups.step[-1])
        own, base = (_share_mixed(g.where(g.step <= until)) for g in (run.groups, other.groups))
        none_mixed |= base == 0
        if base > 0:
            ratios[run.seed] = own / base
    missing = f"{name} had no mixed group" if none_mixed else "no seed with groups in both arms"
    question = f"Share of mixed groups, in multiples of {name}'s"
    return _row(question, arm, ratios, "{:.2f}", missing)


def reach_row(experiment: Experiment, arm: str, effort: Effort) -> SummaryRow:
    """Effort to the baseline's final accuracy over the baseline's own."""
    name = experiment.baseline
    question = f"{effort.capitalize()} needed to reach {name}'s final accuracy ({name} needs 1)"
    reaches: dict[int, Reach] = {}
    flat = 0
    for run, other in experiment.pairs(arm):
        curve, base = accuracy_curve(run, effort), accuracy_curve(other, effort)
        if curve is None or base is None:
            continue
        reach = fraction_to_reach(curve.x, curve.y, base.x, base.y)
        if reach is None:
            flat += 1
        else:
            reaches[run.seed] = reach
    missing = f"{name} did not improve" if flat else f"no seed with accuracy and {effort} in both"
    row = _row(question, arm, {s: r.fraction for s, r in reaches.items()}, "{:.2f}", missing)
    bounds = sum(not reach.reached for reach in reaches.values())
    result = row.result
    if bounds:
        each = [f"{'' if r.reached else '> '}{r.fraction:.2f}" for r in reaches.values()]
        listed = f" (seeds: {', '.join(each)})" if len(each) > 1 else ""
        result = f"> {row.value:.2f}{listed}; not reached in {bounds} of {len(each)}"
    if reaches and flat:
        result += f"; {name} did not improve in {flat} more, left out"
    return SummaryRow(question, arm, result, row.value, row.per_seed)


def accuracy_gain(experiment: Experiment, arm: str) -> SummaryRow:
    """Final held-out accuracy above the baseline's of the same seed."""
    finals = {
        run.seed: (_final_accuracy(run), _final_accuracy(other))
        for run, other in experiment.pairs(arm)
    }
    gains = {
        seed: 100.0 * (own - base)
        for seed, (own, base) in finals.items()
        if own is not None and base is not None
    }
    question = f"Final accuracy above {experiment.baseline}'s, in points"
    return _row(question, arm, gains, "{:+.1f}", "no seed with accuracy in both arms")


def result_sentence(experiment: Experiment) -> str:
    """What came out, in one sentence."""
    steps = max(run.steps for run in experiment.runs)
    best, final = _best(experiment)
    if final is None:
        return _groups_sentence(experiment, steps)
    if len(experiment.arms) == 1:
        curves = [curve for run in experiment.runs if (curve := accuracy_curve(run)) is not None]
        first, last = (int(max(curve.x[at] for curve in curves)) for at in (0, -1))
        after = f"after {first:,} step{'s' * (first != 1)}"
        begin, end = (float(np.mean([curve.y[at] for curve in curves])) for at in (0, -1))
        if first == last:
            return f"Held-out accuracy was {end:.1%} {after}."
        return f"Held-out accuracy went from {begin:.1%} {after} to {end:.1%} after {last:,}."
    sentence = f"After {steps:,} steps {best} has the highest held-out accuracy, {final:.1%}"
    if best in experiment.others:
        gain = accuracy_gain(experiment, best)
        needed = reach_row(experiment, best, "steps")
        if gain.value is not None:
            sentence += f", {gain.value:+.1f} points against {experiment.baseline}"
        if needed.value is not None and needed.value < 1:
            sentence += f", whose final accuracy it reaches in {needed.value:.0%} of the steps"
    return sentence + "."


def write_summary(rows: list[SummaryRow], folder: Path) -> None:
    """Write summary.csv and summary.json into `folder`."""
    records = [asdict(row) for row in rows]
    write_text(folder / "summary.json", json.dumps(records, indent=2) + "\n")
    columns = ("question", "arm", "result", "value")
    write_columns(folder / "summary.csv", {n: [row[n] for row in records] for n in columns})


def _row(
    question: str, arm: str, values: Mapping[int, float], form: str, missing: str = ""
) -> SummaryRow:
    """Mean, one standard deviation over seeds (n - 1), and each seed's value in brackets."""
    if not values:
        return SummaryRow(question, arm, missing)
    each = list(values.values())
    mean = float(np.mean(each))
    result = form.format(mean)
    if len(each) > 1 and len(set(each)) == 1:
        result += f" with each of {len(each)} seeds"
    elif len(each) > 1:
        deviation = form.replace("+", "").format(float(np.std(each, ddof=1)))
        result += f" ± {deviation} (seeds: {', '.join(form.format(value) for value in each)})"
    return SummaryRow(question, arm, result, mean, values)


def _best(experiment: Experiment) -> tuple[str, float | None]:
    """The arm of the highest final accuracy, and that; None if no run logged one."""
    finals = {
        arm: float(np.mean(values))
        for arm, runs in experiment.arms.items()
        if (values := [final for run in runs if (final := _final_accuracy(run)) is not None])
    }
    best = max(finals, key=lambda arm: finals[arm], default="")
    return best, finals.get(best)


def _groups_sentence(experiment: Experiment, steps: int) -> str:
    """Without held-out accuracy: how many groups were mixed."""
    parts: Iterator[str] = (
        f"{_share_mixed(groups):.0%} of {len(groups.step):,} groups of {run.name}"
        for run in experiment.runs
        if (groups := run.groups) is not None
    )
    told = " and ".join(parts)
    return f"In {steps:,} steps {told} were mixed." if told else f"{steps:,} steps were logged."


def _share_mixed(groups: Groups) -> float:
    return float(is_mixed(groups.successes, groups.rollouts).mean())


def _final_accuracy(run: Run) -> float | None:
    curve = accuracy_curve(run)
    return None if curve is None else final_value(curve.y)


def _of_groups(number: Callable[[Groups], float]) -> Callable[[Run], float | None]:
    return lambda run: None if run.groups is None else number(run.groups)


def _seconds(run: Run) -> float | None:
    logged = run.metrics.get(Metric.TRAIN_SECONDS)
    return None if logged is None else float(logged.values[-1])


def _overhead(run: Run) -> float | None:
    names = (Metric.SELECTION_MS, Metric.OBSERVATION_MS, Metric.STEP_MS)
    if not all(name in run.metrics for name in names):
        return None
    return overhead_share(*(run.metrics[name].values for name in names))


def _calibration_error(run: Run) -> float | None:
    calibration = calibration_of((run,))
    return None if calibration is None else calibration.error


OWN: tuple[tuple[str, str, Callable[[Run], float | None]], ...] = (
    (
        f"Final held-out accuracy, mean of the last {SMOOTHING} evaluations",
        "{:.1%}",
        _final_accuracy,
    ),
    ("Share of mixed groups", "{:.1%}", _of_groups(_share_mixed)),
    ("Rollouts generated", "{:,.0f}", _of_groups(lambda groups: float(groups.rollouts.sum()))),
    ("Seconds of training steps", "{:,.0f}", _seconds),
    ("Selection and observation, share of a step's time", "{:.2%}", _overhead),
    ("Different prompts drawn", "{:,.0f}", _of_groups(lambda groups: float(len(groups.ids)))),
    ("Expected calibration error, prompts seen before", "{:.3f}", _calibration_error),
)
