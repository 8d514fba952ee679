"""What choosing costs: selection and observation beside the whole step."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from insight_ext.report.charts.style import (
    COUNTS,
    FONT,
    GRID,
    INK,
    Chart,
    Omission,
    colours_of,
    dashed,
    new_figure,
    style_axes,
)
from insight_ext.report.experiment import Experiment
from insight_ext.report.measures import Floats
from insight_ext.runs.layout import Metric

PARTS = {
    Metric.STEP_MS: "step",
    Metric.SELECTION_MS: "selection",
    Metric.OBSERVATION_MS: "observation",
}


def time_charts(experiment: Experiment) -> list[Chart | Omission]:
    """One chart: the times of every arm on one logarithmic axis."""
    title = "Time of a step and of choosing its prompts"
    times = {
        (arm, part): np.concatenate(values)
        for arm, runs in experiment.arms.items()
        for part in PARTS
        if (values := [run.metrics[part].values for run in runs if part in run.metrics])
    }
    if not times:
        return [Omission(title, f"none of {', '.join(PARTS)} was logged")]
    caption = (
        "The dot is the median, the line covers 90 % of the steps; the axis is logarithmic, so "
        "each grid line further left is ten times less time."
    )
    return [Chart("milliseconds", title, caption, _figure(title, experiment, times))]


def _figure(title: str, experiment: Experiment, times: dict[tuple[str, Metric], Floats]) -> Figure:
    colours = colours_of(experiment.arms, experiment.baseline)
    arms = list(dict.fromkeys(arm for arm, _ in times))
    again = dashed({arm: colours[arm] for arm in arms})
    height = 1.2 + 0.2 * len(PARTS) * (len(arms) + 1)
    figure = new_figure(title, height, {arm: colours[arm] for arm in arms})
    axes = figure.add_subplot()
    style_axes(axes, "milliseconds (log scale)")
    axes.set_xscale("log")
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    ticks = []
    for row, part in enumerate(PARTS):
        base = row * (len(arms) + 1)
        ticks.append(base + (len(arms) - 1) / 2)
        for place, arm in enumerate(arms):
            if (arm, part) not in times:
                continue
            low, middle, high = np.quantile(times[arm, part], (0.05, 0.5, 0.95))
            axes.plot([low, high], [base + place] * 2, color=colours[arm], linewidth=2, alpha=0.5)
            fill = "none" if arm in again else colours[arm]
            axes.plot(middle, base + place, "o", color=colours[arm], mfc=fill, markersize=6)
            axes.annotate(
                f"{middle:.3g} ms" if middle < 1000 else f"{middle:,.0f} ms",
                (high, base + place),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
                color=colours[arm],
                size=8.5,
                family=FONT,
            )
    axes.set_yticks(ticks, list(PARTS.values()))
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.set_ylim(len(PARTS) * (len(arms) + 1) - 1.4, -0.6)
    left, right = axes.get_xlim()
    axes.set_xlim(left, right * (right / left) ** 0.2)  # room for the last text
    axes.xaxis.set_major_formatter(COUNTS)
    axes.xaxis.set_minor_formatter("")
    return figure
