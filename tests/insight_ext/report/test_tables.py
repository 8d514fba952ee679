"""Reading the files of a run's folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from insight_ext.errors import ArgumentError
from insight_ext.report.tables import read_beliefs, read_groups, read_metrics


def test_sparse_columns_become_series_without_gaps(tmp_path: Path) -> None:
    file = tmp_path / "metrics.csv"
    file.write_text("epoch,step,val_accuracy,step_ms\n0,0,,5\n0,1,,6\n0,1,0.25,\n")
    metrics = read_metrics(file)
    assert set(metrics) == {"val_accuracy", "step_ms"}
    assert metrics["step_ms"].steps.tolist() == [0, 1]
    assert metrics["val_accuracy"].values.tolist() == [0.25]


def test_of_a_step_logged_twice_the_last_value_counts(tmp_path: Path) -> None:
    file = tmp_path / "metrics.csv"
    file.write_text("step,step_ms\n0,1\n1,2\n0,3\n")
    assert read_metrics(file)["step_ms"].values.tolist() == [3.0, 2.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch,accuracy\n0,0.5\n", "expected a column named step, got epoch, accuracy"),
        ("step,accuracy\n0,0.5\n1,half\n", r"metrics.csv:3: expected a number .* got 'half'"),
        ("step,accuracy\n,0.5\n", "an integer step, got '0.5' and ''"),
    ],
)
def test_a_broken_metrics_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "metrics.csv").write_text(text)
    with pytest.raises(ArgumentError, match=message):
        read_metrics(tmp_path / "metrics.csv")


def test_groups_come_in_the_order_of_the_steps_with_unknown_predictions(tmp_path: Path) -> None:
    for name, step in (("part-0.parquet", 1), ("part-1.parquet", 0)):
        columns = {"index": [3], "step": [step], "successes": [2], "rollouts": [8]}
        table = pa.table({**columns, "predicted": pa.array([None], pa.float32())})
        pq.write_table(table, tmp_path / name)
    groups = read_groups(tmp_path)
    assert groups is not None
    assert groups.step.tolist() == [0, 1]
    assert np.isnan(groups.predicted).all()
    assert groups.until(0).index.tolist() == [3]


def test_unfinished_part_files_are_not_read(tmp_path: Path) -> None:
    (tmp_path / ".part-0.parquet").write_bytes(b"half a file")
    assert read_groups(tmp_path) is None


def test_a_data_set_without_its_columns_or_unreadable_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"step": [0]}), tmp_path / "part-0.parquet")
    with pytest.raises(ArgumentError, match="columns index, step, successes"):
        read_groups(tmp_path)
    (tmp_path / "part-0.parquet").write_bytes(b"no parquet")
    with pytest.raises(ArgumentError, match="columns step, unseen, means"):
        read_beliefs(tmp_path)


def test_the_pool_is_the_unseen_and_the_seen(tmp_path: Path) -> None:
    rows = [
        {"step": 0, "unseen": 7, "means": [1, 0, 2]},
        {"step": 5, "unseen": 4, "means": [3, 3, 0]},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "part-0.parquet")
    beliefs = read_beliefs(tmp_path)
    assert beliefs is not None
    assert beliefs.pool_size == 10
    assert beliefs.means.shape == (2, 3)
