"""Held-out accuracy against steps, rollouts and seconds, and for each kind of task."""

from __future__ import annotations

from functools import partial
from math import ceil

import numpy as np
from matplotlib.figure import Figure

from insight_ext.report.charts.lines import CROWD, draw_arms, line_figure
from insight_ext.report.charts.style import (
    FONT,
    INK,
    WIDTH,
    Chart,
    Omission,
    colours_of,
    counts_axis,
    fitted,
    new_figure,
    percent_axis,
    style_axes,
)
from insight_ext.report.curves import EFFORTS, Curve, Effort, accuracy_curve, gain_curve
from insight_ext.report.experiment import Experiment
from insight_ext.report.measures import SMOOTHING, final_value
from insight_ext.runs.layout import GROUPS_FILE, Metric

COLUMNS = 2
KIND = f"{Metric.ACCURACY}/"
# The axis' name, and what a run has to write beside the accuracy.
AXES: dict[Effort, tuple[str, str]] = {
    "steps": ("training steps", ""),
    "rollouts": ("rollouts generated", f" and {GROUPS_FILE}"),
    "seconds": ("seconds of training", f" and {Metric.TRAIN_SECONDS}"),
}


def accuracy_charts(experiment: Experiment) -> list[Chart | Omission]:
    """One chart per unit of effort, and one of the gain over the baseline."""
    charts: list[Chart | Omission] = []
    for effort in EFFORTS:
        title = f"Held-out accuracy against {effort}"
        curves = experiment.curves(partial(accuracy_curve, effort=effort))
        if not any(len(curve.x) > 1 for runs in curves.values() for curve in runs):
            needed = f"{Metric.ACCURACY}{AXES[effort][1]}"
            charts.append(Omission(title, f"no run wrote {needed} at two steps or more"))
            continue
        level = _baseline_level(experiment, curves)
        caption = (
            f"The same against {effort}: further left is the same accuracy with fewer of them."
        )
        if effort == "seconds" and len(experiment.runs) > len(experiment.arms):
            caption += " A mean ends where the first of its seeds does."
        if not any(isinstance(chart, Chart) for chart in charts):
            caption = _how_to_read(experiment, len(curves), level)
        figure = line_figure(
            title,
            curves,
            experiment,
            AXES[effort][0],
            "held-out accuracy",
            seeds=True,
            from_zero=False,
            level=level,
            points=200 if effort == "seconds" else None,
        )
        charts.append(Chart(f"accuracy_{effort}", title, caption, figure))
    return [*charts, *_gain_charts(experiment)]


def kind_charts(experiment: Experiment) -> list[Chart | Omission]:
    """One chart with a panel per kind of task, if accuracy was logged per kind."""
    kinds = sorted({name for run in experiment.runs for name in run.metrics if KIND in name})
    if not kinds:
        return []
    caption = (
        "One panel per kind of task, on the same scale: a gain in one kind that is paid for by "
        "another kind shows here and not in the mean."
    )
    title = "Held-out accuracy per kind of task"
    return [Chart("accuracy_kinds", title, caption, _kinds_figure(title, experiment, kinds))]


def _how_to_read(experiment: Experiment, arms: int, level: float | None) -> str:
    sentences = ["The vertical axis need not start at zero."]
    if len(experiment.runs) > len(experiment.arms):
        sentences.append(
            "A line is the mean of an arm's seeds."
            if arms > CROWD
            else "Bold is the mean of an arm's seeds, the band one standard deviation, thin lines "
            "are the seeds."
        )
    if level is not None:
        sentences.append(
            f"Dotted is {experiment.baseline}'s final accuracy, the mean of its last {SMOOTHING} "
            "evaluations."
        )
    return " ".join(sentences)


def _baseline_level(experiment: Experiment, curves: dict[str, list[Curve]]) -> float | None:
    if experiment.baseline not in curves or len(curves) == 1:
        return None
    return float(np.mean([final_value(curve.y) for curve in curves[experiment.baseline]]))


def _gain_charts(experiment: Experiment) -> list[Chart]:
    curves = {
        arm: gains
        for arm in experiment.others
        if (gains := [g for pair in experiment.pairs(arm) if (g := gain_curve(*pair)) is not None])
    }
    if not curves:
        return []
    baseline = experiment.baseline
    caption = (
        f"Above the dotted line an arm is ahead of {baseline}'s run of the same seed: comparing "
        "seed by seed takes out the differences between seeds that the other charts show."
    )
    title = f"Points of accuracy above {baseline}'s, same seed"
    figure = line_figure(
        title,
        curves,
        experiment,
        AXES["steps"][0],
        "points",
        unit="points",
        seeds=True,
        from_zero=False,
        level=0.0,
    )
    return [Chart("accuracy_gain", title, caption, figure)]


def _kinds_figure(title: str, experiment: Experiment, kinds: list[str]) -> Figure:
    rows = ceil(len(kinds) / COLUMNS)
    colours = colours_of(experiment.arms, experiment.baseline)
    figure = new_figure(title, 1.2 + 1.5 * rows, colours)
    panels = figure.subplots(rows, COLUMNS, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, kind in zip(panels, kinds, strict=False):
        style_axes(axes)
        name = fitted(kind.removeprefix(KIND), WIDTH / COLUMNS - 0.6, 9.5)
        axes.set_title(name, color=INK, size=9.5, loc="left", family=FONT)
        draw_arms(axes, experiment.curves(partial(accuracy_curve, metric=kind)), colours)
        axes.set_ylim(-0.03, 1.03)
        percent_axis(axes)
        counts_axis(axes, most=3)
        axes.tick_params(labelbottom=True)
    for axes in panels[len(kinds) :]:
        axes.set_visible(False)
    figure.supxlabel(AXES["steps"][0], color=INK, size=9.5, family=FONT)
    return figure
