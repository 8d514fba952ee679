from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from insight_ext.report.summary import SummaryRow
from lightning_integration.demo.experiment import main, summary

SETTINGS = {
    "pool": {"number": 20, "add-1": 12},
    "held_out": {"add-1": 4},
    "warm_start": {
        "task": "arithmetic",
        "mastery": {"number": 1.0, "add-1": 1.0},
        "model": {"layers": 1, "heads": 1, "feed_forward": 64},
        "steps": 4,
        "batch_size": 8,
    },
    "arms": {"uniform": {"selector": "uniform"}, "insight": {"selector": "insight"}},
    "seeds": [0],
    "fit": {
        "trainer": {"accelerator": "cpu", "num_sanity_val_steps": 0, "val_check_interval": 2},
        "data": {"prompts_per_step": 4, "steps_per_epoch": 4},
        "model": {"reward": "reasoning_gym", "max_new_tokens": 4},
    },
}


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    place = tmp_path_factory.mktemp("experiment")
    config = place / "tiny.yaml"
    config.write_text(yaml.safe_dump(SETTINGS, sort_keys=False))
    arguments = ["--config", str(config), "--folder", str(place / "run")]
    arguments += ["--models", str(place / "models"), "--workers", "2"]
    command = [sys.executable, "-m", "lightning_integration.demo", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return place, arguments, done.stderr


def test_one_command_leaves_runs_and_a_report(experiment):
    place, *_ = experiment
    for arm in SETTINGS["arms"]:
        run = place / "run" / f"{arm}-seed0"
        for name in ("config.yaml", "metrics.csv", "checkpoints/last.ckpt", "groups.parquet"):
            assert (run / name).exists(), name
    assert (place / "run/report.html").exists()
    written = json.loads((place / "run/experiment.json").read_text())
    assert list(written["arms"]) == list(SETTINGS["arms"])


def test_without_a_terminal_it_tells_stage_arm_and_step_in_plain_lines(experiment):
    *_, told = experiment
    last = told.splitlines()[-1]
    assert last == "training: arm 2 of 2, 12 of 12 steps"
    assert all(line.startswith("training: ") for line in told.splitlines())


def test_ctrl_c_says_what_is_kept_and_the_same_command_goes_on(tmp_path):
    config = tmp_path / "tiny.yaml"
    settings = {**SETTINGS, "warm_start": {**SETTINGS["warm_start"], "steps": 2000}}
    config.write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-m", "lightning_integration.demo"]
    command += ["--config", str(config), "--folder", str(tmp_path / "run")]
    command += ["--models", str(tmp_path / "models")]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("training: warm start, ")
        os.killpg(process.pid, signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130
    assert "Traceback" not in rest
    assert rest.splitlines()[-1].endswith("the same command goes on")


def test_the_same_command_again_trains_nothing_again(experiment, capsys):
    place, arguments, _ = experiment
    metrics = place / "run/insight-seed0/metrics.csv"
    before = metrics.stat().st_mtime_ns
    assert main(arguments) == 0
    assert metrics.stat().st_mtime_ns == before
    assert "Report:" in capsys.readouterr().out


def test_other_settings_do_not_overwrite_the_experiment(experiment, capsys):
    place, arguments, _ = experiment
    other = place / "other.yaml"
    other.write_text(yaml.safe_dump({**SETTINGS, "seeds": [1]}))
    assert main(["--config", str(other), *arguments[2:]]) == 2
    assert "holds an experiment with other settings" in capsys.readouterr().err


def test_a_failed_run_shows_the_end_of_its_log(tmp_path, capsys):
    config = tmp_path / "bad.yaml"
    fit = {**SETTINGS["fit"], "model": {"reward": "nonsense"}}
    config.write_text(yaml.safe_dump({**SETTINGS, "fit": fit}))
    arguments = ["--folder", str(tmp_path / "run"), "--models", str(tmp_path / "models")]
    assert main(["--config", str(config), *arguments]) == 2
    assert "unknown reward 'nonsense'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        ({"selector": "nonsense"}, "arm 'mine': unknown selector 'nonsense'"),
        ({"selector": "nowhere:It"}, "arm 'mine': selector 'nowhere:It': cannot import it"),
        (
            {"selector": "insight", "selector_options": {"decya": 1}},
            "got 'decya'; did you mean 'decay'?",
        ),
    ],
)
def test_an_arm_that_cannot_run_is_named_before_anything_starts(tmp_path, capsys, arm, message):
    config, folder = tmp_path / "bad.yaml", tmp_path / "run"
    config.write_text(yaml.safe_dump({**SETTINGS, "arms": {"mine": arm}}))
    arguments = ["--folder", str(folder), "--models", str(tmp_path / "models")]
    assert main(["--config", str(config), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not folder.exists()
    assert not (tmp_path / "models").exists()


def test_the_numbers_are_readable_at_80_columns():
    question = "Steps needed to reach uniform's final accuracy (uniform needs 1)"
    seeds = "> 0.75 (seeds: 0.69, > 0.77, 0.66, 0.70, 0.81); not reached in 1 of 5"
    rows = [
        SummaryRow(question, "insight-paper", seeds),
        SummaryRow(question, "insight", "0.69"),
        SummaryRow("Seconds", "insight", "0.85 ± 0.09"),
    ]
    lines = summary(rows).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines == [
        "",
        question,
        "  insight-paper  > 0.75 (seeds: 0.69, > 0.77, 0.66, 0.70, 0.81); not reached in",
        "                 1 of 5",
        "  insight        0.69",
        "",
        "Seconds",
        "  insight        0.85 ± 0.09",
    ]


def test_a_missing_configuration_is_named(tmp_path, capsys):
    assert main(["--config", str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml: expected a YAML file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fit", "options", "message"),
    [
        (SETTINGS["fit"], ["--workers", "0"], "workers: expected at least 1, got 0"),
        (SETTINGS["fit"], ["--seeds", "0"], "seeds: expected at least one"),
        ({"data": {"prompts_per_step": 4}}, [], "fit.data.steps_per_epoch: expected"),
        ({"data": {"steps_per_epoch": "many"}}, [], "fit.data.steps_per_epoch: expected"),
        ({}, [], "fit.data.steps_per_epoch: expected"),
    ],
)
def test_bad_settings_are_named_before_anything_is_written(tmp_path, capsys, fit, options, message):
    config, folder = tmp_path / "bad.yaml", tmp_path / "run"
    config.write_text(yaml.safe_dump({**SETTINGS, "fit": fit}))
    places = ["--folder", str(folder), "--models", str(tmp_path / "models")]
    assert main(["--config", str(config), *places, *options]) == 2
    assert message in capsys.readouterr().err
    assert not folder.exists()


def started(tmp_path):
    """An experiment that would take hours, under way in a process of its own, and its first run."""
    settings = {**SETTINGS, "warm_start": {**SETTINGS["warm_start"], "steps": 10**6}}
    config = tmp_path / "long.yaml"
    config.write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-m", "lightning_integration.demo", "--config", config]
    command += ["--folder", tmp_path / "run", "--models", tmp_path / "models"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while not (found := children.read_text().split()):
        assert process.poll() is None, process.stderr.read()
    return process, os.pidfd_open(int(found[0]))


def has_ended(pidfd, seconds=60):
    """Whether a process has ended, or does so in time."""
    return bool(select.select([pidfd], [], [], seconds)[0])


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_its_runs_end_with_it(tmp_path, how):
    process, run = started(tmp_path)
    process.send_signal(how)
    assert process.wait(60) in (-signal.SIGKILL, 128 + how)
    assert has_ended(run)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_second_start_in_one_folder_is_refused(tmp_path, capsys):
    process, _ = started(tmp_path)
    try:
        arguments = ["--config", str(tmp_path / "long.yaml"), "--folder", str(tmp_path / "run")]
        assert main(arguments) == 2
        assert "expected a folder that no other run writes" in capsys.readouterr().err
    finally:
        process.terminate()
        process.wait()
