from __future__ import annotations

import csv
import resource

import pytest

from insight_ext import InsightError
from insight_ext.runs.reader import read_metrics
from lightning_integration.metrics_file import MetricsFile


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


def test_a_row_that_was_cut_off_does_not_end_a_resume(tmp_path):
    (tmp_path / "metrics.csv").write_text("loss,step\n0.5,0\n0.25,10\n0.125,1")
    log = MetricsFile(tmp_path)
    log.start_training(resumed=True)
    log.log_metrics({"loss": 0.1}, step=11)
    assert [r["step"] for r in read(tmp_path)] == ["0", "10", "11"]


@pytest.mark.parametrize("name", ["a\nb", 'a,"b', "a\u2028b", "\x1b[31m", "größe"])
def test_a_metric_of_any_name_is_a_column_that_reads_back(tmp_path, name):
    for step in range(2):
        MetricsFile(tmp_path).log_metrics({f"val_accuracy/{name}": 0.5}, step=step)
    (series,) = read_metrics(tmp_path / "metrics.csv").values()
    assert series.values.tolist() == [0.5, 0.5]


def test_a_full_disk_is_one_sentence(tmp_path):
    log = MetricsFile(tmp_path)
    log.log_metrics({"loss": 0.5}, step=0)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len("loss,step"), before[1]))
        for metrics in ({"loss": 0.25}, {"other": 1.0}):
            with pytest.raises(InsightError, match="metrics.csv: cannot write the run's record"):
                log.log_metrics(metrics, step=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    resumed = MetricsFile(tmp_path)
    resumed.start_training(resumed=True)
    resumed.log_metrics({"loss": 0.25}, step=1)
    assert [row["loss"] for row in read(tmp_path)] == ["0.5", "0.25"]


@pytest.mark.parametrize("text", ["loss\n1\n", "loss,step\n1,x\n", "loss,step\n1,2,3\n"])
def test_metrics_of_something_else_are_refused(tmp_path, text):
    (tmp_path / "metrics.csv").write_text(text)
    with pytest.raises(InsightError, match="metrics.csv: expected a step in each row, .* row 2"):
        MetricsFile(tmp_path).log_metrics({"loss": 1.0}, step=1)
