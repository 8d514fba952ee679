"""`python -m benchmarks.bench_steps`: what the callback costs a step; whether steps grow slower.

A training of next to nothing, so that everything else shows; appends to results/steps.jsonl. Steps
early and late are minutes apart, so they are compared by the processor's time, which other work on
the machine changes little.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import torch

from benchmarks.timing import RESULTS, Figure, record, summary
from insight_ext import GroupResult, Prompt, PromptPool
from insight_ext.kernel.dispatch import set_num_threads
from lightning_integration import PromptDataModule, PromptSelectionCallback
from lightning_integration.metrics_file import MetricsFile
from lightning_integration.trainer import LightningModule, Trainer, will_log

PROMPTS, ROLLOUTS, LOG_EVERY = 64, 8, 10
WINDOW = 1_000  # steps
WINDOWS = {"second": slice(WINDOW, 2 * WINDOW), "last": slice(-WINDOW, None)}
STEP, WORK, SELECT = "step", "step, processor's time", "selection"
QUIET, LOGGED = "hooks", "hooks, step logged"


class Learner(LightningModule):
    """One weight; where results may come late they take up to 3 steps, and some never come."""

    def __init__(self, late: bool) -> None:
        super().__init__()
        self.skill = torch.nn.Parameter(torch.tensor(0.0))
        self.late = late
        self.queue: list[tuple[int, GroupResult]] = []

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        step = batch["step"]
        chance = torch.sigmoid(self.skill + 2 - batch["indices"] / 500)
        draws = torch.rand(PROMPTS, ROLLOUTS, generator=torch.Generator().manual_seed(step))
        rewards = (draws < chance[:, None]).float()
        loss = {"loss": -0.01 * chance.mean()}
        if not self.late:
            return loss | {"rewards": rewards}
        for group, values in zip(batch["groups"].tolist(), rewards.tolist(), strict=True):
            if group % 10:  # the others are dropped
                self.queue.append((step + group % 4, GroupResult(group, values)))
        results = [result for due, result in self.queue if due <= step]
        self.queue = [entry for entry in self.queue if entry[0] > step]
        return loss | {"results": results}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


class TimedCallback(PromptSelectionCallback):
    """Keeps the times of its hooks, of the selections, and of whole steps, in seconds."""

    def __init__(self) -> None:
        super().__init__()
        names = (STEP, WORK, SELECT, QUIET, LOGGED)
        self.times: dict[str, list[float]] = {name: [] for name in names}
        self._begun, self._work, self._hook = perf_counter(), process_time(), 0.0

    def on_train_start(self, *arguments: Any) -> None:
        super().on_train_start(*arguments)
        loop = arguments[0].datamodule.loop
        deal = loop.deal

        def timed(k: int, **options: Any) -> Any:
            start = perf_counter()
            dealt = deal(k, **options)
            self.times[SELECT].append(perf_counter() - start)
            return dealt

        loop.deal = timed

    def on_train_batch_start(self, *arguments: Any) -> None:
        self._hook = _seconds(super().on_train_batch_start, *arguments)

    def on_train_batch_end(self, *arguments: Any) -> None:
        self._hook += _seconds(super().on_train_batch_end, *arguments)
        trainer = arguments[0]
        self.times[LOGGED if will_log(trainer) else QUIET].append(self._hook)
        self.times[STEP].append(perf_counter() - self._begun)
        self.times[WORK].append(process_time() - self._work)
        self._begun, self._work = perf_counter(), process_time()


def _seconds(hook: Callable[..., None], *arguments: Any) -> float:
    start = perf_counter()
    hook(*arguments)
    return perf_counter() - start


def train(n: int, steps: int, max_staleness: int) -> dict[str, list[float]]:
    """The times of a run, in the order of its steps."""
    torch.set_num_threads(1)
    set_num_threads(1)
    pool = PromptPool(Prompt(f"p{i}", f"{i}?", str(i)) for i in range(n))
    data = PromptDataModule(
        pool, prompts_per_step=PROMPTS, steps_per_epoch=500, max_staleness=max_staleness
    )
    timed = TimedCallback()
    with tempfile.TemporaryDirectory() as folder:
        Trainer(
            max_steps=steps,
            max_epochs=-1,
            logger=[MetricsFile(Path(folder))],
            log_every_n_steps=LOG_EVERY,
            callbacks=[timed],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        ).fit(Learner(late=max_staleness > 0), datamodule=data)
    return timed.times


def figures_of(times: dict[str, list[float]], n: int, pool: str) -> list[Figure]:
    """The medians, of whole steps early and late."""
    shown = {
        f"{name}, {which} {WINDOW:,}": times[name][some]
        for name in (STEP, WORK)
        for which, some in WINDOWS.items()
    }
    shown |= {name: times[name] for name in (SELECT, QUIET, LOGGED)}
    return [
        Figure("steps", what, n, PROMPTS, ROLLOUTS, pool, 1, *summary(some), len(some))
        for what, some in shown.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10_000, help="of each training")
    parser.add_argument("--size", type=int, default=3_000, help="prompts of the pool")
    asked = parser.parse_args()
    recorded = []
    print(f"{'results':14} {'what':36} {'median ms':>10} {'spread ms':>10}")
    for pool, staleness in (("with the step", 0), ("up to 4 late", 4)):
        times = train(asked.size, asked.steps, staleness)
        figures = figures_of(times, asked.size, pool)
        for f in figures:
            median, spread = 1e3 * f.median_seconds, 1e3 * f.spread_seconds
            print(f"{pool:14} {f.what:36} {median:10.3f} {spread:10.3f}")
        quiet, logged = (1e3 * figure.median_seconds for figure in figures[-2:])
        late = figures[3].median_seconds / figures[2].median_seconds
        print(f"{pool:14} last {WINDOW:,} steps over second, processor's time: {late:.2f}")
        for every in (10, 50):
            mean = quiet + (logged - quiet) / every
            print(f"{pool:14} hooks, if one step in {every} is logged: {mean:.3f} ms a step")
        recorded += figures
    print(f"recorded in {record(recorded, RESULTS / 'steps.jsonl')}")


if __name__ == "__main__":
    main()
