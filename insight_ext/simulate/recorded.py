"""Recorded runs of a real model, as calibration needs them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from insight_ext.errors import ArgumentError
from insight_ext.report.experiment import read_experiment
from insight_ext.runs.layout import Metric
from insight_ext.runs.reader import Run
from insight_ext.visible_text import reason

Integers = NDArray[np.int64]

FEWEST_RUNS = 3
FEWEST_STEPS = 30


@dataclass(frozen=True)
class RecordedRun:
    """One run: its groups, and its evaluations, a row for each kind of each.

    Attributes:
        seed, arm: of the run.
        steps: how many it has.
        prompts_per_step: groups of a step.
        prompt, kind, step, successes, rollouts: of each group, in the order of the steps.
        eval_step: updates done before the evaluation. eval_kind, eval_right, eval_count: the kind,
            and how many of its held-out prompts were solved, of how many.
    """

    arm: str
    seed: int
    steps: int
    prompts_per_step: int
    prompt: Integers
    kind: Integers
    step: Integers
    successes: Integers
    rollouts: Integers
    eval_step: Integers
    eval_kind: Integers
    eval_right: Integers
    eval_count: Integers


@dataclass(frozen=True)
class Recording:
    """The runs that are calibrated together.

    Attributes:
        kinds, counts, held_out: names of the kinds, prompts of each in the pool and held out.
    """

    kinds: tuple[str, ...]
    counts: tuple[int, ...]
    held_out: tuple[int, ...]
    runs: tuple[RecordedRun, ...]


def read_recording(folders: Sequence[Path], arms: Sequence[str] | None = None) -> Recording:
    """Read experiments' folders that share their task.

    A prompt's kind is its id up to the first slash; the kinds are those of experiment.json.

    Args:
        folders: each as `lightning_integration.demo.experiment` writes it.
        arms: those to read; None: all.

    Raises:
        ArgumentError: fewer than 3 runs, fewer than 30 steps in one of them, no groups, no
            held-out accuracy by kind, a kind with one prompt, or tasks that differ.
    """
    pools = [_counts(folder, "pool") for folder in folders]
    held = [_counts(folder, "held_out") for folder in folders]
    for folder, *others in zip(folders, pools, held, strict=True):
        if others != [pools[0], held[0]]:
            raise ArgumentError(
                f"{folder}: its pool or held_out is not that of {folders[0]}; calibrate each task "
                "by itself"
            )
    for kind, count in pools[0].items():
        if count < 2:
            raise ArgumentError(
                f"{folders[0]}: kind {kind!r} has {count} prompt, and the spread "
                "within a kind needs two or more; leave it out of the pool, or join it to another"
            )
    kinds = list(pools[0])
    runs = [
        _recorded(folder, run, kinds, held[0])
        for folder in folders
        for run in read_experiment(folder).runs
        if arms is None or run.arm in arms
    ]
    if len(runs) < FEWEST_RUNS:
        raise ArgumentError(
            f"{', '.join(map(str, folders))}: expected {FEWEST_RUNS} runs or more, since the "
            f"intervals come from leaving each out in turn, got {len(runs)}"
        )
    counts = tuple(pools[0].values())
    return Recording(tuple(kinds), counts, tuple(held[0].get(k, 0) for k in kinds), tuple(runs))


def recorded_settings(folder: Path) -> dict[str, Any]:
    """What experiment.json says.

    Raises:
        ArgumentError: there is none, or it is not one.
    """
    path = folder / "experiment.json"
    try:
        settings = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ArgumentError(
            f"{path}: expected an experiment's settings, got: {reason(error)}"
        ) from error
    if not isinstance(settings, dict):
        raise ArgumentError(f"{path}: expected an experiment's settings, got {settings!r:.60}")
    return settings


def _counts(folder: Path, name: str) -> Mapping[str, int]:
    counts = recorded_settings(folder).get(name)
    if not isinstance(counts, dict) or not counts:
        raise ArgumentError(
            f"{folder}/experiment.json: expected {name!r} with the number of prompts of each kind, "
            f"got {counts!r:.60}"
        )
    return counts


def _recorded(
    experiment: Path, run: Run, kinds: Sequence[str], held: Mapping[str, int]
) -> RecordedRun:
    folder = experiment / run.name
    if run.groups is None:
        raise ArgumentError(
            f"{folder}: expected groups.parquet, found none; the run has to log its groups"
        )
    if run.steps < FEWEST_STEPS:
        raise ArgumentError(
            f"{folder}: {run.steps} steps, and a fit needs {FEWEST_STEPS} or more; train longer"
        )
    columns = {kind: run.metrics.get(f"{Metric.ACCURACY}/{kind}") for kind in held}
    missing = [f"{Metric.ACCURACY}/{kind}" for kind, series in columns.items() if series is None]
    if missing:
        raise ArgumentError(
            f"{folder}/metrics.csv: expected the columns {', '.join(missing)}, found none of "
            "them; evaluate on held-out prompts that name their kind"
        )
    groups, kind_of = run.groups, _kinds_of(folder, run.groups.ids, kinds)
    rows = [
        (step + 1, kinds.index(kind), round(value * held[kind]), held[kind])
        for kind, series in columns.items()
        if series is not None
        for step, value in zip(series.steps, series.values, strict=True)
    ]
    evaluated = np.array(rows, dtype=np.int64).T
    return RecordedRun(
        run.arm,
        run.seed,
        int(groups.step[-1]) + 1,
        int(np.bincount(groups.step).max()),
        groups.prompt,
        kind_of[groups.prompt],
        groups.step,
        groups.successes,
        groups.rollouts,
        *evaluated,
    )


def _kinds_of(folder: Path, ids: Sequence[str], kinds: Sequence[str]) -> Integers:
    """The place among the kinds of each prompt's kind."""
    own = [name.partition("/")[0] for name in ids]
    for name, kind in zip(ids, own, strict=True):
        if kind not in kinds:
            raise ArgumentError(
                f"{folder}/groups.parquet: prompt {name!r} is of none of the kinds "
                f"{', '.join(kinds)}; expected ids such as '{kinds[0]}/0'"
            )
    return np.array([kinds.index(kind) for kind in own])
