"""`python -m benchmarks`: measures, prints, appends to results/cpu.jsonl, draws the plot."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from benchmarks import bench_select, bench_selectors, plot, table
from benchmarks.timing import RESULTS, Figure, record
from insight_ext.kernel.dispatch import execution
from insight_ext.progress import STOPPED, Progress, end_program

Work = tuple[str, Callable[[], Iterable[Figure]]]


def work(quick: bool) -> Iterator[Work]:
    """What to measure: what it is called, and the call."""
    threads, select = bench_select.THREADS, bench_select
    sizes = (1_000, 100_000, 1_000_000, 10_000_000) if quick else (
        1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000
    )  # fmt: skip
    for n in sizes:
        for pool in ("settled", "unseen", "half unseen"):
            for count in sorted({1, threads}):
                called = f"{n:,} prompts, {pool}, {count} threads"
                yield called, partial(select.against_the_sum, n, min(256, n // 10), pool, count)
    for k in (64, 4_096, 65_536):
        yield f"k = {k:,}", partial(select.against_the_sum, 1_000_000, k, "settled", threads)
    for rollouts in (1, 16):
        call = partial(select.against_the_sum, 1_000_000, 256, "settled", threads, rollouts)
        yield f"{rollouts} rollouts", call
    for rollouts in (1, 8, 16):
        yield f"scores, {rollouts} rollouts", partial(select.scores, 1_000_000, rollouts, threads)
    yield "other ways", partial(select.against_peers, 1_000_000, 256)
    yield "a pool's index", partial(select.incremental, 10_000_000, 256, 256)
    for n in (10_000, 1_000_000, 10_000_000):
        yield f"a training step, {n:,} prompts", partial(select.training_step, n, 256, threads)
    yield "dealing", partial(bench_selectors.deals, 1_000_000, 256)
    n = 10_000_000 if quick else 100_000_000
    yield "memory", partial(select.extra_memory, n, 4_096)


def measure(quick: bool) -> list[Figure]:
    figures: list[Figure] = []
    todo = list(work(quick))
    progress = Progress("bench", len(todo), "measurements")
    for done, (called, call) in enumerate(todo):
        progress.update(done, called)
        figures += call()
    progress.update(len(todo))
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer sizes, nothing above 1e7")
    parser.add_argument("--table", action="store_true", help="show recorded runs; measure nothing")
    parser.add_argument(
        "--instruction-set", help="measure this one of build_info()'s, not the best"
    )
    asked = parser.parse_args()
    execution.instruction_set = asked.instruction_set
    if asked.table:
        lines = table.recorded(RESULTS / "cpu.jsonl")
        print(table.tables(lines))
        print(f"\nplot in {plot.draw(lines)}")
        return 0
    try:
        figures = measure(asked.quick)
    except KeyboardInterrupt:
        print("\nbench: stopped; results/ is as it was", file=sys.stderr)
        return STOPPED
    print(f"{'what':34} {'pool':12} {'N':>11} {'k':>6} {'K':>3} {'thr':>3} {'median ms':>11} /sum")
    for f in figures:
        ratio = "" if f.ratio_to_sum is None else f"{f.ratio_to_sum:.2f}"
        if f.extra_bytes is not None:
            ratio = f"extra memory {f.extra_bytes / 2**20:.1f} MiB"
        print(
            f"{f.what:34} {f.pool:12} {f.n:11d} {f.k:6d} {f.rollouts:3d} {f.threads:3d} "
            f"{f.median_seconds * 1e3:11.4f} {ratio}"
        )
    path = record(figures)
    print(f"recorded in {path}; plot in {plot.draw(table.recorded(path))}")
    return 0


if __name__ == "__main__":
    end_program(main())
