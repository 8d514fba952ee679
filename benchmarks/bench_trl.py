"""`make bench-trl`: what prompt selection does and costs in the real TRL.

Appends a line to results/trl.jsonl: the lag of each setting, what of a killed run comes back, the
share of mixed groups against TRL's own order, and the time of a generation's choice.
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any

import torch
from datasets import Dataset

from benchmarks.timing import medians, record_parts, timed
from benchmarks.trl_run import make_trainer, run_apart
from insight_ext.adapters.trl import select_prompts
from insight_ext.adapters.trl_checks import COLUMN

SEEDS = 5
LONG = 1_000_000
DRAWS, WARM_UP = 50, 5
DEFAULT = 8  # rows of a generation in TRL's default settings: one prompt
SETTINGS: dict[str, dict[str, int]] = {
    "TRL's default relation": {},
    "gradient_accumulation_steps 4": {"gradient_accumulation_steps": 4},
    "steps_per_generation 4": {"steps_per_generation": 4},
    "num_iterations 2": {"num_iterations": 2},
    "gradient_accumulation_steps 4, steps_per_generation 1": {
        "gradient_accumulation_steps": 4,
        "steps_per_generation": 1,
    },
}


def trace(folder: Path, *options: str, processes: int = 1) -> list[list[dict[str, Any]]]:
    """What a run that has to succeed leaves, a list of steps for each process."""
    ended, traces = run_apart(folder, *options, processes=processes)
    if ended.returncode:
        raise RuntimeError(ended.stderr)
    return traces


def lags(folder: Path) -> dict[str, list[int]]:
    """By setting, which lags occurred in 12 steps, in generations."""
    found = {}
    for at, (name, settings) in enumerate(SETTINGS.items()):
        settings = {"per_device_train_batch_size": 16, **settings}
        (steps,) = trace(folder / f"lags-{at}", "--steps", "12", "--settings", json.dumps(settings))
        found[name] = sorted({lag for step in steps for lag in step["lags"]})
    return found


def resumed(folder: Path, processes: int) -> dict[str, int]:
    """Of the 20 steps after the checkpoint of a run killed by SIGKILL, how many are as without."""
    options = ("--steps", "40", "--save-steps", "20")
    whole = trace(folder / f"whole-{processes}", *options, processes=processes)
    cut = folder / f"cut-{processes}"
    killed, _ = run_apart(cut, *options, "--kill-at", "27", processes=processes)
    if not killed.returncode:
        raise RuntimeError("the run was to be killed, and ended by itself")
    later = trace(cut, *options, "--resume", processes=processes)
    return {
        what: sum(
            all(
                mine[at][what] == all_[20 + at][what]
                for mine, all_ in zip(later, whole, strict=True)
            )
            for at in range(20)
        )
        for what in ("chosen", "beliefs", "reward", "loss")
    }


def mixed(folder: Path, selector: str) -> dict[str, list[float]]:
    """The share of groups with successes and failures, by seed."""
    shares = []
    for seed in range(SEEDS):
        (steps,) = trace(
            folder / f"{selector}-{seed}",
            *("--steps", "60", "--seed", str(seed), "--selector", selector),
        )
        shares.append([step["mixed"] for step in steps])
    return {
        "steps 1 to 60": [round(mean(each), 3) for each in shares],
        "steps 25 to 60": [round(mean(each[24:]), 3) for each in shares],
    }


def choice(folder: Path, selector: str, rows: int) -> dict[str, float]:
    """At a million prompts: seconds to attach; milliseconds of a generation of so many rows.

    `deal_cpu_ms` is the choice and `draw_cpu_ms` that and the rows that TRL gets, in time of one
    core, which what else the machine does leaves as it is; `draw_ms` is the draw by the clock, and
    `end_step_ms` the beliefs' move. "none" is TRL's own loader, without selection.
    """
    dataset = Dataset.from_dict(
        {"prompt": [f"{at}=" for at in range(LONG)], "chance": [0.5] * LONG}
    )
    trainer = make_trainer(folder, dataset=dataset, per_device_train_batch_size=rows)
    times: dict[str, list[float]] = {}
    loop, attached = None, {}
    if selector != "none":
        start = perf_counter()
        loop = select_prompts(trainer, selector, folder=None)
        attached = {"attach_seconds": round(perf_counter() - start, 2)}
        deal = loop.deal

        def timed_deal(k: int) -> Any:
            with timed(times, "deal_cpu_ms", process_time):
                return deal(k)

        loop.deal = timed_deal  # type: ignore[method-assign, assignment]
    batches = iter(trainer.get_train_dataloader())
    generator = torch.Generator().manual_seed(0)
    for _ in range(WARM_UP + DRAWS):
        with timed(times, "draw_ms"), timed(times, "draw_cpu_ms", process_time):
            drawn = next(batches)
        if loop is not None:
            for group in dict.fromkeys(row[COLUMN] // 8 for row in drawn):
                loop.report(group, torch.rand(8, generator=generator).round())
            with timed(times, "end_step_ms"):
                loop.end_step()
    return {**attached, **medians(times, WARM_UP)}


def main() -> None:
    torch.set_num_threads(1)
    with TemporaryDirectory() as place:
        folder = Path(place)
        parts = {
            "lags": lambda: lags(folder),
            "equal of 20 after a kill": lambda: {
                f"{count} process{'es' * (count > 1)}": resumed(folder, count) for count in (1, 2)
            },
            "mixed": lambda: {name: mixed(folder, name) for name in ("none", "uniform", "insight")},
            "choice at 1,000,000 prompts": lambda: {
                f"{name}, {rows} rows": choice(folder, name, rows)
                for name in ("none", "insight", "mopps")
                for rows in (DEFAULT, 256 * 8)
            },
        }
        record_parts("trl.jsonl", ("trl", "transformers", "accelerate", "torch"), parts)


if __name__ == "__main__":
    main()
