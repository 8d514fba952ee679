"""Keeps of an experiment what `calibrate` and `agree` need, in a small copy of its folder.

python -m benchmarks.record runs/addition benchmarks/results/evidence/addition
"""

from __future__ import annotations

import csv
import shutil
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq

COLUMN = "val_accuracy"


def record(experiment: Path, target: Path) -> None:
    """Copy experiment.json, and of each finished run its evaluations and its groups.

    Of a prompt's id its kind alone is kept.
    """
    target.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(experiment / "experiment.json", target / "experiment.json")
    for run in sorted(path.parent for path in experiment.glob("*-seed*/finished")):
        own = target / run.name
        (own / "groups.parquet").mkdir(parents=True, exist_ok=True)
        _evaluations(run / "metrics.csv", own / "metrics.csv")
        _groups(run / "groups.parquet", own / "groups.parquet/part-0000000000.parquet")


def _evaluations(source: Path, target: Path) -> None:
    with source.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row[COLUMN]]
    columns = ["step", *(name for name in rows[0] if name.startswith(COLUMN))]
    with target.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        for row in rows:
            values = {name: f"{float(row[name]):.6g}" for name in columns}
            writer.writerow(values)


def _groups(source: Path, target: Path) -> None:
    files = sorted(str(path) for path in source.glob("part-*.parquet"))
    columns = ["id", "index", "step", "successes", "rollouts"]
    table = pads.dataset(files, format="parquet").to_table(columns=columns).sort_by("step")
    kinds = [f"{name.partition('/')[0]}/" for name in table["id"].to_pylist()]
    table = table.set_column(0, "id", pa.array(kinds))
    empty = pa.nulls(table.num_rows, pa.float32())
    table = table.append_column("predicted", empty)
    pq.write_table(table, target, compression="zstd", compression_level=19)


if __name__ == "__main__":
    record(Path(sys.argv[1]), Path(sys.argv[2]))
