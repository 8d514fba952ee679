"""Held-out accuracy against steps, rollouts and seconds, and for each kind of task."""

from __future__ import annotations

from functools import partial
from math import ceil

import numpy as np
from matplotlib.figure import Figure

from insight_ext.report.charts.lines import draw_arms, line_figure
from insight_ext.report.charts.style import (
    Chart,
    Omission,
    Theme,
    name_arms,
    new_figure,
    percent_axis,
    style_axes,
    thousands_axis,
)
from insight_ext.report.curves import (
    EFFORTS,
    KIND_PREFIX,
    Curve,
    Effort,
    accuracy_curve,
    gain_curve,
)
from insight_ext.report.measures import SMOOTHING, final_value
from insight_ext.runs.reader import Experiment

COLUMNS = 2
UNITS: dict[Effort, str] = {
    "steps": "training steps",
    "rollouts": "rollouts generated",
    "seconds": "seconds of training",
}
NEEDED: dict[Effort, str] = {
    "steps": "",
    "rollouts": "groups.parquet",
    "seconds": "train_seconds",
}
ONE_LINE = (
    "Each bold line is the mean of an arm's seeds, its band one standard deviation, each faint "
    "line one seed"
)


def accuracy_charts(experiment: Experiment) -> list[Chart | Omission]:
    """One chart per unit of effort."""
    charts: list[Chart | Omission] = []
    for effort in EFFORTS:
        curves = arm_curves(experiment, effort)
        if not curves:
            needed = " and ".join(filter(None, ("val_accuracy", NEEDED[effort])))
            title = f"Held-out accuracy against {effort}"
            charts.append(Omission(title, f"no run wrote {needed}"))
            continue
        level = _baseline_level(experiment, curves)
        caption = f"{ONE_LINE}; further left is the same accuracy with fewer {effort}"
        if level is not None:
            caption += (
                f"; dotted is {experiment.baseline}'s final accuracy, the mean of its last "
                f"{SMOOTHING} evaluations"
            )
        caption += " (the vertical axis need not start at zero)."
        draw = partial(
            _accuracy_figure, experiment=experiment, effort=effort, curves=curves, level=level
        )
        charts.append(Chart(f"accuracy_{effort}", caption, draw))
    return [*charts, *_gain_charts(experiment)]


def kind_charts(experiment: Experiment) -> list[Chart | Omission]:
    """One chart with a panel per kind of task, if accuracy was logged per kind."""
    kinds = sorted({c for run in experiment.runs for c in run.metrics if c.startswith(KIND_PREFIX)})
    if not kinds:
        return [Omission("Held-out accuracy per kind", "no column val_accuracy/KIND was logged")]
    caption = (
        "One panel per kind of task, on the same scale: a gain in one kind that is paid for by "
        "another kind shows here and not in the mean."
    )
    return [Chart("accuracy_kinds", caption, partial(_kinds_figure, experiment, kinds))]


def arm_curves(
    experiment: Experiment, effort: Effort = "steps", column: str = "val_accuracy"
) -> dict[str, list[Curve]]:
    """The accuracy curves of every arm that has any."""
    arms = {
        arm: [curve for run in runs if (curve := accuracy_curve(run, effort, column)) is not None]
        for arm, runs in experiment.arms.items()
    }
    return {arm: curves for arm, curves in arms.items() if curves}


def _gain_charts(experiment: Experiment) -> list[Chart]:
    others = [arm for arm in experiment.arms if arm != experiment.baseline]
    pairs = {arm: experiment.pairs(arm) for arm in others}
    curves = {
        arm: gains
        for arm in others
        if (gains := [g for pair in pairs[arm] if (g := gain_curve(*pair)) is not None])
    }
    if not curves:
        return []
    caption = (
        f"Above the dotted line an arm is ahead of {experiment.baseline}'s run of the same seed: "
        "pairing takes out the differences between seeds that the other charts show; each faint "
        "line is one seed."
    )
    draw = partial(
        line_figure,
        title=f"Held-out accuracy above {experiment.baseline}'s, same seed",
        curves=curves,
        experiment=experiment,
        x=UNITS["steps"],
        y="gain in accuracy",
        seeds=True,
        from_zero=False,
        level=0.0,
    )
    return [Chart("accuracy_gain", caption, draw)]


def _baseline_level(experiment: Experiment, curves: dict[str, list[Curve]]) -> float | None:
    if experiment.baseline not in curves or len(curves) == 1:
        return None
    return float(np.mean([final_value(curve.y) for curve in curves[experiment.baseline]]))


def _accuracy_figure(
    theme: Theme,
    *,
    experiment: Experiment,
    effort: Effort,
    curves: dict[str, list[Curve]],
    level: float | None,
) -> Figure:
    return line_figure(
        theme,
        f"Held-out accuracy against {effort}",
        curves,
        experiment,
        UNITS[effort],
        "held-out accuracy",
        seeds=True,
        from_zero=False,
        level=level,
        points=200 if effort == "seconds" else None,
    )


def _kinds_figure(experiment: Experiment, kinds: list[str], theme: Theme) -> Figure:
    rows = ceil(len(kinds) / COLUMNS)
    height = 1.0 + 1.5 * rows
    figure = new_figure(theme, "Held-out accuracy per kind of task", height)
    colours = theme.colours(experiment.arms, experiment.baseline)
    above = name_arms(figure, colours) + 0.25
    figure.subplots_adjust(top=1.0 - above / height, hspace=0.6, wspace=0.12)
    panels = figure.subplots(rows, COLUMNS, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, kind in zip(panels, kinds, strict=False):
        style_axes(axes, theme)
        axes.set_title(kind.removeprefix(KIND_PREFIX), color=theme.ink, fontsize=9.5, loc="left")
        curves = arm_curves(experiment, column=kind)
        draw_arms(axes, curves, colours)
        axes.set_ylim(0, 1.02)
        percent_axis(axes)
        thousands_axis(axes, most=3)
        axes.tick_params(labelbottom=True)
    for axes in panels[len(kinds) :]:
        axes.set_visible(False)
    figure.supxlabel("training steps", y=0.06 / height, color=theme.muted, fontsize=9.5)
    return figure
