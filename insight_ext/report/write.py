"""From a run folder to report.html, figures and summary."""

from __future__ import annotations

from pathlib import Path

from insight_ext.report.charts import SECTIONS
from insight_ext.report.charts.style import DARK, LIGHT, Chart, Omission
from insight_ext.report.page import (
    compared_html,
    figure_html,
    measured_html,
    omission_html,
    page_html,
    png,
)
from insight_ext.report.summary import compared, measured, write_summary
from insight_ext.runs.reader import Experiment, read_experiment


def write(folder: Path) -> Path:
    """Read the runs, then write figures/*.png, summary.csv, summary.json and report.html."""
    experiment = read_experiment(folder)
    against, plain = compared(experiment), measured(experiment)
    figures = folder / "figures"
    figures.mkdir(exist_ok=True)
    for old in figures.glob("*.png"):
        old.unlink()
    sections = [("The numbers", compared_html(against))]
    for heading, charts_of in SECTIONS.items():
        parts = [_part(chart, figures) for chart in charts_of(experiment)]
        sections.append((heading, f'<div class="figures">{"".join(parts)}</div>'))
    sections.append(("Every arm in numbers", measured_html(plain)))
    write_summary([*against, *plain], folder)
    html = page_html(
        f"{folder.resolve().name}: which prompts to roll out next",
        _lead(experiment),
        [*_arms(experiment), *experiment.notes],
        sections,
        experiment.settings,
    )
    report = folder / "report.html"
    report.write_text(html, encoding="utf-8")
    return report


def _part(chart: Chart | Omission, figures: Path) -> str:
    if isinstance(chart, Omission):
        return omission_html(chart)
    light, dark = (png(chart.draw(theme)) for theme in (LIGHT, DARK))
    (figures / f"{chart.name}.png").write_bytes(light)
    return figure_html(chart, light, dark)


def _lead(experiment: Experiment) -> str:
    steps = max(run.steps for run in experiment.runs)
    groups = [run.groups for run in experiment.runs if run.groups is not None]
    rollouts = sum(int(g.rollouts.sum()) for g in groups)
    pool = f", a pool of {experiment.pool_size:,} prompts" if experiment.pool_size else ""
    drawn = f", {rollouts:,} rollouts in all" if rollouts else ""
    return (
        f"Up to {steps:,} training steps per run{pool}{drawn}. "
        "Every number below is computed from what the runs logged."
    )


def _arms(experiment: Experiment) -> list[str]:
    lines = []
    for arm, runs in experiment.arms.items():
        seeds = f"{len(runs)} seed{'s' * (len(runs) > 1)}"
        options = ", ".join(f"{name} {value}" for name, value in experiment.options(arm).items())
        lines.append(f"{arm}, {seeds}" + (f": {options}" if options else ""))
    return lines
