"""What an arm believes about the whole pool, through time."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from insight_ext.report.charts.style import (
    BASELINE,
    FONT,
    HEAT,
    HEIGHT,
    INK,
    PERCENT,
    Chart,
    Omission,
    counts_axis,
    new_figure,
    percent_axis,
    style_axes,
)
from insight_ext.report.experiment import Experiment
from insight_ext.runs.layout import BELIEFS_FILE
from insight_ext.runs.reader import Beliefs

FILLING = 12  # looks, evenly spaced, whose columns touch each other


def belief_charts(experiment: Experiment) -> list[Chart | Omission]:
    """One heat map per arm, of its first seed that wrote its beliefs."""
    charts: list[Chart | Omission] = []
    densest = _densest(experiment)
    caption = (
        "Each column is the pool at one look, with nothing known between two of them, each row an "
        "expected success rate (posterior mean) between 0, hopeless, and 1, solved: the fuller the "
        "colour, the more prompts. Above it the share never visited."
    )
    for arm, runs in experiment.arms.items():
        title = f"Beliefs about the pool: {arm}"
        run = next((run for run in runs if run.beliefs is not None), None)
        if run is None or run.beliefs is None:
            charts.append(Omission(title, f"none of its runs wrote {BELIEFS_FILE}"))
        elif len(run.beliefs.step) == 1:
            charts.append(Omission(title, "the run looked at its beliefs only once"))
        else:
            seed = f"Seed {run.seed}. " if len(runs) > 1 else ""
            figure = _heat_map(title, run.beliefs, densest)
            charts.append(Chart(f"beliefs_{arm}", title, seed + caption, figure))
            caption = ""
    return charts


def _heat_map(title: str, beliefs: Beliefs, densest: float) -> Figure:
    steps, unseen = beliefs.step + 1, beliefs.unseen / beliefs.pool_size
    share, edges = _centred(beliefs.means / beliefs.pool_size)
    figure = new_figure(title, HEIGHT + 0.5)
    above, axes = figure.subplots(2, 1, sharex=True, height_ratios=(1, 3.2))
    style_axes(above, y="unseen")
    # Where looks are far apart, columns are narrow, and there is nothing between them.
    width = np.minimum(np.diff(steps, prepend=0), steps[-1] / FILLING)
    above.bar(steps - width, unseen, width, align="edge", color=BASELINE, alpha=0.6)
    above.set_ylim(0, 1.05)
    percent_axis(above)
    style_axes(axes, "training steps", "expected success rate")
    axes.grid(visible=False)
    sides = np.stack([steps - width, steps], axis=1).ravel()
    columns = np.full((2 * len(steps) - 1, share.shape[1]), np.nan)
    columns[::2] = share
    image = axes.pcolormesh(
        sides,
        edges,
        columns.T,
        cmap=HEAT,
        norm=PowerNorm(0.5, vmin=0.0, vmax=densest),
        linewidth=0,
    )
    axes.set_xlim(0, steps[-1])
    percent_axis(axes)
    counts_axis(axes)
    bar = figure.colorbar(image, ax=axes, format=PERCENT, aspect=25)
    bar.set_label("share of the pool", color=INK, size=9, family=FONT)
    bar.ax.tick_params(colors=INK, labelsize=8.5, length=3, labelfontfamily=FONT)
    bar.ax.set_facecolor("none")
    bar.outline.set_visible(False)
    return figure


def _densest(experiment: Experiment) -> float:
    """The end of the colour scale, one for all arms so that their maps compare."""
    shares = (
        _centred(run.beliefs.means / run.beliefs.pool_size)[0].max()
        for run in experiment.runs
        if run.beliefs is not None
    )
    return max((float(share) for share in shares), default=0.0) or 1.0


def _centred(share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Join each even bin to the odd one before it, the first and the last stay alone.

    Early beliefs are (1 + s) / (2 + K) and would leave every other narrow bin empty.
    """
    bins = share.shape[1]
    starts = np.array([0, *range(1, bins, 2)])
    return np.add.reduceat(share, starts, axis=1), np.append(starts, bins) / bins
