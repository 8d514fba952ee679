from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from insight_ext import ArgumentError, BetaPosteriors
from insight_ext.cli.main import main
from insight_ext.cli.top import top, view
from insight_ext.runs.reader import RunFolder
from insight_ext.runs.writer import RunWriter
from lightning_integration.metrics_file import MetricsFile

ROOT = Path(__file__).parents[3]


@pytest.fixture
def folder(tmp_path):
    """What a run of 60 steps has left so far."""
    run = tmp_path / "run"
    metrics, history, beliefs = MetricsFile(run), RunWriter(run), BetaPosteriors(2_000)
    for step in range(60):
        beliefs.observe([step, step + 1], [step % 9, 8], 8)
        row = {
            "reward_mean": step / 100,
            "frac_mixed": 0.25,
            "selection_ms": 0.347,
            "step_ms": 1234.0,
            "train_seconds": 100 + step / 4,
            "rollouts_generated": 16.0 * (step + 1),
        }
        metrics.log_metrics(row, step)
        if step % 20 == 0:
            metrics.log_metrics({"val_accuracy": 0.5, "staleness_mean": 1.5}, step)
            history.add_beliefs(step, beliefs)
    history.close()
    return run


def frame(folder):
    """One frame as plain lines, a minute and a quarter after the run wrote last."""
    run, console = RunFolder(folder), Console(width=80, file=StringIO())
    console.print(view(run, run.written + 75))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_a_frame_shows_what_the_run_logged(folder):
    lines = frame(folder)
    assert lines[0].endswith("run")
    assert lines[1] == "60 steps, 4 steps/s, 960 rollouts, 0:01:54 of training, written 0:01:15 ago"
    cells = [re.split(r"\s{2,}", line) for line in lines if "%" in line or "▅" in line]
    assert {label: rest for label, *rest in cells} == {
        "reward": ["0.590", "0.295", "▁▁▁▂▂▂▃▃▃▃▄▄▄▄▅▅▅▅▆▆▆▆▇▇▇▇██"],
        "mixed groups": ["25.0 %", "25.0 %", 28 * "▅"],
        "held-out accuracy": ["50.0 %", "50.0 %", "▅▅▅"],
        "staleness, mean": ["1.5 steps", "1.5 steps", "▅▅▅"],
        "selection": ["0.347 ms", "0.347 ms", 28 * "▅"],
        "step": ["1,234 ms", "1,234 ms", 28 * "▅"],
    }
    assert "beliefs after 41 steps: 42 of 2,000 prompts visited" in lines


def test_a_frame_fits_a_small_terminal(folder):
    lines = frame(folder)
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80


def test_an_empty_folder_is_waited_for(tmp_path, capsys):
    assert main(["top", str(tmp_path), "--once"]) == 0
    assert "nothing logged yet: waiting" in capsys.readouterr().out


def test_other_folders_give_one_line_of_error(tmp_path, capsys):
    assert main(["top", str(tmp_path / "none"), "--once"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("insight-ext top: expected a run's folder, got")
    assert error.count("\n") == 1


@pytest.mark.parametrize("every", [0.0, -1.0, float("nan")])
def test_an_interval_of_nothing_is_refused(folder, every):
    with pytest.raises(ArgumentError, match="every: expected seconds above 0"):
        top(folder, every, once=True)


def test_an_output_that_is_no_terminal_gets_one_frame(folder, capsys):
    assert main(["top", str(folder)]) == 0
    assert capsys.readouterr().out.count("mixed groups") == 1


def test_it_follows_the_run_until_it_is_interrupted(folder):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "insight_ext", "top", str(folder), "--every", "0.05"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "80"}
    process = subprocess.Popen(
        command, stdout=theirs, stderr=theirs, env=environment, preexec_fn=hear_interrupts
    )
    os.close(theirs)
    seen = read_until(ours, b"60 steps")
    metrics = MetricsFile(folder)
    metrics.log_metrics({"reward_mean": 1.0}, 60)
    seen += read_until(ours, b"61 steps")
    process.send_signal(signal.SIGINT)
    rest = read_until(ours, None)
    assert process.wait() == 0
    assert b"Traceback" not in seen + rest
    assert b"61 steps" in rest  # the last view stays
    os.close(ours)


def hear_interrupts():
    """A shell has its background processes ignore Ctrl-C, and they pass that on."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def read_until(terminal, text):
    """What the process wrote up to `text`; None: up to its end."""
    seen = b""
    while text is None or text not in seen:
        try:
            seen += os.read(terminal, 65536)
        except OSError:  # how a pseudoterminal tells that the other side is closed
            assert text is None, seen.decode()
            break
    return seen
