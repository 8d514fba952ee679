"""A selection step of every selector on a pool of a million: dealt at once, and one by one."""

from __future__ import annotations

from time import perf_counter

import torch
from torch import Tensor

from benchmarks.bench_select import THREADS, figure
from benchmarks.timing import Figure
from insight_ext.kernel.dispatch import set_num_threads
from insight_ext.selectors import SELECTORS, make_selector
from insight_ext.selectors.base import BeliefSelector

# What the predictors are given: an embedding, or a handful of numbers about a prompt.
FEATURES = {"gps": 64}
WARM_UP = 5
IN_FLIGHT = 2_048


def steps(n: int, k: int) -> list[Figure]:
    """The steps of every selector after the first five, with the results of 8 answers each.

    `NAME`: `select` of k prompts and `observe` of their results. `NAME, one by one`: the mean of
    the k calls `select(1)` that a step is dealt by, with 2,048 prompts in flight excluded beside
    those that the step has already.
    """
    torch.set_num_threads(THREADS)
    set_num_threads(THREADS)
    figures: list[Figure] = []
    for name in SELECTORS:
        figures += _steps(name, n, k)
    return figures


def _steps(name: str, n: int, k: int) -> list[Figure]:
    generator = torch.Generator().manual_seed(0)
    options = {}
    if name in FEATURES:
        options["features"] = torch.randn(n, FEATURES[name], generator=generator)
    what = f"{name}, {FEATURES[name]} features" if name in FEATURES else name
    figures = []
    for kind, size in ((what, k), (f"{what}, one by one", 1)):
        selector = make_selector(name, n, **options)
        assert isinstance(selector, BeliefSelector)
        in_flight = torch.randperm(n, generator=generator)[:IN_FLIGHT]
        times: list[float] = []
        end = perf_counter() + 5.0
        while len(times) < WARM_UP + 5 or (perf_counter() < end and len(times) < 100):
            results = torch.randint(0, 9, (k,), generator=generator)
            times.append(_step(selector, len(times), size, results, in_flight))
        figures.append(
            figure("selectors", kind, torch.empty(n), size, "after 5 steps", THREADS,
                   times[WARM_UP:], None)
        )  # fmt: skip
    return figures


def _step(
    selector: BeliefSelector, step: int, size: int, results: Tensor, in_flight: Tensor
) -> float:
    """Seconds: of the whole step, or of each selection of one prompt."""
    k = len(results)
    if size == k:
        start = perf_counter()
        chosen = selector.select(k, step=step)
        selector.observe(chosen, results, 8, step=step)
        return perf_counter() - start
    exclude = torch.cat((in_flight, torch.empty(k, dtype=torch.int64)))
    dealt, spent = len(in_flight), 0.0
    for _ in range(k):
        start = perf_counter()
        chosen = selector.select(1, step=step, exclude=exclude[:dealt])
        spent += perf_counter() - start
        exclude[dealt] = chosen
        dealt += 1
    selector.observe(exclude[-k:], results, 8, step=step)
    return spent / k


if __name__ == "__main__":
    for each in steps(1_000_000, 256):
        print(f"{each.what:40} k {each.k:4d} {each.median_seconds * 1e6:10.1f} us")
