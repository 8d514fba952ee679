"""Several real processes (gloo) with one loop between them, and no trainer."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("several_loops.py")
STEPS = 6


def run(folder, size, killed=-1):
    """What each process left, and how it ended."""
    folder.mkdir(exist_ok=True)
    processes = [
        subprocess.Popen(
            [sys.executable, PROGRAM, *map(str, (folder, rank, size, STEPS, killed))],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
    errors = [process.communicate()[1] for process in processes]
    codes = {process.returncode for process in processes}
    if killed >= 0:
        assert codes == {-signal.SIGKILL}, errors
        return []
    assert codes == {0}, errors
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(size)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    (result,) = run(tmp_path_factory.mktemp("alone"), 1)
    return result


@pytest.mark.parametrize("size", [2, 3])
def test_several_processes_deal_and_believe_what_one_would(alone, tmp_path, size):
    for result in run(tmp_path, size):
        assert result == alone


def test_a_killed_loop_goes_on_with_another_number_of_processes(alone, tmp_path):
    run(tmp_path, 3, killed=3)
    for result in run(tmp_path, 2):
        assert result["dealt"] == alone["dealt"][4:]
        assert result["state"] == alone["state"]
