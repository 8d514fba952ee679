"""Reading run folders: what was logged, exactly as far as it got."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads
from numpy.typing import NDArray

from insight_ext.errors import ArgumentError
from insight_ext.report.measures import Floats

BASELINES = ("random", "uniform")
METRICS_FILE = "metrics.csv"
GROUPS_FOLDER = "groups.parquet"
EXPERIMENT_FILE = "experiment.json"
RUN_NAME = re.compile(r"(?P<arm>.+)-seed(?P<seed>\d+)")


@dataclass(frozen=True)
class Series:
    """One logged metric: the steps at which it was logged, increasing, and its values."""

    steps: NDArray[np.int64]
    values: Floats


@dataclass(frozen=True)
class Groups:
    """Every rolled-out group in the order of the visits; `predicted` is NaN where unknown."""

    index: NDArray[np.int64]
    step: NDArray[np.int64]
    successes: NDArray[np.int64]
    rollouts: NDArray[np.int64]
    predicted: Floats

    def __len__(self) -> int:
        return len(self.index)

    def until(self, step: int) -> Groups:
        """The groups of the steps up to and including `step`."""
        kept = self.step <= step
        return Groups(*(getattr(self, name)[kept] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Run:
    """One training run; `groups` is None where the folder has none."""

    arm: str
    seed: int
    metrics: dict[str, Series]
    groups: Groups | None

    @property
    def name(self) -> str:
        return f"{self.arm}-seed{self.seed}"

    @property
    def last_step(self) -> int:
        """The last step of which anything was logged."""
        ends = [int(series.steps[-1]) for series in self.metrics.values()]
        return max(ends + ([int(self.groups.step[-1])] if self.groups else []))


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


def read_experiment(folder: Path) -> Experiment:
    """Read an experiment's folder (one folder `ARM-seedS` per run) or a single run's folder.

    Runs without a single logged value are left out and named in `notes`, and so are runs that
    ended before the others.

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
            "found none; give the folder that a training run wrote"
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
    return Experiment(folder, arms, settings, (*notes, *_unfinished(runs)))


def read_run(folder: Path) -> Run | None:
    """Read one run; None if nothing was logged yet."""
    metrics = read_metrics(folder / METRICS_FILE)
    groups = read_groups(folder / GROUPS_FOLDER)
    if not metrics and groups is None:
        return None
    match = RUN_NAME.fullmatch(folder.resolve().name)
    arm, seed = (match["arm"], int(match["seed"])) if match else (folder.resolve().name, 0)
    return Run(arm, seed, metrics, groups)


def read_metrics(path: Path) -> dict[str, Series]:
    """Each column of a CSVLogger file without its gaps; of a step logged twice the last value."""
    columns: dict[str, dict[int, float]] = {}
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames and "step" not in reader.fieldnames:
            raise ArgumentError(
                f"{path}: expected a column named step, got {', '.join(reader.fieldnames)}"
            )
        for row in reader:
            for name, text in row.items():
                if name and name not in ("step", "epoch") and text:
                    try:
                        columns.setdefault(name, {})[int(row["step"])] = float(text)
                    except (TypeError, ValueError):
                        raise ArgumentError(
                            f"{path}:{reader.line_num}: expected a number in column {name} and an "
                            f"integer step, got {text!r} and {row['step']!r}"
                        ) from None
    return {
        name: Series(np.array(sorted(values)), np.array([values[s] for s in sorted(values)]))
        for name, values in columns.items()
    }


def read_groups(folder: Path) -> Groups | None:
    """The part files of a groups data set, ordered by step; None if there is none or it is empty.

    Raises:
        ArgumentError: a part file cannot be read, or a column is missing.
    """
    if not folder.is_dir() or not any(folder.glob("*.parquet")):
        return None
    names = ["index", "step", "successes", "rollouts", "predicted"]
    try:
        files = sorted(str(path) for path in folder.glob("*.parquet"))
        table = pads.dataset(files, format="parquet").to_table(columns=names)
    except (pa.ArrowInvalid, KeyError) as error:
        raise ArgumentError(
            f"{folder}: expected Parquet files with the columns {', '.join(names)}, got: {error}"
        ) from error
    if table.num_rows == 0:
        return None
    index, step, successes, rollouts = (table[name].to_numpy() for name in names[:4])
    predicted = table["predicted"].cast(pa.float64()).fill_null(float("nan")).to_numpy()
    order = np.argsort(step, kind="stable")
    columns = (np.asarray(c, dtype=np.int64)[order] for c in (index, step, successes, rollouts))
    return Groups(*columns, predicted[order])


def _read_settings(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        settings = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ArgumentError(f"{path}: expected JSON, got: {error}") from error
    return dict(settings)


def _by_arm(runs: list[Run], settings: dict[str, Any]) -> dict[str, tuple[Run, ...]]:
    named = list(settings.get("arms", ()))

    def place(arm: str) -> tuple[bool, int, str]:
        return arm not in BASELINES, named.index(arm) if arm in named else len(named), arm

    arms = sorted({run.arm for run in runs}, key=place)
    by_seed = sorted(runs, key=lambda run: run.seed)
    return {arm: tuple(run for run in by_seed if run.arm == arm) for arm in arms}


def _unfinished(runs: list[Run]) -> list[str]:
    longest = max(run.last_step for run in runs)
    return [
        f"{run.name} ended at step {run.last_step:,} of {longest:,}."
        for run in runs
        if run.last_step < longest
    ]
