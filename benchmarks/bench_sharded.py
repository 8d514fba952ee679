"""`python -m benchmarks.bench_sharded`: a pool held by 4 ranks against the same in one process.

Starts the ranks itself, all on this machine; appends to results/sharded.jsonl.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

import torch
import torch.distributed as dist

from benchmarks.pools import POOLS
from benchmarks.timing import RESULTS, Figure, record, summary
from insight_ext import ShardedPool, select_top_k
from insight_ext.distributed.exchange import Exchange
from insight_ext.kernel.dispatch import set_num_threads

RANKS = 4
ROUNDS = 7  # of 3 calls each, one process and the ranks by turns
THREADS = torch.get_num_threads()
WHOLE, OF_RANKS = "one process", ("4 ranks", "4 ranks: the collective", "4 ranks: the passes")


def timed(work: Callable[[], object], before: Callable[[], object] = lambda: None) -> list[float]:
    """Seconds of 3 calls."""
    times = []
    for _ in range(3):
        before()
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return times


def part(n: int, kind: str, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A rank's beliefs; all parts in turn are the pool."""
    return POOLS[kind]((rank + 1) * n // RANKS - rank * n // RANKS, seed=10 * rank)


def parts_of_a_selection(pool: ShardedPool, exchange: Exchange, k: int) -> list[list[float]]:
    """As named in OF_RANKS; every call begins when all ranks are ready."""
    alpha, beta, sent = pool.local.alpha, pool.local.beta, torch.zeros(12 * k, dtype=torch.uint8)
    return [
        timed(lambda: pool.select(k), dist.barrier),
        timed(lambda: exchange.together("select", lambda: ("", sent)), dist.barrier),
        timed(lambda: select_top_k(alpha, beta, k, first=pool.first), dist.barrier),
    ]


def rank_program(rank: int, n: int, kind: str, meeting: str, told: Connection) -> None:
    """Selects and times, together with the other ranks, each time it is told a k."""
    torch.set_num_threads(1)
    set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=RANKS)
    pool, exchange = ShardedPool(n), Exchange()
    alpha, beta = part(n, kind, rank)
    pool.local.alpha.copy_(alpha)
    pool.local.beta.copy_(beta)
    del alpha, beta
    while k := told.recv():
        told.send(pool.select(k).indices.tolist())
        told.send(parts_of_a_selection(pool, exchange, k))
    dist.destroy_process_group()


@contextmanager
def started(n: int, kind: str) -> Iterator[list[Connection]]:
    """The connections to the ranks' processes."""
    context = torch.multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        pipes = [context.Pipe() for _ in range(RANKS)]
        processes = [
            context.Process(target=rank_program, args=(rank, n, kind, f"{folder}/meeting", theirs))
            for rank, (_, theirs) in enumerate(pipes)
        ]
        for process in processes:
            process.start()
        ours = [own for own, _ in pipes]
        yield ours
        for connection in ours:
            connection.send(0)
        for process in processes:
            process.join()


def against_one_process(n: int, kind: str, sizes: tuple[int, ...] = (256, 4_096)) -> list[Figure]:
    """A selection by one process with all threads, by the ranks with one each, and its parts."""
    torch.set_num_threads(THREADS)
    set_num_threads(THREADS)
    parts = [part(n, kind, rank) for rank in range(RANKS)]
    alpha, beta = (torch.cat(column) for column in zip(*parts, strict=True))
    del parts
    figures = []
    with started(n, kind) as ranks:
        for k in sizes:
            times: dict[str, list[float]] = {name: [] for name in (WHOLE, *OF_RANKS)}
            expected = select_top_k(alpha, beta, k).indices.tolist()
            for _ in range(ROUNDS):
                times[WHOLE] += timed(lambda k=k: select_top_k(alpha, beta, k))
                for connection in ranks:
                    connection.send(k)
                assert all(connection.recv() == expected for connection in ranks)
                measured = [connection.recv() for connection in ranks]
                for name, each in zip(OF_RANKS, zip(*measured, strict=True), strict=True):
                    times[name] += [max(call) for call in zip(*each, strict=True)]  # the slowest
            for what, some in times.items():
                threads = THREADS if what == WHOLE else RANKS
                median, spread = summary(some)
                figures.append(
                    Figure("sharded", what, n, k, 8, kind, threads, median, spread, len(some))
                )
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=100_000_000, help="prompts in total")
    n = parser.parse_args().size
    figures = [f for kind in ("settled", "unseen") for f in against_one_process(n, kind)]
    print(f"{'pool':10} {'k':>6} {'what':26} {'median ms':>10} {'spread ms':>10} {'ratio':>6}")
    whole = {(f.pool, f.k): f.median_seconds for f in figures if f.what == WHOLE}
    for f in figures:
        print(
            f"{f.pool:10} {f.k:6d} {f.what:26} {f.median_seconds * 1e3:10.2f} "
            f"{f.spread_seconds * 1e3:10.2f} {f.median_seconds / whole[f.pool, f.k]:6.2f}"
        )
    print(f"recorded in {record(figures, RESULTS / 'sharded.jsonl')}")


if __name__ == "__main__":
    main()
