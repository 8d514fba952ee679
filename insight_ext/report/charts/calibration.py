"""Predicted against observed success: can the beliefs be believed?"""

from __future__ import annotations

from functools import partial

import numpy as np
from matplotlib.figure import Figure

from insight_ext.report.calibration import Calibration, calibration_of
from insight_ext.report.charts.style import (
    HEIGHT,
    Chart,
    Omission,
    Theme,
    new_figure,
    percent_axis,
    style_axes,
)
from insight_ext.report.measures import BIN_WIDTH
from insight_ext.runs.reader import Experiment


def calibration_charts(experiment: Experiment) -> list[Chart | Omission]:
    """One chart per arm that predicts."""
    charts: list[Chart | Omission] = []
    for arm, runs in experiment.arms.items():
        title = f"Calibration of {arm}"
        calibration = calibration_of(runs)
        if calibration is None:
            reason = "no prediction was written for a prompt seen before"
            charts.append(Omission(title, reason))
            continue
        caption = (
            "On the diagonal the beliefs are right; above it prompts were easier than believed, "
            "for instance because the policy improved since the last visit; vertical bars are two "
            "standard errors, columns count the groups, the hollow dot stands for first visits."
        )
        draw = partial(_figure, title, calibration, experiment, arm)
        charts.append(Chart(f"calibration_{arm}", caption, draw))
    return charts


def _figure(
    title: str, calibration: Calibration, experiment: Experiment, arm: str, theme: Theme
) -> Figure:
    curve = calibration.seen
    colour = theme.colours(experiment.arms, experiment.baseline)[arm]
    figure = new_figure(theme, title, height=HEIGHT + 1.1)
    axes, below = figure.subplots(
        2, 1, sharex=True, height_ratios=(3.2, 1), gridspec_kw={"hspace": 0.12}
    )
    style_axes(axes, theme, y="observed success rate")
    axes.plot([0, 1], [0, 1], color=theme.muted, linewidth=0.9, linestyle=(0, (2, 2)))
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
    if calibration.first is not None:
        first = calibration.first
        axes.scatter(
            first.predicted, first.observed, facecolors="none", edgecolors=theme.muted, s=36
        )
        largest = int(np.argmax(first.groups))
        axes.annotate(
            "first visits",
            (first.predicted[largest], first.observed[largest]),
            xytext=(7, -3),
            textcoords="offset points",
            color=theme.muted,
            fontsize=8,
        )
    axes.set(xlim=(-0.05, 1.05), ylim=(-0.03, 1.03))
    axes.text(
        0.97,
        0.05,
        f"expected calibration error {calibration.error:.3f}",
        transform=axes.transAxes,
        color=theme.ink,
        fontsize=9,
        ha="right",
    )
    percent_axis(axes)
    style_axes(below, theme, "predicted success rate", "groups")
    below.bar(curve.centre, curve.groups, width=0.9 * BIN_WIDTH, color=colour, alpha=0.6)
    below.yaxis.set_major_formatter("{x:,.0f}")
    percent_axis(below, which="x")
    return figure
