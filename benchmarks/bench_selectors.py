"""What a `SelectionLoop` deals from a pool of a million, by every strategy: at once, and singly."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter
from typing import Any

import torch

from benchmarks.bench_select import THREADS, figure
from benchmarks.timing import Figure
from insight_ext import Prompt, PromptPool, SelectionLoop
from insight_ext.kernel.dispatch import set_num_threads
from insight_ext.selectors import SELECTORS

WARM_UP = 5
IN_FLIGHT = 2_048
ROLLOUTS = 8


def deals(n: int, k: int) -> Iterator[Figure]:
    """What a prompt costs in the steps after the first five, with 2,048 prompts in flight.

    `NAME, deal`: the one `deal` of k prompts of a step. `NAME, deal singly`: the mean of the k
    calls `deal(1)` of a step, the first of which may rank the pool for the others.
    """
    torch.set_num_threads(THREADS)
    set_num_threads(THREADS)
    generator = torch.Generator().manual_seed(0)
    kinds = torch.nn.functional.one_hot(torch.randint(0, 16, (n,), generator=generator), 16)
    embedding = torch.randn(n, 64, generator=generator)
    arms: dict[str, tuple[str, dict[str, Any]]] = {
        **{name: (name, {}) for name in SELECTORS if name != "gps"},
        "insight, 16 kinds": ("insight", {"features": kinds.float()}),
        "gps, 64 features": ("gps", {"features": embedding}),
    }
    pool = PromptPool(Prompt(str(i), "", "") for i in range(n))
    for what, (name, options) in arms.items():
        for called, size in ((f"{what}, deal", k), (f"{what}, deal singly", 1)):
            loop = SelectionLoop(
                pool, name, rollouts=ROLLOUTS, selector_options=options, max_staleness=1_000_000
            )
            loop.deal(IN_FLIGHT)
            times = _times(loop, k, size, generator)
            yield figure(
                "deal", called, torch.empty(n), size, "after 5 steps", THREADS, times, None
            )


def _times(loop: SelectionLoop, k: int, size: int, generator: torch.Generator) -> list[float]:
    """Seconds of a call, of each step the mean."""
    times: list[float] = []
    end = perf_counter() + 3.0
    while len(times) < WARM_UP + 5 or (perf_counter() < end and len(times) < 100):
        loop.end_step()
        start = perf_counter()
        dealt = [each for _ in range(k // size) for each in loop.deal(size)]
        times.append((perf_counter() - start) * size / k)
        rewards = torch.randint(0, 2, (k, ROLLOUTS), generator=generator).tolist()
        for each, row in zip(dealt, rewards, strict=True):
            loop.report(each.group, row)
    return times[WARM_UP:]


if __name__ == "__main__":
    for each in deals(1_000_000, 256):
        print(f"{each.what:40} k {each.k:4d} {each.median_seconds * 1e6:10.1f} us", flush=True)
