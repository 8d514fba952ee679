"""What the README shows works as shown."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from insight_ext import Prompt, PromptPool
from insight_ext.runs.writer import RunWriter
from lightning_integration import PromptDataModule
from lightning_integration.metrics_file import MetricsFile

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
# Indented lines, those that end in a backslash joined with the next.
COMMANDS = re.findall(r"^    (insight-ext .*)", README.replace("\\\n       ", ""), re.MULTILINE)
PROGRAMS = [  # those for other trainers are run beside the trainers' tests
    program
    for program in re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    if "insight_ext.adapters" not in program
]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.split("\n", 1)[0])
def test_a_program_in_the_readme_runs(program, tmp_path):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def leave_a_run(folder, pool):
    """What a run leaves that visited the whole pool, epoch after epoch, and learned."""
    history, metrics = RunWriter(folder), MetricsFile(folder)
    indices = torch.arange(len(pool))
    for step in range(6):
        successes = (indices % 7 + step).clamp(max=8)
        eight = torch.full_like(successes, 8)
        history.add_groups(step, pool.ids, indices, successes, eight, successes / 8)
        metrics.log_metrics({"val_accuracy": step / 10, "step_ms": 3.0}, step)
    history.close()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with the runs that the README's commands are about."""
    place = tmp_path_factory.mktemp("readme")
    pool = PromptPool(Prompt(f"p{i}", f"{i}+1=", str(i + 1)) for i in range(300))
    inputs = place / "runs/addition/inputs/seed0"
    inputs.mkdir(parents=True)
    pool.to_jsonl(inputs / "pool.jsonl")
    for name in ("addition/insight-seed0", "addition/uniform-seed0", "own_data"):
        leave_a_run(place / "runs" / name, pool)
    state = {"loop": PromptDataModule(pool).begin().state_dict(), "train_seconds": 0.0}
    saved = {"pytorch-lightning_version": "2.6.6", "callbacks": {"selection": state}}
    (place / "runs/own_data/checkpoints").mkdir()
    torch.save(saved, place / "runs/own_data/checkpoints/last.ckpt")
    return place


def test_every_command_on_a_run_is_shown():
    names = [command.split()[1] for command in COMMANDS]
    assert names == ["report", "top", "inspect", "rank", "curate", "compare"]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c.split()[1])
def test_a_command_in_the_readme_runs(command, runs):
    words = shlex.split(command, comments=True)
    done = subprocess.run(
        [sys.executable, "-m", "insight_ext", *words[1:]],
        cwd=runs,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    if "--output" in words:
        assert (runs / words[words.index("--output") + 1]).exists()


def test_the_readme_opens_with_the_two_commands():
    commands = re.findall(r"^    (make \w+)", README, re.MULTILINE)
    assert commands[:2] == ["make train", "make test"]
    assert README.index("make train") < 100


def test_the_lines_for_trl_and_lightning_stand_together_before_the_long_story():
    titles = re.findall(r"^## (.*)", README, re.MULTILINE)
    assert titles[:2] == ["Install", "In your trainer"]
    section = README.partition("## In your trainer")[2].partition("\n## ")[0]
    assert section.index("\n**TRL**") < section.index("select_prompts(trainer")
    assert section.index("select_prompts(trainer") < section.index("\n**Lightning**")
    assert "PromptSelectionCallback()" in section


def test_links_and_pictures_lead_somewhere():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_make_targets_named_in_the_documents_exist():
    makefile = (ROOT / "Makefile").read_text()
    for document in ("README.md", "CONTRIBUTING.md"):
        for target in re.findall(r"\bmake ([a-z]+)\b", (ROOT / document).read_text()):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{document}: make {target}"
