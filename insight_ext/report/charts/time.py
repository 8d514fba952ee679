"""What choosing costs: selection and observation beside the whole step."""

from __future__ import annotations

from functools import partial

import numpy as np
from matplotlib.figure import Figure

from insight_ext.report.charts.style import (
    Chart,
    Omission,
    Theme,
    name_arms,
    new_figure,
    style_axes,
)
from insight_ext.runs.reader import Experiment

PARTS = {"step_ms": "step", "selection_ms": "selection", "observation_ms": "observation"}


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
    return [Chart("milliseconds", caption, partial(_figure, title, experiment, times))]


def _figure(
    title: str,
    experiment: Experiment,
    times: dict[tuple[str, str], np.ndarray],
    theme: Theme,
) -> Figure:
    colours = theme.colours(experiment.arms, experiment.baseline)
    arms = list(dict.fromkeys(arm for arm, _ in times))
    height = 1.2 + 0.2 * len(PARTS) * (len(arms) + 1)
    figure = new_figure(theme, title, height)
    above = name_arms(figure, {arm: colours[arm] for arm in arms}) + 0.05
    figure.subplots_adjust(left=0.19, top=1.0 - above / height)
    axes = figure.add_subplot()
    style_axes(axes, theme, "milliseconds (log scale)")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", color=theme.grid, linewidth=0.8)
    ticks = []
    for row, part in enumerate(PARTS):
        base = row * (len(arms) + 1)
        ticks.append(base + (len(arms) - 1) / 2)
        for place, arm in enumerate(arms):
            if (arm, part) not in times:
                continue
            values = times[arm, part]
            low, middle, high = np.quantile(values, (0.05, 0.5, 0.95))
            axes.plot([low, high], [base + place] * 2, color=colours[arm], linewidth=2, alpha=0.5)
            axes.plot(middle, base + place, "o", color=colours[arm], markersize=6)
            axes.annotate(
                f"{middle:.3g} ms",
                (high, base + place),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
                color=colours[arm],
                fontsize=8.5,
            )
    axes.set_yticks(ticks, list(PARTS.values()))
    axes.tick_params(axis="y", length=0, labelcolor=theme.ink)
    axes.invert_yaxis()
    left, right = axes.get_xlim()
    axes.set_xlim(left, right * (right / left) ** 0.2)
    return figure
