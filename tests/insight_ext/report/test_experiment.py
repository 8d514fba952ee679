"""Which runs an experiment's folder holds."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from insight_ext.errors import ArgumentError
from insight_ext.report import write_report
from insight_ext.report.curves import accuracy_curve
from insight_ext.report.experiment import read_experiment


def test_arms_come_with_the_baseline_first_and_seeds_in_order(
    experiment_folder: Callable[..., Path],
) -> None:
    folder = experiment_folder(("random", "insight", "insight-lam1"), seeds=2, steps=10)
    experiment = read_experiment(folder)
    assert list(experiment.arms) == ["random", "insight", "insight-lam1"]
    assert [run.seed for run in experiment.arms["insight-lam1"]] == [0, 1]
    assert (experiment.baseline, experiment.pool_size) == ("random", 400)


def test_a_single_runs_folder_is_an_experiment_of_one(
    experiment_folder: Callable[..., Path],
) -> None:
    experiment = read_experiment(experiment_folder(steps=10) / "insight-seed1")
    assert [(run.arm, run.seed) for run in experiment.runs] == [("insight", 1)]
    assert experiment.baseline is None


def test_effort_is_counted_up_to_the_evaluation(experiment_folder: Callable[..., Path]) -> None:
    run = read_experiment(experiment_folder(seeds=1, steps=20)).runs[0]
    steps, rollouts, seconds = (
        accuracy_curve(run, effort) for effort in ("steps", "rollouts", "seconds")
    )
    assert steps is not None
    assert rollouts is not None
    assert seconds is not None
    assert steps.x.tolist() == [1, 11, 20]
    assert rollouts.x.tolist() == [64, 704, 1280]
    assert seconds.x[-1] == run.metrics["train_seconds"].values[-1]


def test_unfinished_and_empty_runs_are_named(experiment_folder: Callable[..., Path]) -> None:
    folder = experiment_folder(steps=20)
    run = folder / "insight-seed0"
    (run / "metrics.csv").write_text("epoch,step\n")
    shutil.rmtree(run / "groups.parquet")
    other = folder / "insight-seed1" / "metrics.csv"
    other.write_text("".join(other.read_text().splitlines(keepends=True)[:8]))
    shutil.rmtree(folder / "insight-seed1" / "groups.parquet")
    experiment = read_experiment(folder)
    assert experiment.notes == (
        "insight-seed0 is left out: nothing was logged yet.",
        "insight-seed1 has 6 of 20 steps.",
    )


def test_folders_without_runs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="expected a run's folder, got .*nowhere"):
        read_experiment(tmp_path / "nowhere")
    with pytest.raises(ArgumentError, match="found none; give the folder that a training run"):
        read_experiment(tmp_path)
    with pytest.raises(
        ArgumentError, match="metrics.csv or groups.parquet in .*MetricsFile.*CSVLogger"
    ):
        read_experiment(tmp_path)
    (tmp_path / "metrics.csv").write_text("")
    with pytest.raises(ArgumentError, match="nothing was logged yet in"):
        read_experiment(tmp_path)


def test_settings_that_set_an_arm_apart_are_told_from_those_of_all(
    experiment_folder: Callable[..., Path],
) -> None:
    shared, own = read_experiment(experiment_folder(steps=10)).settings()
    assert shared == {"model.model": "tiny"}
    assert own == {
        "random": {"data.selector": "random"},
        "insight": {"data.selector": "insight"},
    }


def test_a_version_that_was_resumed_points_to_the_whole_run(
    experiment_folder: Callable[..., Path],
) -> None:
    run = experiment_folder(("random",), seeds=1, steps=10) / "random-seed0"
    for part in sorted((run / "groups.parquet").iterdir())[:1]:
        part.unlink()
    run = run.rename(run.with_name("version_1"))
    (note,) = read_experiment(run).notes
    assert note.startswith("version_1 begins at step 5, so it was resumed: give the folder above")


def test_a_seed_that_the_baseline_lacks_is_named(experiment_folder: Callable[..., Path]) -> None:
    folder = experiment_folder(steps=10)
    shutil.rmtree(folder / "random-seed1")
    assert read_experiment(folder).notes == (
        "insight-seed1 is compared with nothing: random has no run of seed 1.",
    )


def test_a_run_too_short_to_log_times_says_so(experiment_folder: Callable[..., Path]) -> None:
    folder = experiment_folder(seeds=1, steps=6)
    metrics = folder / "insight-seed0/metrics.csv"
    metrics.write_text("epoch,step,val_accuracy\n0,5,0.4\n")
    (note,) = read_experiment(folder).notes
    assert note.startswith("insight-seed0 logged no times (step_ms)")
    assert "log_every_n_steps" in note
    assert "the run has 6 steps" in note
    assert note in write_report(folder).read_text().replace("&#x27;", "'")
