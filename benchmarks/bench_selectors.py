"""A selection step of every selector on a pool of a million."""

from __future__ import annotations

import torch

from benchmarks.bench_select import THREADS, figure
from benchmarks.timing import Figure, seconds
from insight_ext.kernel.dispatch import set_num_threads
from insight_ext.selectors import SELECTORS, make_selector

# What the predictors are given: an embedding, or a handful of numbers about a prompt.
FEATURES = {"gps": 64, "insight_prior": 8}


def steps(n: int, k: int) -> list[Figure]:
    """`select` of k prompts and `observe` of 8 results each, after the first five steps."""
    torch.set_num_threads(THREADS)
    set_num_threads(THREADS)
    return [_steps(name, n, k) for name in SELECTORS]


def _steps(name: str, n: int, k: int) -> Figure:
    generator = torch.Generator().manual_seed(0)
    options = {}
    if name in FEATURES:
        options["features"] = torch.randn(n, FEATURES[name], generator=generator)
    selector = make_selector(name, n, **options)

    def step() -> None:
        chosen = selector.select(k)
        selector.observe(chosen, torch.randint(0, 9, (k,), generator=generator), 8)

    for _ in range(5):
        step()
    what = f"{name}, {FEATURES[name]} features" if name in FEATURES else name
    times = seconds(step, budget=1.0)
    sizes = torch.empty(n)
    return figure("selectors", what, sizes, k, "after 5 steps", THREADS, times, None)
