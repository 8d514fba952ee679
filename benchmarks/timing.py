"""How a figure is taken: warm up, repeat, report the median and the spread."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import torch

from insight_ext import build_info
from insight_ext.kernel.dispatch import execution

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Figure:
    """One measurement. Times are seconds; `ratio_to_sum` is to the limit measured in the same run;
    `extra_bytes` is memory beside the beliefs, where it was measured."""

    bench: str
    what: str
    n: int
    k: int
    rollouts: int
    pool: str
    threads: int
    median_seconds: float
    spread_seconds: float
    repeats: int
    ratio_to_sum: float | None = None
    extra_bytes: int | None = None


def seconds(work: Callable[[], object], budget: float = 0.5, most: int = 200) -> list[float]:
    """Times of repeated calls, at least 5, until the budget is spent."""
    work()
    times: list[float] = []
    end = time.perf_counter() + budget
    while len(times) < 5 or (time.perf_counter() < end and len(times) < most):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return times


def summary(times: list[float]) -> tuple[float, float]:
    """Median, and the distance between the quartiles."""
    quartiles = statistics.quantiles(times, n=4)
    return statistics.median(times), quartiles[2] - quartiles[0]


@contextmanager
def timed(
    times: dict[str, list[float]], name: str, clock: Callable[[], float] = time.perf_counter
) -> Iterator[None]:
    """Note how many milliseconds the block took by this clock."""
    start = clock()
    yield
    times.setdefault(name, []).append(1e3 * (clock() - start))


def medians(times: dict[str, list[float]], warm_up: int) -> dict[str, float]:
    """Of what `timed` noted, without the first few."""
    return {name: round(statistics.median(each[warm_up:]), 3) for name, each in times.items()}


def record_parts(
    file: str, packages: Sequence[str], parts: Mapping[str, Callable[[], object]]
) -> None:
    """Measure the parts, or those after `--only`; print them, and append them to a file as a line.

    Args:
        file: in `RESULTS`.
        packages: whose versions the line has.
        parts: by name, what is to be measured.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="+", choices=parts, default=list(parts))
    line = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": processor(),
        **{name: version(name) for name in packages},
        **{name: parts[name]() for name in parser.parse_args().only},
    }
    print(json.dumps(line, indent=1))
    with (RESULTS / file).open("a") as lines:
        lines.write(json.dumps(line) + "\n")


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def kernel() -> str:
    """A digest of the kernel's sources, by which the lines of one kernel are known."""
    sources = sorted((Path(__file__).parents[1] / "csrc").rglob("*.[chu]*"))
    return sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]


def record(figures: list[Figure], path: Path = RESULTS / "cpu.jsonl") -> Path:
    """Appends to a file of results, each line with the machine and the build."""
    path.parent.mkdir(exist_ok=True)
    info = build_info()
    context = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": processor(),
        "instruction_set": execution.instruction_set or info["instruction_sets"][-1],
        "compiler": info["compiler"],
        "torch": torch.__version__,
        "kernel": kernel(),
        "openmp_waits": os.environ["OMP_WAIT_POLICY"],
        "load_average": os.getloadavg()[0],  # above the thread count the figures are contended
    }
    with path.open("a") as file:
        for figure in figures:
            file.write(json.dumps(asdict(figure) | context) + "\n")
    return path
