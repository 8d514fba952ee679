"""`python -m benchmarks.bench_reading`: pools and logs read, beside Arrow's plain scan of the file.

Each row is a process of its own, so that its processor seconds and its largest memory are its own.
The files are made on the spot; `--rows` of prompts, five times as many groups about a fifth as many
prompts. Appends to results/reading.jsonl.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from benchmarks.timing import RESULTS, processor

PER_STEP = 256  # groups
MIB = 1 << 20


def make_pool(path: Path, rows: int) -> None:
    """Prompts of about 200 characters, 300 bytes a line."""
    rng = np.random.default_rng(0)
    words = np.array(["".join(rng.choice(list("etaoinshrdlu"), 6)) for _ in range(5_000)])
    with path.open("w", encoding="utf-8") as file:
        for i in range(rows):
            text = " ".join(words[rng.integers(0, len(words), 28)])
            row = {"id": f"math/{i}", "prompt": f"{text} \\frac{{{i}}}{{2}} = ?", "answer": i / 2}
            file.write(json.dumps({**row, "kind": "algebra", "level": i % 5}) + "\n")


def make_logs(folder: Path, groups: int, prompts: int) -> None:
    """The same groups as Parquet, CSV and JSONL."""
    rng = np.random.default_rng(0)
    prompt = rng.integers(0, prompts, groups)
    columns = {
        "id": pa.array([f"math/{i}" for i in prompt.tolist()]),
        "step": np.arange(groups) // PER_STEP,
        "successes": rng.binomial(8, rng.random(prompts)[prompt]),
        "rollouts": np.full(groups, 8),
    }
    table = pa.table(columns)
    pa.parquet.write_table(table, folder / "log.parquet")
    pa.csv.write_csv(table, folder / "log.csv")
    with (folder / "log.jsonl").open("w", encoding="utf-8") as file:
        for batch in table.to_batches(1 << 16):
            file.writelines(f"{json.dumps(row)}\n" for row in batch.to_pylist())


def scan(path: Path) -> None:
    """What Arrow alone takes to see every row, without keeping any."""
    if path.suffix == ".parquet":
        batches = pa.parquet.ParquetFile(path).iter_batches()
    elif path.suffix == ".csv":
        batches = pa.csv.open_csv(path)
    else:
        batches = pa.json.open_json(path)
    for _ in batches:
        pass


def read_pool(path: Path) -> None:
    """Read, and be ready to compare with a checkpoint."""
    from insight_ext import PromptPool

    assert PromptPool.from_file(path).fingerprint


def rank_log(path: Path) -> None:
    """`insight-ext rank`, without the table."""
    from insight_ext.curators.rank import rank
    from insight_ext.offline.logs import read_log

    rank(read_log(path))


def curate_log(path: Path) -> None:
    """`insight-ext curate lim`, without the report."""
    from insight_ext.curators import curate
    from insight_ext.offline.logs import read_log

    curate("lim", read_log(path))


WORK: dict[str, Callable[[Path], None]] = {
    "scan": scan,
    "pool": read_pool,
    "rank": rank_log,
    "curate": curate_log,
}


def measured(what: str, path: Path) -> dict[str, Any]:
    """One piece of work in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.bench_reading", "--only", what, str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return {
        "what": what,
        "file": path.name,
        "file_bytes": path.stat().st_size,
        **json.loads(done.stdout),
    }


def largest_memory() -> int:
    """Bytes that this process held at most; `getrusage` would count those of its parent, too."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def alone(what: str, path: Path) -> None:
    """Do one piece of work, and print what it took; imports are in the memory, not in the time."""
    import insight_ext.curators.rank
    import insight_ext.data.prompts
    import insight_ext.offline.group_rows  # noqa: F401

    before = time.process_time()
    WORK[what](path)
    spent = time.process_time() - before
    memory = largest_memory()
    print(json.dumps({"cpu_seconds": round(spent, 2), "memory_bytes": memory}))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_reading", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="prompts (1,000,000)")
    parser.add_argument("--only", nargs=2, metavar=("WORK", "FILE"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.only:
        alone(asked.only[0], Path(asked.only[1]))
        return
    rows = asked.rows
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        make_pool(folder / "pool.jsonl", rows)
        make_logs(folder, 5 * rows, rows // 5)
        jobs = [("scan", "pool.jsonl"), ("pool", "pool.jsonl")]
        jobs += [
            (what, f"log.{ending}")
            for ending in ("parquet", "csv", "jsonl")
            for what in ("scan", "rank", "curate")
        ]
        print("| file | work | MiB | CPU seconds | times the scan | MiB of memory |")
        print("| --- | --- | --- | --- | --- | --- |")
        scans: dict[str, float] = {}
        with (RESULTS / "reading.jsonl").open("a", encoding="utf-8") as results:
            for what, name in jobs:
                row = measured(what, folder / name)
                scans.setdefault(name, row["cpu_seconds"])
                ratio = row["cpu_seconds"] / max(scans[name], 0.01)
                print(
                    f"| {name} | {what} | {row['file_bytes'] / MIB:.0f} | "
                    f"{row['cpu_seconds']:.1f} | {ratio:.1f} | {row['memory_bytes'] / MIB:.0f} |"
                )
                kept = {"rows": rows, "processor": processor(), "threads": os.cpu_count(), **row}
                results.write(json.dumps(kept) + "\n")


if __name__ == "__main__":
    main()
