"""`python -m benchmarks.bench_ranks`: what several processes cost a step of training.

Starts the processes itself, all on this machine; appends to results/ranks.jsonl.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from time import perf_counter

import torch

from benchmarks.bench_select import figure
from benchmarks.timing import RESULTS, Figure, record
from insight_ext import Prompt, PromptPool, SelectionLoop
from insight_ext.distributed.ranks import Ranks
from insight_ext.kernel.dispatch import set_num_threads

PARTS = ("select", "gather", "observe")
WARM, STEPS, ROLLOUTS = 20, 200, 8


def steps(n: int, k: int, sizes: tuple[int, ...] = (1, 2, 4)) -> list[Figure]:
    """The parts of a step of `insight`, k prompts of a pool of n, on so many gloo processes.

    Every process has one thread; with more processes than cores they take turns.
    """
    figures = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            torch.multiprocessing.spawn(_process, (size, n, k, folder), nprocs=size)
            times = torch.load(Path(folder) / "times.pt")
        what = f"{size} processes" if size > 1 else "one process"
        figures += [
            figure("ranks", f"{part}, {what}", torch.empty(n), k, "trained", 1, times[part], None)
            for part in PARTS
        ]
    return figures


def _process(rank: int, size: int, n: int, k: int, folder: str) -> None:
    torch.set_num_threads(1)
    set_num_threads(1)
    if size > 1:
        store = torch.distributed.FileStore(f"{folder}/store", size)
        torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=size)
    pool = PromptPool(Prompt(str(i), "", "") for i in range(n))
    loop = SelectionLoop(pool, "insight", rollouts=ROLLOUTS, ranks=Ranks(rank, size))
    generator = torch.Generator().manual_seed(rank)
    times: dict[str, list[float]] = {part: [] for part in PARTS}
    for step in range(WARM + STEPS):
        start = perf_counter()
        dealt = loop.deal(k)
        selected = perf_counter()
        mine = loop.ranks.share(torch.arange(k)).tolist()
        rewards = torch.randint(0, 2, (len(mine), ROLLOUTS), generator=generator).tolist()
        if size > 1:
            torch.distributed.barrier()  # begin together, as after an optimiser's step
        began = perf_counter()
        for at, answers in zip(mine, rewards, strict=True):
            loop.report(dealt[at].group, answers)
        loop.exchange()
        gathered = perf_counter()
        loop.end_step()
        observed = perf_counter()
        if step >= WARM:
            times["select"].append(selected - start)
            times["gather"].append(gathered - began)
            times["observe"].append(observed - gathered)
    if rank == 0:
        torch.save(times, Path(folder) / "times.pt")
    if size > 1:
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def main() -> None:
    figures = steps(100_000, 256)
    print(f"{'what':26} {'median ms':>10} {'spread ms':>10}")
    for f in figures:
        print(f"{f.what:26} {f.median_seconds * 1e3:10.3f} {f.spread_seconds * 1e3:10.3f}")
    print(f"recorded in {record(figures, RESULTS / 'ranks.jsonl')}")


if __name__ == "__main__":
    main()
