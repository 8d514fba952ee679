"""From a run folder to report.html, figures and summary."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from insight_ext.atomic_file import write_text
from insight_ext.report.charts import SECTIONS
from insight_ext.report.charts.style import Chart, Omission, png
from insight_ext.report.experiment import Experiment, common, read_experiment
from insight_ext.report.page import (
    figure_html,
    numbers_html,
    omissions_html,
    page_html,
    prompts_html,
    settings_html,
)
from insight_ext.report.page_text import COMPARED, DEFINITIONS, SPREAD
from insight_ext.report.prompts import difficult
from insight_ext.report.summary import compared, measured, result_sentence, write_summary

# Settings that stand at the top, by the last part of their names.
TOLD = {
    "model": "Model",
    "pool": "Prompts",
    "selector": "Selector",
    "selector_options": "Its options",
    "filter": "Filter",
    "prompts_per_step": "Prompts per step",
    "rollouts": "Rollouts per prompt",
    "learning_rate": "Learning rate",
}


def write(folder: Path) -> Path:
    """Read the runs, then write figures/*.png, summary.csv, summary.json and report.html."""
    experiment = read_experiment(folder)
    against, own = compared(experiment), measured(experiment)
    figures = folder / "figures"
    figures.mkdir(exist_ok=True)
    for old in figures.glob("*.png"):
        old.unlink()
    sections = {"In numbers": numbers_html([*own, *against])}
    for heading, charts_of in SECTIONS.items():
        charts = charts_of(experiment)
        drawn = "".join(_drawn(chart, figures) for chart in charts if isinstance(chart, Chart))
        sections[heading] = f'<div class="figures">{drawn}</div>' * bool(drawn) + omissions_html(
            chart for chart in charts if isinstance(chart, Omission)
        )
    alone = experiment.runs[0] if len(experiment.runs) == 1 else None
    if alone:
        sections["Prompts to look at"] = prompts_html(difficult(alone))
    several = len(experiment.runs) > len(experiment.arms)
    defined = DEFINITIONS + COMPARED * bool(against) + SPREAD * several
    sections["How the numbers are defined"] = f"<dl>{defined}</dl>"
    sections["Settings"] = settings_html(alone.settings if alone else {})
    write_summary([*against, *own], folder)
    facts, notes = _facts(experiment), [*_arms(experiment), *experiment.notes]
    name = folder.resolve().name
    html = page_html(name, result_sentence(experiment), facts, notes, sections)
    report = folder / "report.html"
    write_text(report, html)
    return report


def _drawn(chart: Chart, figures: Path) -> str:
    image = png(chart.figure)
    (figures / f"{chart.name.replace('/', '-')}.png").write_bytes(image)
    return figure_html(chart.title, chart.caption, image)


def _facts(experiment: Experiment) -> dict[str, str]:
    """What every run shares, in the order in which it is read."""
    latest = max(run.written for run in experiment.runs)
    known = [run.facts for run in experiment.runs]
    shared = common(known)
    settings, _ = experiment.settings()
    told = {name.rpartition(".")[2]: value for name, value in settings.items()}
    groups = [run.groups for run in experiment.runs if run.groups is not None]
    rollouts = sum(int(g.rollouts.sum()) for g in groups)
    steps = max(run.steps for run in experiment.runs)
    size = f"{experiment.pool_size:,} in the pool" if experiment.pool_size else ""
    told["pool"] = ", ".join(filter(None, (_text(told.get("pool")), size)))
    return {
        "Started": min((f["started"] for f in known if "started" in f), default=""),
        "Written": datetime.fromtimestamp(latest, UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        "Commit": shared.get("commit", ""),
        "Machine": shared.get("machine", ""),
        "Software": shared.get("software", ""),
        **{title: _text(told.get(name)) for name, title in TOLD.items()},
        "Training": f"{steps:,} steps" + (f", {rollouts:,} rollouts" if rollouts else ""),
    }


def _arms(experiment: Experiment) -> list[str]:
    """What sets the arms apart."""
    if len(experiment.arms) == 1:
        return []
    _, own = experiment.settings()
    alike: dict[tuple[str, str], list[str]] = {}
    for arm, runs in experiment.arms.items():
        seeds = f"{len(runs)} seed{'s' * (len(runs) > 1)}"
        options = ", ".join(f"{n} {v}" for n, v in own[arm].items() if v is not None)
        alike.setdefault((seeds, options), []).append(arm)
    return [
        f"{', '.join(arms)}, {seeds}{' each' * (len(arms) > 1)}{': ' * bool(options)}{options}"
        for (seeds, options), arms in alike.items()
    ]


def _text(value: Any) -> str:
    return "" if value is None else str(value)
