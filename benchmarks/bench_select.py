"""Selection against the sum of the same bytes, against its peers, and what else it costs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from benchmarks import peers
from benchmarks.pools import POOLS, settled
from benchmarks.timing import Figure, seconds, summary
from insight_ext import WeightedInformation, score, select_top_k
from insight_ext.kernel.dispatch import set_num_threads
from insight_ext.kernel.index import PoolIndex
from insight_ext.kernel.scores import Thompson
from insight_ext.selectors import InSight

THREADS = torch.get_num_threads()


def interleaved(limit: Callable[[], object], work: Callable[[], object]) -> tuple[list, list]:
    """Both by turns, so that whatever else the machine does falls on both."""
    first: list[float] = []
    second: list[float] = []
    for _ in range(3):
        first += seconds(limit, budget=0.15, most=60)
        second += seconds(work, budget=0.15, most=60)
    return first, second


def sum_of(alpha: Tensor, beta: Tensor) -> Callable[[], object]:
    """The physical limit: read the same bytes with the same threads and add them up."""
    return lambda: (alpha.sum(), beta.sum())


def figure(
    bench: str,
    what: str,
    alpha: Tensor,
    k: int,
    pool: str,
    threads: int,
    times: list[float],
    limit: float | None,
    rollouts: int = 8,
) -> Figure:
    median, spread = summary(times)
    ratio = None if limit is None else median / limit
    return Figure(
        bench, what, alpha.numel(), k, rollouts, pool, threads, median, spread, len(times), ratio
    )


def against_the_sum(n: int, k: int, pool: str, threads: int, rollouts: int = 8) -> list[Figure]:
    alpha, beta = POOLS[pool](n)
    chosen = WeightedInformation(rollouts=rollouts)
    torch.set_num_threads(threads)
    set_num_threads(threads)
    picked = select_top_k(alpha, beta, k, chosen)
    if n <= 1_000_000:
        assert torch.equal(torch.topk(score(alpha, beta, chosen), k).values, picked.scores)
    limits, times = interleaved(sum_of(alpha, beta), lambda: select_top_k(alpha, beta, k, chosen))
    limit = summary(limits)[0]
    return [
        figure("limit", "sum of the same bytes", alpha, k, pool, threads, limits, limit, rollouts),
        figure("select", "insight_ext", alpha, k, pool, threads, times, limit, rollouts),
    ]


def scores(n: int, rollouts: int, threads: int) -> list[Figure]:
    alpha, beta = settled(n)
    torch.set_num_threads(threads)
    set_num_threads(threads)
    times = seconds(lambda: score(alpha, beta, WeightedInformation(rollouts=rollouts)))
    return [figure("score", "insight_ext", alpha, 0, "settled", threads, times, None, rollouts)]


def against_peers(n: int, k: int) -> list[Figure]:
    alpha, beta = settled(n)
    torch.set_num_threads(THREADS)
    set_num_threads(THREADS)
    a, b = alpha.numpy(), beta.numpy()
    compiled = torch.compile(peers.torch_best)
    contenders: dict[str, Callable[[], object]] = {
        "insight_ext": lambda: select_top_k(alpha, beta, k),
        "insight_ext, Beta draw": lambda: select_top_k(alpha, beta, k, Thompson()),
        "torch.compile, best form": lambda: compiled(alpha, beta, k, 8),
        "torch eager, best form": lambda: peers.torch_best(alpha, beta, k, 8),
        "torch eager, textbook": lambda: peers.torch_textbook(alpha, beta, k, 8),
        "numpy Beta draw, argpartition": lambda: peers.mopps_draw(a, b, k),
        "numpy and scipy, argpartition": lambda: peers.numpy_textbook(a, b, k, 8),
    }
    return [
        figure("peers", what, alpha, k, "settled", THREADS, seconds(work, budget=1.0), None)
        for what, work in contenders.items()
    ]


def incremental(n: int, changed: int, k: int) -> list[Figure]:
    """A step of the index (note what changed, select) against the full pass."""
    alpha, beta = settled(n)
    set_num_threads(THREADS)
    index = PoolIndex(alpha, beta)
    generator = torch.Generator().manual_seed(0)

    def step() -> None:
        alpha[moved] += 1
        index.update(moved)
        index.select(k)

    steps: list[float] = []
    for _ in range(30):
        moved = torch.randint(0, n, (changed,), generator=generator)
        steps += seconds(step, budget=0.0)[:1]
    assert torch.equal(index.select(k).indices, select_top_k(alpha, beta, k).indices)
    full = seconds(lambda: select_top_k(alpha, beta, k))
    return [
        figure("incremental", "full pass", alpha, k, "settled", THREADS, full, None),
        figure("incremental", "PoolIndex, update and select", alpha, k, "settled", THREADS,
               steps, None),
    ]  # fmt: skip


def training_step(n: int, k: int, threads: int) -> list[Figure]:
    """What a step of training pays: `select` of k prompts and `observe` of their results."""
    torch.set_num_threads(threads)
    set_num_threads(threads)
    selector = InSight(n, candidate_ratio=None)
    generator = torch.Generator().manual_seed(0)

    numbers = itertools.count()

    def step() -> None:
        number = next(numbers)
        chosen = selector.select(k, step=number)
        results = torch.randint(0, 9, (k,), generator=generator)
        selector.observe(chosen, results, 8, step=number)

    alpha = selector.posterior.alpha
    return [figure("step", "select and observe", alpha, k, "unseen", threads, seconds(step), None)]


def extra_memory(n: int, k: int) -> list[Figure]:
    """Bytes that a selection needs beside the beliefs: the process at its peak above before.

    Linux only; elsewhere nothing is measured.
    """
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not reset.exists():
        return []

    def kibibytes(name: str) -> int:
        return int(status.read_text().partition(f"{name}:")[2].split()[0])

    alpha, beta = settled(n)
    select_top_k(alpha, beta, 1)
    reset.write_text("5")  # the peak starts anew
    before = kibibytes("VmRSS")
    times = seconds(lambda: select_top_k(alpha, beta, k))
    extra = 1024 * (kibibytes("VmHWM") - before)
    row = figure("memory", "insight_ext", alpha, k, "settled", THREADS, times, None)
    return [replace(row, extra_bytes=extra)]
