from __future__ import annotations

import csv
from pathlib import Path

import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from insight_ext import BetaPosteriors
from lightning_integration import history
from lightning_integration.history import GROUPS, MetricsFile, PartFiles, RunHistory


def row(step):
    return {
        "id": [f"p{step}"],
        "index": [step],
        "step": [step],
        "successes": [step % 9],
        "rollouts": [8],
        "predicted": [0.5],
    }


def steps(folder):
    return pq.read_table(folder)["step"].to_pylist()


def parts(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def test_rows_reach_the_disk_with_a_flush(tmp_path):
    files = PartFiles(tmp_path / "g", GROUPS)
    files.append(row(0))
    assert not (tmp_path / "g").exists()
    files.flush()
    files.append(row(1))
    assert steps(tmp_path / "g") == [0]
    files.flush()
    assert steps(tmp_path / "g") == [0, 1]
    assert parts(tmp_path / "g") == ["part-0000000000.parquet"]


def test_full_parts_are_closed(tmp_path, monkeypatch):
    monkeypatch.setattr(history, "ROWS_PER_PART", 3)
    files = PartFiles(tmp_path / "g", GROUPS)
    for step in range(8):
        files.append(row(step))
    files.flush()
    assert parts(tmp_path / "g") == [f"part-000000000{first}.parquet" for first in (0, 3, 6)]
    assert steps(tmp_path / "g") == list(range(8))


@settings(max_examples=40, deadline=None)
@given(before=st.integers(0, 20), back=st.integers(0, 25), after=st.integers(0, 10))
def test_a_rewound_history_is_that_of_an_uninterrupted_run(tmp_path_factory, before, back, after):
    folder = tmp_path_factory.mktemp("history") / "g"
    original = history.ROWS_PER_PART
    history.ROWS_PER_PART = 4
    try:
        files = PartFiles(folder, GROUPS)
        for step in range(before):
            files.append(row(step))
            if step % 3 == 0:
                files.flush()
        resumed = PartFiles(folder, GROUPS)
        resumed.rewind(back)
        begin = min(back, steps(folder)[-1] + 1 if folder.exists() and parts(folder) else 0)
        for step in range(begin, begin + after):
            resumed.append(row(step))
        resumed.flush()
    finally:
        history.ROWS_PER_PART = original
    if begin + after:
        assert steps(folder) == list(range(begin + after))


def test_what_a_kill_leaves_of_an_unfinished_write_is_not_read(tmp_path):
    files = PartFiles(tmp_path / "g", GROUPS)
    files.append(row(0))
    files.flush()
    (tmp_path / "g/.part-0000000000.parquet").write_bytes(b"PAR1 torn")
    assert steps(tmp_path / "g") == [0]
    resumed = PartFiles(tmp_path / "g", GROUPS)
    resumed.rewind(1)
    resumed.append(row(1))
    resumed.flush()
    assert steps(tmp_path / "g") == [0, 1]
    assert parts(tmp_path / "g") == ["part-0000000000.parquet"]


def test_beliefs_are_counted_in_bins_of_their_means(tmp_path):
    beliefs = BetaPosteriors(5, prior=(1.0, 1.0))
    beliefs.observe([0, 1], successes=[8, 0], rollouts=8)
    recorded = RunHistory(tmp_path)
    recorded.add_beliefs(0, beliefs)
    recorded.flush()
    (found,) = pq.read_table(tmp_path / "beliefs.parquet").to_pylist()
    assert found["unseen"] == 3
    assert {i: n for i, n in enumerate(found["means"]) if n} == {2: 1, 18: 1}


def read(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_metrics_are_sparse_columns_beside_the_step(tmp_path):
    log = MetricsFile(tmp_path)
    log.log_metrics({"loss": 1.0}, step=0)
    log.log_metrics({"val_accuracy": 0.5}, step=0)
    log.log_metrics({"loss": 0.5}, step=1)
    assert read(tmp_path) == [
        {"loss": "1.0", "step": "0", "val_accuracy": ""},
        {"loss": "", "step": "0", "val_accuracy": "0.5"},
        {"loss": "0.5", "step": "1", "val_accuracy": ""},
    ]


def test_resumed_metrics_replace_the_steps_that_they_repeat(tmp_path):
    log = MetricsFile(tmp_path)
    for step in range(5):
        log.log_metrics({"loss": float(step)}, step=step)
    resumed = MetricsFile(tmp_path)
    resumed.start_training(resumed=True)
    resumed.log_metrics({"loss": 9.0, "other": 1.0}, step=3)
    assert [r["loss"] for r in read(tmp_path)] == ["0.0", "1.0", "2.0", "9.0"]
    assert [r["other"] for r in read(tmp_path)] == ["", "", "", "1.0"]


def test_a_new_run_in_an_old_folder_starts_the_metrics_anew(tmp_path):
    MetricsFile(tmp_path).log_metrics({"old": 1.0}, step=3)
    log = MetricsFile(tmp_path)
    log.start_training(resumed=False)
    log.log_metrics({"loss": 2.0}, step=7)
    assert read(tmp_path) == [{"loss": "2.0", "step": "7"}]


def test_a_validation_of_a_finished_run_deletes_nothing(tmp_path):
    MetricsFile(tmp_path).log_metrics({"loss": 1.0}, step=3)
    MetricsFile(tmp_path).log_metrics({"val_accuracy": 0.5}, step=0)
    assert [r["step"] for r in read(tmp_path)] == ["3", "0"]
