from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*treespec"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists"),
]


def start(folder, *arguments):
    program = [sys.executable, str(Path(__file__).with_name("tiny_run.py")), str(folder)]
    return subprocess.Popen(
        [*program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def kill_at(process, step):
    """SIGKILL a run as soon as it says that it finished a step."""
    for line in process.stdout:
        if line.strip() == f"step {step}":
            break
    process.kill()
    assert process.wait() == -signal.SIGKILL


def test_a_run_killed_twice_ends_as_the_uninterrupted_run(tiny, tmp_path):
    kill_at(start(tmp_path / "killed"), 13)
    last = tmp_path / "killed/checkpoints/last.ckpt"
    kill_at(start(tmp_path / "killed", str(last)), 27)
    module, data = tiny.Learner(), tiny.data()
    tiny.train(tmp_path / "killed", last, module=module, datamodule=data)

    whole, through = tiny.Learner(), tiny.data()
    tiny.train(tmp_path / "whole", module=whole, datamodule=through)
    assert module.dealt == whole.dealt[-len(module.dealt) :]
    assert torch.equal(module.skill, whole.skill)
    for name in ("alpha", "beta", "visits"):
        one, other = (getattr(d.proposer.posterior, name) for d in (data, through))
        assert torch.equal(one, other)
    for name in ("groups.parquet", "beliefs.parquet"):
        one, other = (pq.read_table(tmp_path / f / name) for f in ("killed", "whole"))
        assert one.equals(other)
    one, other = (rollouts(tmp_path / f / "metrics.csv") for f in ("killed", "whole"))
    assert one == other


def rollouts(path):
    with path.open(newline="") as file:
        return [row["rollouts_generated"] for row in csv.DictReader(file)]
