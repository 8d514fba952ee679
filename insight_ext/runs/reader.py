"""Reading run folders: what was logged, exactly as far as it got."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from insight_ext.errors import ArgumentError
from insight_ext.report.tables import (
    Beliefs,
    Groups,
    Series,
    read_beliefs,
    read_groups,
    read_metrics,
)

BASELINES = ("random", "uniform")
METRICS_FILE = "metrics.csv"
STEP_TIME = "step_ms"
EXPERIMENT_FILE = "experiment.json"
RUN_NAME = re.compile(r"(?P<arm>.+)-seed(?P<seed>\d+)")


@dataclass(frozen=True)
class Run:
    """One training run; `groups` and `beliefs` are None where the folder has none."""

    arm: str
    seed: int
    metrics: dict[str, Series]
    groups: Groups | None
    beliefs: Beliefs | None

    @property
    def name(self) -> str:
        return f"{self.arm}-seed{self.seed}"

    @property
    def steps(self) -> int:
        """Steps done, as far as anything was logged; steps are numbered from 0."""
        ends = [int(series.steps[-1]) for series in self.metrics.values()]
        return max(ends + ([int(self.groups.step[-1])] if self.groups else [])) + 1


@dataclass(frozen=True)
class Experiment:
    """The runs of a folder by arm, baselines first, and what had to be left out, in words."""

    folder: Path
    arms: dict[str, tuple[Run, ...]]
    settings: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def runs(self) -> tuple[Run, ...]:
        return tuple(run for runs in self.arms.values() for run in runs)

    @property
    def baseline(self) -> str | None:
        """The arm that the others are compared with."""
        return next((arm for arm in self.arms if arm in BASELINES), None)

    def pairs(self, arm: str) -> list[tuple[Run, Run]]:
        """The arm's runs beside the baseline's of the same seed."""
        if self.baseline is None:
            return []
        baseline = {run.seed: run for run in self.arms[self.baseline]}
        return [(run, baseline[run.seed]) for run in self.arms[arm] if run.seed in baseline]

    @property
    def pool_size(self) -> int | None:
        """Prompts in the pool; None if no run wrote its beliefs, or the runs' pools differ."""
        sizes = {run.beliefs.pool_size for run in self.runs if run.beliefs is not None}
        return sizes.pop() if len(sizes) == 1 else None

    def options(self, arm: str) -> dict[str, Any]:
        """What experiment.json says about an arm, nested options beside the others."""
        arms = self.settings.get("arms")
        options = arms.get(arm) if isinstance(arms, dict) else None
        flat: dict[str, Any] = {}
        for name, value in (options or {}).items():
            flat |= value if isinstance(value, dict) else {name: value}
        return flat


def read_experiment(folder: Path) -> Experiment:
    """Read an experiment's folder (one folder `ARM-seedS` per run) or a single run's folder.

    `notes` names runs without a single logged value, which are left out, runs that ended before
    the others, and runs whose seed the baseline lacks.

    Raises:
        ArgumentError: no such folder, no run in it, or a metrics.csv that is not one.
    """
    if not folder.is_dir():
        raise ArgumentError(f"report: expected a run's folder, got {folder}, which is none")
    single = (folder / METRICS_FILE).exists()
    places = [folder] if single else sorted(p.parent for p in folder.glob(f"*/{METRICS_FILE}"))
    if not places:
        raise ArgumentError(
            f"report: expected {METRICS_FILE} in {folder} or in folders ARM-seedS inside it, "
            "found none; give the folder that a training run wrote. The file is written by "
            "MetricsFile of lightning_integration.metrics_file, which python -m "
            "lightning_integration uses, or by Lightning's CSVLogger, as a logger of the Trainer; "
            "TensorBoard's files are not read"
        )
    runs, notes = [], []
    for place in places:
        run = read_run(place)
        if run is None:
            notes.append(f"{place.name} is left out: nothing was logged yet.")
        else:
            runs.append(run)
    if not runs:
        raise ArgumentError(f"report: nothing was logged yet in {folder}; train for a few steps")
    settings = _read_settings(folder / EXPERIMENT_FILE)
    arms = _by_arm(runs, settings)
    return Experiment(
        folder, arms, settings, (*notes, *_unfinished(runs), *_untimed(runs), *_unpaired(arms))
    )


def read_run(folder: Path) -> Run | None:
    """Read one run; None if nothing was logged yet."""
    metrics = read_metrics(folder / METRICS_FILE)
    groups = read_groups(folder / "groups.parquet")
    beliefs = read_beliefs(folder / "beliefs.parquet")
    if not metrics and groups is None:
        return None
    match = RUN_NAME.fullmatch(folder.resolve().name)
    arm, seed = (match["arm"], int(match["seed"])) if match else (folder.resolve().name, 0)
    return Run(arm, seed, metrics, groups, beliefs)


def _read_settings(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ArgumentError(f"{path}: expected JSON, got: {error}") from error
    if not isinstance(settings, dict):
        raise ArgumentError(f"{path}: expected a JSON object, got {type(settings).__name__}")
    return settings


def _by_arm(runs: list[Run], settings: dict[str, Any]) -> dict[str, tuple[Run, ...]]:
    named = list(settings.get("arms", ()))

    def place(arm: str) -> tuple[bool, int, str]:
        return arm not in BASELINES, named.index(arm) if arm in named else len(named), arm

    arms = sorted({run.arm for run in runs}, key=place)
    by_seed = sorted(runs, key=lambda run: run.seed)
    return {arm: tuple(run for run in by_seed if run.arm == arm) for arm in arms}


def _unpaired(arms: dict[str, tuple[Run, ...]]) -> list[str]:
    baseline = next((arm for arm in arms if arm in BASELINES), None)
    if baseline is None:
        return []
    seeds = {run.seed for run in arms[baseline]}
    return [
        f"{run.name} is compared with nothing: {baseline} has no run of seed {run.seed}."
        for runs in arms.values()
        for run in runs
        if run.seed not in seeds
    ]


def _unfinished(runs: list[Run]) -> list[str]:
    longest = max(run.steps for run in runs)
    return [
        f"{run.name} has {run.steps:,} of {longest:,} steps." for run in runs if run.steps < longest
    ]


def _untimed(runs: list[Run]) -> list[str]:
    return [
        f"{run.name} logged no times ({STEP_TIME}), so nothing is shown against seconds: they are "
        "logged at every log_every_n_steps-th step (10 unless set otherwise, 50 with Lightning's "
        f"own Trainer), and the run has {run.steps:,} steps. Set trainer.log_every_n_steps lower, "
        "or train longer."
        for run in runs
        if STEP_TIME not in run.metrics
    ]
