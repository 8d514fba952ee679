"""Small run folders in the layout of the real ones, from a simulated learner."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml

from insight_ext.beliefs.beta import BetaPosteriors

POOL = 400
PER_STEP = 8
ROLLOUTS = 8


def logistic(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


def pool_difficulty(random: np.random.Generator) -> np.ndarray:
    """Nearly half easy, nearly half hopeless, the rest in between."""
    centre = random.choice([-7.0, 0.5, 8.0], POOL, p=[0.45, 0.1, 0.45])
    return centre + random.normal(0.0, 1.0, POOL)


def held_out(skill: float, difficulty: np.ndarray) -> dict[str, float]:
    """Accuracy in all and per kind."""
    right = logistic(skill - difficulty)
    kinds = {"easy": difficulty < -3, "middle": abs(difficulty) <= 3, "hopeless": difficulty > 3}
    per_kind = {f"val_accuracy/{kind}": right[mask].mean() for kind, mask in kinds.items()}
    return {"val_accuracy": right.mean(), **per_kind}


def write_run(folder: Path, arm: str, seed: int, steps: int = 60, decay: float = 1.0) -> None:
    """A learner whose skill grows with its mixed groups; random draws, the others draw mixed."""
    random = np.random.default_rng((seed, len(arm)))
    difficulty = pool_difficulty(np.random.default_rng(seed))
    beliefs = BetaPosteriors(POOL, decay=decay)
    skill = -2.0
    columns: dict[str, list] = {
        name: [] for name in ("id", "index", "step", "successes", "rollouts", "predicted")
    }
    rows, snapshots, seconds = [], [], 0.0
    for step in range(steps):
        if step % 10 == 0:
            rows.append({"step": step, **held_out(skill, difficulty)})
        if arm == "random":
            index = random.choice(POOL, PER_STEP, replace=False)
        else:
            draw = random.beta(beliefs.alpha.numpy(), beliefs.beta.numpy())
            index = np.argsort(np.abs(draw - 0.5))[:PER_STEP]
        chance = logistic(skill - difficulty[index])
        successes = random.binomial(ROLLOUTS, chance)
        columns["id"] += [f"p{i}" for i in index]
        columns["index"] += index.tolist()
        columns["step"] += [step] * PER_STEP
        columns["successes"] += successes.tolist()
        columns["rollouts"] += [ROLLOUTS] * PER_STEP
        columns["predicted"] += beliefs.mean[torch.from_numpy(index)].tolist()
        beliefs.observe(index, successes, ROLLOUTS)
        mixed = (successes > 0) & (successes < ROLLOUTS)
        skill += 0.16 * 4 * float(np.mean(chance * (1 - chance)))
        step_ms = 40 + 8 * random.random() + 10 * mixed.mean()
        seconds += step_ms / 1000
        if step % 5 == 0:
            means, _ = np.histogram(beliefs.mean[beliefs.visits > 0].numpy(), 20, (0.0, 1.0))
            unseen = POOL - int(means.sum())
            snapshots.append({"step": step, "unseen": unseen, "means": means.tolist()})
        rows.append(
            {
                "step": step,
                "frac_mixed": mixed.mean(),
                "step_ms": step_ms,
                "train_seconds": seconds,
                "selection_ms": 0.02 + 0.01 * random.random(),
                "observation_ms": 0.05 + 0.02 * random.random(),
            }
        )
    rows.append({"step": steps - 1, **held_out(skill, difficulty)})
    folder.mkdir(parents=True)
    settings = {"model": {"model": "tiny"}, "data": {"selector": arm, "seed": seed}}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    write_metrics(folder, rows)
    write_parts(folder / "groups.parquet", pa.table(columns))
    write_parts(folder / "beliefs.parquet", pa.Table.from_pylist(snapshots))


def write_parts(folder: Path, table: pa.Table) -> None:
    """A data set of two part files, named by their first steps."""
    folder.mkdir()
    half = len(table) // 2
    for part in filter(len, (table.slice(0, half), table.slice(half))):
        pq.write_table(part, folder / f"part-{part['step'][0].as_py():010d}.parquet")


def write_metrics(folder: Path, rows: Sequence[dict[str, float]]) -> None:
    """Sparse rows, as Lightning's CSVLogger writes them."""
    names = ["epoch", "step", *sorted({name for row in rows for name in row} - {"step"})]
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows({"epoch": 0, **row} for row in rows)


@pytest.fixture
def experiment_folder(tmp_path: Path) -> Callable[..., Path]:
    """Builds an experiment's folder from arms, seeds and steps."""

    def build(arms: Sequence[str] = ("random", "insight"), seeds: int = 2, steps: int = 60) -> Path:
        folder = tmp_path / "runs" / "synthetic"
        for arm in arms:
            for seed in range(seeds):
                write_run(folder / f"{arm}-seed{seed}", arm, seed, steps)
        return folder

    return build
