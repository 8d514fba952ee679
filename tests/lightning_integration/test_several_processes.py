"""Several real processes (gloo) against one: the same choices, the same beliefs."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import signal
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from insight_ext.distributed.ranks import digest

PROGRAM = Path(__file__).with_name("several_run.py")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def several():
    """The module several_run.py."""
    spec = importlib.util.spec_from_file_location("several_run", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def start(folder, **options):
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), str(folder), json.dumps(options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def run(folder, **options):
    """Run to the end; what each process left."""
    process = start(folder, **options)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return ends(folder, options["devices"])


def ends(folder, devices):
    return [torch.load(folder / f"rank{rank}.pt") for rank in range(devices)]


def alone(several, folder, **options):
    folder.mkdir(exist_ok=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        several.main(folder, **options)
    finally:
        torch.set_num_threads(threads)
    return ends(folder, 1)[0]


def steps(parts):
    """The prompts of each step, from the shares of all processes."""
    shares = zip(*(part["dealt"] for part in parts), strict=True)
    return [list(chain.from_iterable(step)) for step in shares]


def column(folder, name):
    with (folder / "metrics.csv").open(newline="") as file:
        return [row[name] for row in csv.DictReader(file) if row[name]]


@pytest.mark.parametrize(("devices", "selector", "prompts"), [(2, "mopps", 7), (4, "insight", 8)])
def test_several_processes_choose_and_believe_what_one_would(
    several, tmp_path, devices, selector, prompts
):
    options = {"selector": selector, "prompts_per_step": prompts}
    parts = run(tmp_path / "several", devices=devices, **options)
    whole = alone(several, tmp_path / "one", **options)
    assert steps(parts) == whole["dealt"]
    assert all(len(set(step)) == prompts for step in steps(parts))
    assert {digest(part["selector"]) for part in parts} == {digest(whole["selector"])}
    for name in ("groups.parquet", "beliefs.parquet"):
        assert pq.read_table(tmp_path / "several" / name).equals(
            pq.read_table(tmp_path / "one" / name)
        )
    for name in (
        "selection/frac_mixed",
        "selection/reward_mean",
        "selection/rollouts_generated",
        "selection/calibration",
    ):
        assert column(tmp_path / "several", name) == column(tmp_path / "one", name)


def test_a_killed_run_goes_on_with_another_number_of_processes(several, tmp_path):
    killed = start(tmp_path / "killed", devices=2, module={"kind": "learner", "killed_on": [0, 8]})
    killed.communicate()  # ends when the other process, too, has closed its pipes
    assert killed.returncode == -signal.SIGKILL
    last = str(tmp_path / "killed/last.ckpt")
    whole = alone(several, tmp_path / "whole")
    more = run(tmp_path / "four", devices=4, ckpt_path=last)
    fewer = alone(several, tmp_path / "one", ckpt_path=last)
    assert steps(more) == fewer["dealt"] == whole["dealt"][5:]
    ended = {digest(part["selector"]) for part in (*more, fewer, whole)}
    assert len(ended) == 1


def test_a_model_split_among_processes_is_dealt_the_same(several, tmp_path):
    options = {"devices": 2, "strategy": "fsdp2"}
    killed = start(tmp_path / "fsdp2", module={"kind": "sharded", "killed_on": [0, 8]}, **options)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    last = str(tmp_path / "fsdp2/last.ckpt")
    parts = run(tmp_path / "fsdp2", module={"kind": "sharded"}, ckpt_path=last, **options)
    whole = alone(several, tmp_path / "one")
    assert steps(parts) == whole["dealt"][5:]
    assert {digest(part["selector"]) for part in parts} == {digest(whole["selector"])}


def test_a_checkpoint_that_is_a_folder_is_refused(tmp_path):
    module = {"kind": "sharded"}
    process = start(tmp_path, devices=2, module=module, strategy="fsdp2 folder")
    _, errors = process.communicate()
    assert process.returncode != 0
    assert "writes a checkpoint as one file, got a folder" in errors
    assert not [path for path in tmp_path.iterdir() if "ckpt" in path.name]


def test_grpo_refuses_a_model_split_among_processes(tmp_path):
    process = start(tmp_path, devices=2, module={"kind": "grpo"}, strategy="fsdp2")
    _, errors = process.communicate()
    assert process.returncode != 0
    assert "expected one process or strategy=ddp, got ModelParallelStrategy" in errors


@pytest.mark.parametrize("filter", [None, "dynamic_sampling", "speed"])
def test_grpo_on_several_processes_learns_what_one_would(several, tmp_path, filter):
    options = {
        "module": {"kind": "grpo", "filter": filter},
        "steps_per_epoch": 3,
        "prompts_per_step": 4,
    }
    parts = run(tmp_path / "several", devices=2, **options)
    whole = alone(several, tmp_path / "one", **options)
    assert {digest(part["selector"]) for part in parts} == {digest(whole["selector"])}
    for one, other, expected in zip(*(p["parameters"] for p in (*parts, whole)), strict=True):
        assert torch.equal(one, other)
        torch.testing.assert_close(one, expected, rtol=1e-4, atol=1e-5)
    for name in ("val_accuracy", "val_accuracy/ends in 1", "selection/frac_mixed"):
        assert column(tmp_path / "several", name) == column(tmp_path / "one", name)
    for name in ("loss", "gradient_norm"):
        pairs = zip(*(column(tmp_path / f, name) for f in ("several", "one")), strict=True)
        assert all(float(a) == pytest.approx(float(b), abs=1e-5) for a, b in pairs)


def test_the_real_engine_draws_other_numbers_on_each_process(tmp_path):
    module = {"kind": "grpo", "prompt_by_prompt": False}
    parts = run(tmp_path, devices=2, module=module, steps_per_epoch=3, prompts_per_step=4)
    one, other = (part["parameters"] for part in parts)
    assert all(torch.equal(*pair) for pair in zip(one, other, strict=True))


def test_an_error_of_one_process_ends_all(tmp_path):
    process = start(tmp_path, devices=2, module={"kind": "learner", "fail_on": [1, 3]})
    output, errors = process.communicate()
    assert process.returncode != 0
    assert "rank 1: rewards[0, 0], prompt" in errors
    assert "no belief was changed" in errors
    assert "step 4" not in output


def test_processes_with_different_pools_are_told(tmp_path):
    process = start(tmp_path, devices=2, sizes=[60, 61])
    _, errors = process.communicate()
    assert process.returncode != 0
    assert "pool: expected the same on all 2 processes, got rank 0: " in errors
    assert "(60 prompts); rank 1: " in errors
    assert "(61 prompts)" in errors
    assert not list(tmp_path.iterdir())


def test_fewer_prompts_than_processes_are_refused(tmp_path):
    process = start(tmp_path, devices=2, prompts_per_step=1)
    _, errors = process.communicate()
    assert process.returncode != 0
    expected = "prompts_per_step: expected at least one prompt for each of 2 processes, got 1"
    assert expected in errors
