"""Predicted against observed success: can the beliefs be believed?"""

from __future__ import annotations

from matplotlib.figure import Figure

from insight_ext.report.calibration import Calibration, calibration_of
from insight_ext.report.charts.style import (
    DOTTED,
    HEIGHT,
    INK,
    Chart,
    Omission,
    colours_of,
    counts_axis,
    new_figure,
    percent_axis,
    style_axes,
)
from insight_ext.report.experiment import Experiment
from insight_ext.report.measures import BIN_WIDTH


def calibration_charts(experiment: Experiment) -> list[Chart | Omission]:
    """One chart per arm that predicts."""
    charts: list[Chart | Omission] = []
    colours = colours_of(experiment.arms, experiment.baseline)
    caption = (
        "On the dotted line the beliefs are right; above it prompts were easier than believed, for "
        "instance because the policy improved since the last visit. Vertical bars are two standard "
        "errors, hollow dots first visits, which do not count."
        + " The groups of all seeds count together."
        * (len(experiment.runs) > len(experiment.arms))
    )
    for arm, runs in experiment.arms.items():
        title = f"Calibration: {arm}"
        calibration = calibration_of(runs)
        if calibration is None:
            charts.append(Omission(title, "no prediction was written for a prompt seen before"))
            continue
        figure = _figure(title, calibration, colours[arm])
        error = f"Expected calibration error {calibration.error:.3f}. "
        charts.append(Chart(f"calibration_{arm}", title, error + caption, figure))
        caption = ""
    return charts


def _figure(title: str, calibration: Calibration, colour: str) -> Figure:
    curve, first = calibration.seen, calibration.first
    figure = new_figure(title, HEIGHT + 1.1)
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
    style_axes(axes, y="observed success rate")
    axes.plot([0, 1], [0, 1], color=INK, linewidth=0.9, linestyle=DOTTED)
    axes.errorbar(
        curve.predicted,
        curve.observed,
        yerr=2 * curve.standard_error,
        color=colour,
        linewidth=1.6,
        elinewidth=1.2,
        marker="o",
        markersize=5,
    )
    if first is not None:
        axes.scatter(first.predicted, first.observed, facecolors="none", edgecolors=INK, s=36)
    axes.set(xlim=(-0.05, 1.05), ylim=(-0.03, 1.03))
    percent_axis(axes)
    style_axes(below, "predicted success rate", "groups")
    below.bar(curve.centre, curve.groups, width=0.9 * BIN_WIDTH, color=colour, alpha=0.6)
    counts_axis(below, most=3, which="y")
    percent_axis(below, which="x")
    return figure
