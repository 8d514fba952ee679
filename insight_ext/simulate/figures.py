"""The simulator's figures. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from insight_ext.report.charts.style import (
    ARMS,
    BASELINE,
    DOTTED,
    GRID,
    INK,
    new_figure,
    percent_axis,
    style_axes,
)
from insight_ext.simulate.arms import ORACLE, RANDOM
from insight_ext.simulate.compare import Row, Setting
from insight_ext.simulate.reliability import OWN, Foresight
from insight_ext.simulate.trial import Trial

SHOWN = 4


def write_figures(
    rows: Sequence[Row], trials: Mapping[tuple[Setting, str], list[Trial]], folder: Path
) -> list[Path]:
    """Two figures per learner: steps needed by every arm, and the skill's climb of the best."""
    paths = []
    for setting in dict.fromkeys(setting for setting, _ in trials):
        mine = [r for r in rows if (r.learner, r.pool) == (setting.learner, setting.pool)]
        mine.sort(key=lambda row: row.fraction)
        name = f"{setting.learner}-{setting.pool}"
        paths.append(folder / f"{name}-steps.png")
        _steps(mine, setting, paths[-1])
        paths.append(folder / f"{name}-skill.png")
        _skill(mine, trials, setting, paths[-1])
    return paths


def _steps(rows: Sequence[Row], setting: Setting, path: Path) -> None:
    height = 0.8 + 0.24 * len(rows)
    figure = new_figure(f"{setting.learner}, {setting.pool:,} prompts", height)
    axes = figure.add_subplot()
    style_axes(axes, "steps, as a share of random's")
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    for y, row in enumerate(reversed(rows)):
        baseline = row.arm in (RANDOM, ORACLE)
        colour = BASELINE if baseline else ARMS[0]
        axes.plot([row.fraction_low, row.fraction_high], [y, y], color=colour, linewidth=3)
        axes.plot(row.fraction, y, "o", color=colour, markersize=5)
    axes.axvline(1.0, color=INK, linewidth=0.9, linestyle=DOTTED)
    axes.set_yticks(range(len(rows)), [row.arm for row in reversed(rows)])
    figure.savefig(path, dpi=150)


def _skill(
    rows: Sequence[Row],
    trials: Mapping[tuple[Setting, str], list[Trial]],
    setting: Setting,
    path: Path,
) -> None:
    best = [row.arm for row in rows if row.arm not in (RANDOM, ORACLE)][:SHOWN]
    figure = new_figure(f"{setting.learner}, {setting.pool:,} prompts: mean skill")
    axes = figure.add_subplot()
    style_axes(axes, "step", "skill (logits)")
    styles = {RANDOM: (BASELINE, "-"), ORACLE: (BASELINE, ":")}
    styles |= {arm: (ARMS[i], "-") for i, arm in enumerate(best)}
    for arm, (colour, line) in styles.items():
        skill = np.mean([trial.skill for trial in trials[setting, arm]], axis=0)
        axes.plot(skill, line, color=colour, label=arm)
    axes.legend(fontsize=8, frameon=False, labelcolor=INK)
    figure.savefig(path, dpi=150)


def write_reliability(seen: Mapping[tuple[str, str], Foresight], path: Path) -> Path:
    """Means of predictions on prompts drawn at random; successes on those that the strategy
    chose."""
    figure = new_figure("Predictions of prompts at their first visit", 3.4)
    figure.set_figwidth(8.4)
    means, counts = figure.subplots(1, 2)
    style_axes(means, "predicted success rate", "observed success rate")
    means.set_title("prompts drawn at random", fontsize=9.5, color=INK, loc="left")
    means.plot([0, 1], [0, 1], color=INK, linewidth=0.9, linestyle=DOTTED)
    style_axes(counts, "answers that are right", "share of prompts")
    counts.set_title("prompts that the strategy chose", fontsize=9.5, color=INK, loc="left")
    arms = list(dict.fromkeys(arm for arm, _ in seen))
    for i, arm in enumerate(arms):
        colour, marker = ARMS[i % len(ARMS)], "os^D"[i % 4]
        curve = seen[arm, RANDOM].curve
        means.plot(curve.predicted, curve.observed, marker, color=colour, markersize=5, label=arm)
        predicted, observed = seen[arm, OWN].shares
        counts.plot(predicted, color=colour, linewidth=1.3, label=f"{arm}: predicted")
        counts.plot(observed, marker, color=colour, markersize=5, label="observed")
    counts.set_ylim(0.0)
    for axes in (means, counts):
        axes.legend(fontsize=8, frameon=False, labelcolor=INK)
    percent_axis(means)
    percent_axis(means, which="x")
    percent_axis(counts)
    figure.savefig(path, dpi=110)
    return path
