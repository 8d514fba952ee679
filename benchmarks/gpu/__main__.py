"""The CUDA back end against torch's top-k and the speed of a copy: python -m benchmarks.gpu FILE.

Appends one JSON line for each measurement to FILE. The answer is checked against the CPU's before
anything is timed.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from insight_ext import build_info, select_top_k
from insight_ext.kernel.scores import WeightedInformation

SIZES = [10**3, 10**4, 10**5, 10**6, 10**7, 10**8, 10**9]
CHOSEN = [64, 256, 4_096, 65_536]
POOLS = ["settled", "unseen", "half unseen"]


def make_pool(kind: str, n: int) -> tuple[Tensor, Tensor]:
    """A pool on the device: 8 rollouts a visit; settled prompts have 0 to 24 visits."""
    random = torch.Generator("cuda").manual_seed(n)
    alpha, beta = torch.ones(n, device="cuda"), torch.ones(n, device="cuda")
    if kind == "unseen":
        return alpha, beta
    seen = n if kind == "settled" else n // 2
    step = 10**7  # bounds the memory of the random numbers
    for start in range(0, seen, step):
        part = slice(start, min(start + step, seen))
        size = part.stop - part.start
        rollouts = 8 * torch.randint(25, (size,), generator=random, device="cuda")
        solved = torch.rand(size, generator=random, device="cuda") * (rollouts + 1)
        alpha[part] += solved.floor()
        beta[part] += rollouts - solved.floor()
    return alpha, beta


def seconds(run: Callable[[], Any]) -> tuple[float, float]:
    """Median and interquartile range of a graph's replay, or of plain calls if none can be."""
    for _ in range(3):
        run()
    torch.cuda.synchronize()
    try:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run()
        replay = graph.replay
    except RuntimeError:
        replay = run
    times = []
    for _ in range(30):
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        replay()
        stop.record()
        stop.synchronize()
        times.append(start.elapsed_time(stop) / 1e3)
    quarters = statistics.quantiles(times, n=4)
    return statistics.median(times), quarters[2] - quarters[0]


def rough_score(alpha: Tensor, beta: Tensor) -> Tensor:
    """A cheap float32 formula for the peers: it favours them, the reference score costs more."""
    n = alpha + beta
    p = alpha / n
    return p * (1 - p) * torch.exp(-3 * (p - 0.3) ** 2) * 0.5 * torch.log1p(8 / n)


def main(path: Path) -> None:
    compiled = torch.compile(rough_score, dynamic=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    device = torch.cuda.get_device_name()

    def record(what: str, n: int, took: tuple[float, float], **more: Any) -> None:
        line = {"what": what, "device": device, "n": n, "seconds": took[0], "spread": took[1]}
        line |= {"bytes_per_second": 8 * n / took[0], **more}
        with path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        share = line["bytes_per_second"] / more["copy"] if "copy" in more else float("nan")
        print(f"{what:24} N={n:<11,} {took[0] * 1e6:12.1f} us {share:6.2f} of copy", more)

    print(build_info(), torch.__version__)
    for n in SIZES:
        if torch.cuda.mem_get_info()[0] < 40 * n:
            print(f"N={n:,}: left out, it needs {40 * n} bytes of device memory")
            continue
        for kind in POOLS:
            alpha, beta = make_pool(kind, n)
            if n <= 10**7:
                expected = select_top_k(alpha.cpu(), beta.cpu(), min(n, 256)).indices
                assert torch.equal(select_top_k(alpha, beta, min(n, 256)).indices.cpu(), expected)
            source = torch.stack([alpha, beta])
            target = torch.empty_like(source)
            copied = seconds(lambda target=target, source=source: target.copy_(source))
            copy = 16 * n / copied[0]  # bytes read and written
            record("copy", n, copied, pool=kind)
            del source, target
            for k in (k for k in CHOSEN if k <= n):
                for rollouts in (1, 8, 16) if k == 256 else (8,):
                    score = WeightedInformation(rollouts=rollouts)
                    took = seconds(lambda s=score, k=k, a=alpha, b=beta: select_top_k(a, b, k, s))
                    record("select_top_k", n, took, k=k, rollouts=rollouts, pool=kind, copy=copy)
                if kind != "settled":
                    continue
                for name, formula in (("torch.topk", rough_score), ("compiled topk", compiled)):
                    took = seconds(lambda f=formula, k=k, a=alpha, b=beta: torch.topk(f(a, b), k))
                    record(name, n, took, k=k, pool=kind, copy=copy)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
