"""Ctrl-C ends every program with its own exit status, also inside code that is given as text."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

STOPPED = """
import runpy, signal, sys
from importlib import import_module

_, module, function, program, *arguments = sys.argv

def stopped(*arguments, **options):
    eval("signal.raise_signal(signal.SIGINT)")

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by programs in the background
setattr(import_module(module), function, stopped)
sys.argv = [program, *arguments]
runpy.run_module(program, run_name="__main__")
"""


@pytest.mark.parametrize(
    "words",
    [
        "insight_ext.cli.build_info run insight_ext build-info",
        "benchmarks.bench_select against_the_sum benchmarks --quick",
    ],
)
def test_ctrl_c_ends_a_program_with_its_own_status(words, tmp_path):
    (tmp_path / "stopped.py").write_text(STOPPED)
    ended = subprocess.run(
        [sys.executable, "-m", "stopped", *words.split()],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, "stopped" in ended.stderr) == (130, True), ended.stderr
    assert "Traceback" not in ended.stderr
