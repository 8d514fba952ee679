"""Real processes, killed by a real SIGKILL at random moments: nothing may be lost."""

from __future__ import annotations

import csv
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from insight_ext.distributed.ranks import digest

pytestmark = pytest.mark.filterwarnings("ignore")
KILLS = 10
LONGEST = 0.4  # seconds from a run's first step to its kill
EPOCHS = {"insight": 150, "gps": 80}  # long enough not to end before the last kill


def start(folder, selector):
    program = Path(__file__).with_name("tiny_run.py")
    return subprocess.Popen(
        [sys.executable, str(program), str(folder), selector, str(EPOCHS[selector])],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def steps(lines):
    """(step, prompts) of each whole line that a run has printed."""
    numbers = [list(map(int, line.split())) for line in lines if line.endswith("\n")]
    return [(step, prompts) for step, *prompts in numbers]


def killed_at_random(folder, selector, chance):
    """Start or resume a run and kill it soon after its first step; what it dealt."""
    process = start(folder, selector)
    first = process.stdout.readline()
    try:
        process.wait(timeout=LONGEST * chance.random())
    except subprocess.TimeoutExpired:
        process.kill()
    lines = [first, *process.stdout]
    assert process.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    return steps(lines)


@pytest.mark.parametrize("selector", sorted(EPOCHS))
def test_a_run_killed_ten_times_ends_as_the_uninterrupted_run(tiny, tmp_path, selector):
    chance = random.Random(f"{selector} 1")
    attempts = [killed_at_random(tmp_path / "killed", selector, chance) for _ in range(KILLS)]
    last = start(tmp_path / "killed", selector)
    attempts.append(steps(last.stdout))
    assert last.wait() == 0
    whole = start(tmp_path / "whole", selector)
    dealt = dict(steps(whole.stdout))
    assert whole.wait() == 0
    assert sorted(dealt) == list(range(EPOCHS[selector] * tiny.STEPS))

    covered = 0
    for attempt in attempts:
        begin, end = attempt[0][0], attempt[-1][0]
        # From the last checkpoint on, which is at most five steps back, and mid-epoch, too.
        assert covered - 5 <= begin <= covered
        assert attempt == [(step, dealt[step]) for step in range(begin, end + 1)]
        covered = end + 1
    assert covered == len(dealt)

    states = [
        torch.load(tmp_path / f / "last.ckpt", weights_only=True) for f in ("killed", "whole")
    ]
    for part in ("state_dict", "optimizer_states"):
        torch.testing.assert_close(*(state[part] for state in states), rtol=0, atol=0)
    selections = [state["callbacks"]["PromptSelectionCallback"] for state in states]
    for selection in selections:
        del selection["train_seconds"]
    assert digest(selections[0]) == digest(selections[1])
    for name in ("groups.parquet", "beliefs.parquet"):
        one, other = (pq.read_table(tmp_path / f / name) for f in ("killed", "whole"))
        assert one.equals(other)
    # Lightning logs a step after its checkpoint; the row between the two may be lost.
    killed, uninterrupted = (rows(tmp_path / f / "metrics.csv") for f in ("killed", "whole"))
    assert killed.items() <= uninterrupted.items()
    missing = sorted(uninterrupted.keys() - killed.keys())
    assert len(missing) <= KILLS
    resumed_at = {attempt[0][0] for attempt in attempts}
    assert {step + 1 for step, *_ in missing} <= resumed_at


def rows(path):
    """What every run must have logged alike, by step and kind of row."""
    with path.open(newline="") as file:
        return {
            (int(row["step"]), row["val_accuracy"] != ""): row["selection/rollouts_generated"]
            for row in csv.DictReader(file)
        }
