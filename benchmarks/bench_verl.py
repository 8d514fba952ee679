"""`make bench-verl`: what prompt selection does and costs in verl's own loop.

Appends a line to results/verl.jsonl: the lag of each mode, what of a killed run comes back, the
share of mixed groups against verl's own order, what verl's filter costs, the time of a choice.
"""

from __future__ import annotations

import json
import signal
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any

import torch
from verl.trainer.ppo.v1 import get_trainer_cls

from benchmarks.timing import medians, record_parts, timed
from benchmarks.verl_run import BATCH, ROLLOUTS, config_of, run_apart, selecting, train
from insight_ext.adapters.verl import COLUMN

SEEDS = 5
LONG = 1_000_000
DRAWS, WARM_UP = 50, 5
FILTER = "algorithm.filter_groups.enable=True"


def run(folder: Path, *overrides: str, selector: str = "insight", **more: Any) -> list[Any]:
    """A line for each step of a run in this process."""
    folder.mkdir(parents=True, exist_ok=True)
    train(config_of(folder, *selecting(selector), *overrides, **more), folder / "trace.jsonl")
    return [json.loads(line) for line in (folder / "trace.jsonl").read_text().splitlines()]


def lags(folder: Path, mode: str) -> list[int]:
    """Which lags occurred in 12 steps, in groups of 8 a step."""
    lines = run(folder / f"lags-{mode}", "trainer.total_training_steps=12", mode=mode)
    return sorted({lag for line in lines for lag in line["lags"]})


def resumed(folder: Path, mode: str) -> dict[str, int]:
    """Of the 20 steps after the checkpoint of a run killed by SIGKILL, how many are as without."""
    saving = ("trainer.save_freq=20", "trainer.total_training_steps=40")
    whole = run(folder / f"whole-{mode}", *saving, mode=mode)
    cut = folder / f"cut-{mode}"
    ended, said, _ = run_apart(cut, "--mode", mode, "--kill-at", "27", "--save-steps", "20")
    if ended != -signal.SIGKILL:
        raise RuntimeError(f"the run was to be killed: {said}")
    (cut / "trace.jsonl").unlink()
    later = run(cut, *saving, mode=mode)
    return {
        what: sum(mine[what] == other[what] for mine, other in zip(later, whole[20:], strict=True))
        for what in ("chosen", "beliefs", "mixed")
    }


def mixed(folder: Path, selector: str) -> dict[str, list[float]]:
    """The share of groups with successes and failures, by seed; verl's own order is shuffled."""
    shares = []
    for seed in range(SEEDS):
        settings = (f"data.seed={seed}", "trainer.total_training_steps=60")
        lines = run(folder / f"{selector}-{seed}", *settings, selector=selector)
        shares.append([line["mixed"] for line in lines])
    return {
        "steps 1 to 60": [round(mean(each), 3) for each in shares],
        "steps 25 to 60": [round(mean(each[24:]), 3) for each in shares],
    }


def filtered(folder: Path, selector: str) -> list[float]:
    """With verl's filter on: answers per answer trained on, in 60 steps, by seed."""
    costs = []
    for seed in range(SEEDS):
        settings = (f"data.seed={seed}", "trainer.total_training_steps=60", FILTER)
        lines = run(folder / f"filter-{selector}-{seed}", *settings, selector=selector)
        costs.append(sum(line["groups"] for line in lines) / (60 * BATCH))
    return [round(cost, 2) for cost in costs]


def choice(folder: Path, selector: str) -> dict[str, float]:
    """At a million prompts: seconds to make the data set; milliseconds of a batch of 256.

    `deal_cpu_ms` is the choice and `draw_cpu_ms` that and verl's rows, in time of one core, which
    what else the machine does leaves as it is; `draw_ms` is the draw by the clock.
    """
    settings = (*selecting(selector), "data.train_batch_size=256", "data.seed=0")
    trainer = get_trainer_cls("sync")(config_of(folder, *settings, prompts=LONG))
    trainer.tokenizer = trainer.processor = None
    start = perf_counter()
    trainer._init_dataloader()
    made = round(perf_counter() - start, 1)
    batches = iter(trainer.train_dataloader)
    times: dict[str, list[float]] = {}
    loop = getattr(trainer.train_dataset, "loop", None)
    if loop is not None:
        deal = loop.deal

        def timed_deal(k: int, **more: Any) -> Any:
            with timed(times, "deal_cpu_ms", process_time):
                return deal(k, **more)

        loop.deal = timed_deal
    generator = torch.Generator().manual_seed(0)
    for _ in range(WARM_UP + DRAWS):
        with timed(times, "draw_ms"), timed(times, "draw_cpu_ms", process_time):
            rows = next(batches)
        if loop is not None:
            for group in rows[COLUMN]:
                loop.report(group, torch.rand(ROLLOUTS, generator=generator).round())
            loop.end_step()
    if loop is not None:
        loop.close()
    return {"data_set_seconds": made, **medians(times, WARM_UP)}


def main() -> None:
    torch.set_num_threads(1)
    modes = ("sync", "colocate_async")
    with TemporaryDirectory() as place:
        folder = Path(place)
        parts = {
            "lags in groups": lambda: {mode: lags(folder, mode) for mode in modes},
            "equal of 20 after a kill": lambda: {mode: resumed(folder, mode) for mode in modes},
            "mixed": lambda: {name: mixed(folder, name) for name in ("none", "uniform", "insight")},
            "answers per answer trained on, with verl's filter": lambda: {
                name: filtered(folder, name) for name in ("none", "insight")
            },
            "choice of 256 at 1,000,000 prompts": lambda: {
                name: choice(folder / "long", name) for name in ("none", "insight", "mopps")
            },
        }
        record_parts("verl.jsonl", ("verl", "TransferQueue", "ray", "torch"), parts)


if __name__ == "__main__":
    main()
