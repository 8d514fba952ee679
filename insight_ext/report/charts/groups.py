"""Shares of mixed, solved and failed groups through time, and how many prompts were trained on."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from insight_ext.report.charts.lines import line_figure
from insight_ext.report.charts.style import Chart, Omission, Theme
from insight_ext.report.curves import WINDOWS, Curve, windowed
from insight_ext.report.measures import first_visits, is_mixed
from insight_ext.report.tables import Groups
from insight_ext.runs.reader import Experiment, Run

Flags = NDArray[np.bool_]
OUTCOMES: dict[str, tuple[str, str, Callable[[Groups], Flags]]] = {
    "mixed": (
        "frac_mixed",
        "some rollouts right, some wrong: only these tell the policy which answers were better",
        lambda groups: is_mixed(groups.successes, groups.rollouts),
    ),
    "solved": (
        "frac_all_solved",
        "all rollouts right: generated and then without effect",
        lambda groups: groups.successes == groups.rollouts,
    ),
    "failed": (
        "frac_all_failed",
        "all rollouts wrong: generated and then without effect",
        lambda groups: groups.successes == 0,
    ),
}


def outcome_charts(experiment: Experiment) -> list[Chart | Omission]:
    """One chart per outcome of a group."""
    charts: list[Chart | Omission] = []
    for outcome, (_, meaning, _) in OUTCOMES.items():
        title = f"Share of {outcome} groups"
        curves = _arm_curves(experiment, partial(_outcome_curve, outcome=outcome))
        if not curves:
            charts.append(Omission(title, "neither groups.parquet nor the metric was written"))
            continue
        caption = f"Share of groups with {meaning}; each point averages 1/{WINDOWS} of the run."
        draw = partial(
            line_figure,
            title=title,
            curves=curves,
            experiment=experiment,
            x="training steps",
            y="share of groups",
            points=WINDOWS,
        )
        charts.append(Chart(f"groups_{outcome}", caption, draw))
    return charts


def prompt_charts(experiment: Experiment) -> list[Chart | Omission]:
    """How many different prompts were drawn, and how many of them ever had a mixed group."""
    charts: list[Chart | Omission] = []
    for name, title, caption, counted in (
        (
            "prompts_drawn",
            "Different prompts drawn",
            "How much of the pool an arm has rolled out at least once: a rule that repeats a few "
            "prompts stays low.",
            lambda groups: np.ones(groups.step.shape, dtype=np.bool_),
        ),
        (
            "prompts_taught",
            "Different prompts trained on",
            "Different prompts with at least one mixed group, the only ones whose rollouts moved "
            "the weights: higher is broader training.",
            OUTCOMES["mixed"][2],
        ),
    ):
        curves = _arm_curves(experiment, partial(_distinct_curve, counted=counted))
        if not curves:
            charts.append(Omission(title, "groups.parquet was not written by any run"))
            continue
        draw = partial(_distinct_figure, title=title, experiment=experiment, curves=curves)
        charts.append(Chart(name, caption, draw))
    return charts


def _arm_curves(
    experiment: Experiment, curve_of: Callable[[Run], Curve | None]
) -> dict[str, list[Curve]]:
    arms = {
        arm: [curve for run in runs if (curve := curve_of(run)) is not None]
        for arm, runs in experiment.arms.items()
    }
    return {arm: curves for arm, curves in arms.items() if curves}


def _outcome_curve(run: Run, outcome: str) -> Curve | None:
    metric, _, flag = OUTCOMES[outcome]
    if run.groups is not None:
        return windowed(run.groups.step.astype(np.float64), flag(run.groups).astype(np.float64))
    if metric in run.metrics:
        series = run.metrics[metric]
        return windowed(series.steps.astype(np.float64), series.values)
    return None


def _distinct_curve(run: Run, counted: Callable[[Groups], Flags]) -> Curve | None:
    if run.groups is None:
        return None
    kept = counted(run.groups)
    steps = run.groups.step[kept]
    new = steps[first_visits(run.groups.index[kept])]
    x = np.linspace(0.0, float(run.groups.step[-1]), 101)
    return Curve(x, np.searchsorted(new, x, side="right").astype(np.float64))


def _distinct_figure(
    theme: Theme, *, title: str, experiment: Experiment, curves: dict[str, list[Curve]]
) -> Figure:
    size = experiment.pool_size
    return line_figure(
        theme,
        title,
        curves,
        experiment,
        "training steps",
        "prompts" if size is None else f"prompts, of {size:,} in the pool",
        shares=False,
    )
