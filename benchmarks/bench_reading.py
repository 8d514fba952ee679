"""`python -m benchmarks.bench_reading`: pools and logs read, beside Arrow's plain scan of the file.

Each row is a process of its own, so that its processor seconds and its largest memory are its own.
The files are made on the spot; `--rows` of prompts, five times as many groups about a fifth as many
prompts, six times as many of those, and answers with long texts that a process with less memory
than that has to count. Appends to results/reading.jsonl.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from benchmarks.timing import RESULTS, processor

PER_STEP = 256  # groups
MIB = 1 << 20
ALLOWED = 1 << 30  # bytes beside the imports, for logs that are large


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


def make_longer(log: Path, path: Path, times: int) -> None:
    """The log so many times, one after another."""
    table = pa.parquet.read_table(log)
    steps = pa.compute.max(table["step"]).as_py() + 1
    with pa.parquet.ParquetWriter(path, table.schema) as file:
        for time in range(times):
            later = pa.compute.add(table["step"], time * steps)
            file.write_table(table.set_column(1, "step", later))


def make_answers(path: Path, size: int) -> None:
    """Answers of texts that cannot be compressed, so many bytes of them."""
    rng = np.random.default_rng(0)
    rows, length = 1_000, 1 << 14
    parts = -(-size // (rows * length))
    for part in range(parts):
        columns = {
            "id": [f"math/{at}" for at in rng.integers(0, 200, rows)],
            "step": np.full(rows, part),
            "reward": rng.integers(0, 2, rows).astype(np.float64),
            "completion": [rng.bytes(length // 2).hex() for _ in range(rows)],
        }
        table = pa.table(columns)
        if not part:
            file = pa.parquet.ParquetWriter(path, table.schema, compression="none")
        file.write_table(table)
    file.close()


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


def measured(what: str, path: Path, allowed: int | None) -> dict[str, Any]:
    """One piece of work in a process of its own, with so many bytes beside its imports."""
    asked = [what, str(path), str(allowed or 0)]
    command = [sys.executable, "-m", "benchmarks.bench_reading", "--only", *asked]
    # Arrow's other allocators reserve more than they use.
    settings = os.environ | {"ARROW_DEFAULT_MEMORY_POOL": "system"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=settings)
    return {
        "what": what,
        "file": path.name,
        "file_bytes": path.stat().st_size,
        **json.loads(done.stdout),
    }


def memory(name: str) -> int:
    """Bytes: `VmHWM`, which this process held at most, or `VmData`, its data now.

    `getrusage` would count those of its parent, too.
    """
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{name}:")[2].split()[0]) * 1024


def alone(what: str, path: Path, allowed: int) -> None:
    """Do one piece of work, and print what it took; imports are in the memory, not in the time."""
    import insight_ext.curators.rank
    import insight_ext.data.prompts
    import insight_ext.offline.group_rows  # noqa: F401

    if allowed:
        most = memory("VmData") + allowed
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    before = time.process_time()
    WORK[what](path)
    spent = time.process_time() - before
    print(json.dumps({"cpu_seconds": round(spent, 2), "memory_bytes": memory("VmHWM")}))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_reading", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="prompts (1,000,000)")
    parser.add_argument(
        "--only", nargs=3, metavar=("WORK", "FILE", "BYTES"), help=argparse.SUPPRESS
    )
    asked = parser.parse_args()
    if asked.only:
        alone(asked.only[0], Path(asked.only[1]), int(asked.only[2]))
        return
    rows = asked.rows
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        make_pool(folder / "pool.jsonl", rows)
        make_logs(folder, 5 * rows, rows // 5)
        make_longer(folder / "log.parquet", folder / "longer.parquet", 6)
        make_answers(folder / "answers.parquet", 2 * ALLOWED * rows // 1_000_000)
        jobs: list[tuple[str, str, int | None]] = [
            ("scan", "pool.jsonl", None),
            ("pool", "pool.jsonl", None),
        ]
        jobs += [
            (what, f"log.{ending}", None)
            for ending in ("parquet", "csv", "jsonl")
            for what in ("scan", "rank", "curate")
        ]
        jobs += [
            (what, f"{name}.parquet", ALLOWED)
            for name in ("longer", "answers")
            for what in ("rank", "curate")
        ]
        print("| file | work | MiB | CPU seconds | times the scan | MiB of memory |")
        print("| --- | --- | --- | --- | --- | --- |")
        scans: dict[str, float] = {}
        with (RESULTS / "reading.jsonl").open("a", encoding="utf-8") as results:
            for what, name, allowed in jobs:
                row = measured(what, folder / name, allowed)
                if what == "scan":
                    scans[name] = max(row["cpu_seconds"], 0.01)
                ratio = f"{row['cpu_seconds'] / scans[name]:.1f}" if name in scans else "-"
                print(
                    f"| {name} | {what} | {row['file_bytes'] / MIB:.0f} | "
                    f"{row['cpu_seconds']:.1f} | {ratio} | {row['memory_bytes'] / MIB:.0f} |"
                )
                kept = {"rows": rows, "processor": processor(), "threads": os.cpu_count(), **row}
                results.write(json.dumps(kept) + "\n")


if __name__ == "__main__":
    main()
