"""The chart that most of the report is made of: one line per arm, seeds faint behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from insight_ext.report.charts.style import (
    DASHED,
    DOTTED,
    INK,
    POINTS,
    colours_of,
    counts_axis,
    dashed,
    new_figure,
    percent_axis,
    style_axes,
)
from insight_ext.report.curves import Curve, mean_band
from insight_ext.report.experiment import Experiment

CROWD = 6  # more arms than this are drawn without bands and seeds


def line_figure(
    title: str,
    curves: Mapping[str, Sequence[Curve]],
    experiment: Experiment,
    x: str,
    y: str,
    *,
    unit: str = "shares",
    from_zero: bool = True,
    seeds: bool = False,
    level: float | None = None,
    points: int | None = None,
) -> Figure:
    """A figure of its own with `draw_arms`, axis labels and an optional dotted level.

    Args:
        title, x, y: what is written at the top, below and at the left.
        curves: of each arm, one for each seed.
        experiment: the colours are those of its arms.
        unit: of the vertical axis: "shares", "points" or "counts".
        from_zero: whether the vertical axis begins there.
        seeds, points: see `draw_arms`.
        level: height of the dotted line.
    """
    colours = colours_of(experiment.arms, experiment.baseline)
    figure = new_figure(title, names={arm: colours[arm] for arm in curves})
    axes = figure.add_subplot()
    style_axes(axes, x, y)
    draw_arms(axes, curves, colours, seeds=seeds, points=points)
    low, high = axes.get_ylim()
    if unit == "shares":  # a flat line has as much room below as above, at 0 and 1 too
        low, high = max(low, -0.03), min(high, 1.03)
    axes.set_ylim(0 if from_zero else low, high)
    counts_axis(axes)
    if unit == "shares":
        percent_axis(axes)
    elif unit == "counts":
        counts_axis(axes, which="y")
    else:
        axes.yaxis.set_major_formatter(POINTS)
    if level is not None:
        axes.axhline(level, color=INK, linewidth=0.9, linestyle=DOTTED)
    return figure


def draw_arms(
    axes: Axes,
    curves: Mapping[str, Sequence[Curve]],
    colours: Mapping[str, str],
    *,
    seeds: bool = False,
    points: int | None = None,
) -> None:
    """Each arm's mean as a line in a band of one standard deviation, its seeds faint if wanted."""
    again = dashed({arm: colours[arm] for arm in curves})
    crowded = len(curves) > CROWD
    for arm, runs in curves.items():
        colour = colours[arm]
        if seeds and len(runs) > 1 and not crowded:
            for run in runs:
                axes.plot(run.x, run.y, color=colour, linewidth=0.7, alpha=0.5)
        x, mean, deviation = mean_band(runs, points)
        if not crowded:
            axes.fill_between(
                x, mean - deviation, mean + deviation, color=colour, alpha=0.2, linewidth=0
            )
        axes.plot(
            x,
            mean,
            color=colour,
            linewidth=1.6 if crowded else 2.2,
            linestyle=DASHED if arm in again else "-",
            solid_capstyle="round",
            marker="o" if len(x) == 1 else "",
        )
