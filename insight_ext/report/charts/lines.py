"""The chart that most of the report is made of: one line per arm, seeds faint behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
from insight_ext.runs.reader import Experiment


def line_figure(
    theme: Theme,
    title: str,
    curves: Mapping[str, Sequence[Curve]],
    experiment: Experiment,
    x: str,
    y: str,
    *,
    shares: bool = True,
    from_zero: bool = True,
    seeds: bool = False,
    level: float | None = None,
    points: int | None = None,
) -> Figure:
    """A figure of its own with `draw_arms`, axis labels and an optional dotted level."""
    figure = new_figure(theme, title, labels=curves)
    axes = figure.add_subplot()
    style_axes(axes, theme, x, y)
    colours = theme.colours(experiment.arms, experiment.baseline)
    ends = draw_arms(axes, curves, colours, seeds=seeds, points=points)
    if from_zero:
        top = axes.get_ylim()[1]
        axes.set_ylim(0, min(top, 1.03) if shares else top)
    thousands_axis(axes)
    if shares:
        percent_axis(axes)
    else:
        axes.yaxis.set_major_formatter("{x:,.0f}")
    if level is not None:
        axes.axhline(level, color=theme.muted, linewidth=0.9, linestyle=(0, (2, 2)))
    label_ends(axes, ends)
    return figure


def draw_arms(
    axes: Axes,
    curves: Mapping[str, Sequence[Curve]],
    colours: Mapping[str, str],
    *,
    seeds: bool = False,
    points: int | None = None,
) -> list[EndLabel]:
    """Each arm's mean as a line in a band of one standard deviation, its seeds faint if wanted.

    Returns where the lines end.
    """
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
        axes.plot(
            band.x,
            band.mean,
            color=colour,
            linewidth=2.2,
            solid_capstyle="round",
            marker="o" if len(band.x) == 1 else "",
        )
        ends.append(EndLabel(float(band.x[-1]), float(band.mean[-1]), arm, colour))
    return ends
