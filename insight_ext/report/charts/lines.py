"""The chart that most of the report is made of: one line per arm, seeds faint behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from insight_ext.report.charts.style import (
    EndLabel,
    Theme,
    label_ends,
    new_figure,
    percent_axis,
    style_axes,
    thousands_axis,
)
from insight_ext.report.curves import Curve, mean_band


class Level(NamedTuple):
    """A horizontal line to compare with, and what it is."""

    y: float
    text: str


def line_figure(
    theme: Theme,
    title: str,
    curves: Mapping[str, Sequence[Curve]],
    baseline: str | None,
    x: str,
    y: str,
    *,
    shares: bool = True,
    seeds: bool = False,
    level: Level | None = None,
    points: int | None = None,
) -> Figure:
    """A figure of its own with `draw_arms`, axis labels and an optional level."""
    figure = new_figure(theme, title, labels=curves)
    axes = figure.add_subplot()
    style_axes(axes, theme, x, y)
    draw_arms(axes, theme, curves, baseline, seeds=seeds, points=points)
    thousands_axis(axes)
    if shares:
        percent_axis(axes)
    else:
        axes.yaxis.set_major_formatter("{x:,.0f}")
    if level is not None:
        axes.axhline(level.y, color=theme.muted, linewidth=0.9, linestyle=(0, (2, 2)))
        axes.annotate(
            level.text,
            xy=(0.0, level.y),
            xycoords=("axes fraction", "data"),
            xytext=(4, 3),
            textcoords="offset points",
            color=theme.muted,
            fontsize=8.5,
        )
    return figure


def draw_arms(
    axes: Axes,
    theme: Theme,
    curves: Mapping[str, Sequence[Curve]],
    baseline: str | None,
    *,
    seeds: bool = False,
    points: int | None = None,
    labels: bool = True,
) -> None:
    """Each arm's mean as a line in a band of one standard deviation, its seeds faint if wanted."""
    colours = theme.colours(curves, baseline)
    ends = []
    for arm, runs in curves.items():
        colour = colours[arm]
        if seeds and len(runs) > 1:
            for run in runs:
                axes.plot(run.x, run.y, color=colour, linewidth=0.7, alpha=0.45)
        band = mean_band(runs, points)
        axes.fill_between(
            band.x,
            band.mean - band.deviation,
            band.mean + band.deviation,
            color=colour,
            alpha=0.18,
            linewidth=0,
        )
        axes.plot(band.x, band.mean, color=colour, linewidth=2.2, solid_capstyle="round")
        ends.append(EndLabel(float(band.x[-1]), float(band.mean[-1]), arm, colour))
    axes.set_ylim(bottom=0)
    if labels:
        label_ends(axes, ends)
