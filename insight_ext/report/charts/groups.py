"""Shares of mixed, solved and failed groups through time, and how many prompts were trained on."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from insight_ext.report.charts.lines import line_figure
from insight_ext.report.charts.style import Chart, Omission
from insight_ext.report.curves import WINDOWS, Curve, windowed
from insight_ext.report.experiment import Experiment
from insight_ext.report.measures import first_visits, is_mixed
from insight_ext.runs.layout import GROUPS_FILE, Metric
from insight_ext.runs.reader import Groups, Run

ROUNDING = 1e-6
Pick = Callable[[Groups], NDArray[np.bool_]]


def _mixed(groups: Groups) -> NDArray[np.bool_]:
    return is_mixed(groups.successes, groups.rollouts)


OUTCOMES: dict[str, tuple[Metric, Pick, str]] = {
    "mixed": (
        Metric.MIXED,
        _mixed,
        "Some answers right, some wrong. Many of them need not be learning: repeating a few "
        "prompts gives them, too.",
    ),
    "solved": (Metric.SOLVED, lambda g: g.successes == g.rollouts, "All answers right."),
    "failed": (Metric.FAILED, lambda g: g.successes == 0, "All answers wrong."),
}
COUNTED: dict[str, tuple[str, Pick, str]] = {
    "prompts_drawn": (
        "Different prompts drawn",
        lambda g: np.ones(len(g.step), dtype=np.bool_),
        "Prompts that were rolled out at least once: a strategy that repeats a few stays low.",
    ),
    "prompts_taught": (
        "Different prompts with a mixed group",
        _mixed,
        "Prompts with right and wrong answers in one step: higher is broader training.",
    ),
}


def outcome_charts(experiment: Experiment) -> list[Chart | Omission]:
    """One chart per outcome of a group; of graded rewards one of equal ones, too."""
    charts: list[Chart | Omission] = []
    graded = any(map(_is_graded, experiment.runs))
    gradient = "" if graded else " With rewards of 0 and 1 only these groups have a gradient."
    for outcome, (metric, pick, caption) in OUTCOMES.items():
        title = f"Share of {outcome} groups"
        curves = experiment.curves(partial(_share, metric=metric, pick=pick))
        if not curves:
            charts.append(Omission(title, f"neither {GROUPS_FILE} nor {metric} was written"))
            continue
        axes = ("training steps", "share of groups")
        figure = line_figure(title, curves, experiment, *axes, points=WINDOWS)
        charts.append(Chart(f"groups_{outcome}", title, caption + gradient, figure))
        gradient = ""
    if graded:
        title = "Share of groups with equal rewards"
        curves = experiment.curves(partial(_share, metric=Metric.FLAT))
        caption = (
            "These have no gradient. Rewards are graded here: mixed, solved and failed go by the "
            "success threshold, and groups of right answers alone may have a gradient."
        )
        figure = line_figure(
            title, curves, experiment, "training steps", "share of groups", points=WINDOWS
        )
        charts.append(Chart("groups_flat", title, caption, figure))
    return charts


def prompt_charts(experiment: Experiment) -> list[Chart | Omission]:
    """How many different prompts were drawn, and how many of them ever had a mixed group."""
    size = experiment.pool_size
    charts: list[Chart | Omission] = []
    for name, (title, pick, caption) in COUNTED.items():
        curves = experiment.curves(partial(_distinct, pick=pick))
        if not curves:
            charts.append(Omission(title, f"{GROUPS_FILE} was not written by any run"))
            continue
        axes = ("training steps", "prompts" if size is None else f"prompts, of {size:,}")
        figure = line_figure(title, curves, experiment, *axes, unit="counts")
        charts.append(Chart(name, title, caption, figure))
    return charts


def _share(run: Run, metric: Metric, pick: Pick | None = None) -> Curve | None:
    if pick is not None and run.groups is not None:
        return windowed(run.groups.step.astype(np.float64), pick(run.groups).astype(np.float64))
    if metric in run.metrics:
        series = run.metrics[metric]
        return windowed(series.steps.astype(np.float64), series.values)
    return None


def _is_graded(run: Run) -> bool:
    """Whether groups of equal answers had rewards that vary."""
    if not {Metric.FLAT, Metric.SOLVED, Metric.FAILED} <= run.metrics.keys():
        return False
    flat, solved, failed = (
        run.metrics[name].values.mean() for name in (Metric.FLAT, Metric.SOLVED, Metric.FAILED)
    )
    return bool(abs(flat - solved - failed) > ROUNDING)


def _distinct(run: Run, pick: Pick) -> Curve | None:
    if run.groups is None:
        return None
    kept = run.groups.where(pick(run.groups))
    new = kept.step[first_visits(kept.prompt)]
    x = np.linspace(0.0, float(run.groups.step[-1] + 1), 101)
    return Curve(x, np.searchsorted(new, x, side="left").astype(np.float64))
