"""Ten thousand steps: memory and files stay within bounds, whatever comes late or never."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import fmean

import pyarrow.parquet as pq
import pytest

from insight_ext.runs.writer import ROWS_PER_PART

HERE = Path(__file__).parent
STEPS, WARM, STALENESS = 10_000, 1_000, 4
PROMPTS, LOG_EVERY, HISTORY_EVERY = 8, 50, 50  # as in long_run.py


@pytest.fixture(scope="module", params=[0, STALENESS], ids=["prompt", "late"])
def run(request, tmp_path_factory):
    """Its folder, max_staleness, and what the process told every 100 steps."""
    folder = tmp_path_factory.mktemp("long")
    done = subprocess.run(
        [sys.executable, str(HERE / "long_run.py"), str(folder), str(STEPS), str(request.param)],
        env={**os.environ, "PYTHONPATH": str(HERE.parent.parent), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert told[-1]["step"] == STEPS
    return folder, request.param, [row for row in told if row["step"] >= WARM]


@pytest.mark.parametrize("measure", ["resident_bytes", "objects"])
def test_memory_is_flat(run, measure):
    """What the kernel counts as resident, and the containers that Python's collector knows.

    The resident set goes up and down with the open part of the history, by more than it may grow:
    the means over the time of whole parts are compared.
    """
    period = ROWS_PER_PART // PROMPTS
    first, *_, last = (
        fmean(row[measure] for row in run[2] if end - period < row["step"] <= end)
        for end in range(STEPS % period + period, STEPS + 1, period)
    )
    assert last < 1.01 * first


def test_what_is_out_is_bounded(run):
    _, staleness, told = run
    out = [row["selection/groups_out"] for row in told]
    assert max(row["in_flight"] for row in told) <= PROMPTS * (staleness + 1)
    assert max(out) <= PROMPTS * staleness
    assert (min(out) > 0) == (staleness > 0)


def test_files_are_bounded(run):
    """One part for every `ROWS_PER_PART` groups, one line of metrics for every step logged."""
    folder, staleness, _ = run
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    parts = {name for name in files if name.startswith("groups.parquet/")}
    beliefs = "beliefs.parquet/part-0000000000.parquet"
    others = {"last.ckpt", "metrics.csv", "run.json", ".lock", "samples.jsonl"}
    assert files - parts == {*others, beliefs}
    samples = (folder / "samples.jsonl").read_text().splitlines()
    assert len(samples) == len({json.loads(line)["id"] for line in samples})
    rows = pq.read_table(folder / "groups.parquet").num_rows
    assert len(parts) == -(-rows // ROWS_PER_PART)
    assert rows == STEPS * PROMPTS or staleness
    assert (
        pq.read_table(folder / "beliefs.parquet").num_rows == STEPS // HISTORY_EVERY + 1
    )  # and the end
    with (folder / "metrics.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == STEPS // LOG_EVERY


def test_a_step_leaves_few_bytes(run):
    folder, _, _ = run

    def size(pattern):
        return sum(path.stat().st_size for path in folder.glob(pattern))

    assert size("groups.parquet/*") < 16 * STEPS * PROMPTS
    assert size("beliefs.parquet/*") < 128 * STEPS / HISTORY_EVERY
    assert size("metrics.csv") < 512 * STEPS / LOG_EVERY
