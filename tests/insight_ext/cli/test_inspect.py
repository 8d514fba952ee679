from __future__ import annotations

from pathlib import Path

import pytest
import torch

from insight_ext import ArgumentError, BeliefError, CheckpointError, Prompt, PromptPool
from insight_ext.beliefs.group import Group
from insight_ext.cli.inspect import inspect
from insight_ext.cli.main import main
from insight_ext.filters import VCRL
from insight_ext.selectors import Selector
from lightning_integration import PromptDataModule
from lightning_integration.state import SelectionState

POOL = PromptPool(Prompt(f"p{i}", f"{i}?", str(i)) for i in range(40))


def trained(selector="insight", steps=3, **options):
    """A data module after some steps of 4 prompts, with one more batch dealt."""
    data = PromptDataModule(POOL, selector, prompts_per_step=4, steps_per_epoch=9, **options)
    batches = iter(data.loader)
    for _ in range(steps):
        batch = next(batches)
        data.loader.observe(batch["indices"], torch.tensor([0, 2, 7, 8]), 8)
    next(batches)
    return data


def content(data, chosen=None):
    """What a trainer's checkpoint holds, as far as it matters here."""
    totals = {"rollouts_generated": 96, "train_seconds": 12.3}
    return {
        "pytorch-lightning_version": "2.6.6",
        "epoch": 1,
        "global_step": 3,
        "callbacks": {"Other": {}, "Selection": SelectionState(data, chosen).save() | totals},
    }


def shown(path, saved, capsys, *options):
    """What the command prints about it, as {name: text} and the lines below."""
    torch.save(saved, path)
    assert main(["inspect", str(path), *options]) == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    facts = dict(line.split("  ", 1) for line in lines[1:] if line[:1].isalpha() and "  " in line)
    return {name: text.strip() for name, text in facts.items()}, lines


def test_the_state_of_the_pool_is_told(tmp_path, capsys):
    data = trained()
    facts, lines = shown(tmp_path / "c.ckpt", content(data), capsys)
    pending = ", ".join(f"p{i}" for i in data.selector.state_dict()["pending"][0].tolist())
    assert facts["checkpoint"] == "epoch 1, step 3, of Lightning 2.6.6; selection in format 3"
    assert facts["pool"] == f"40 prompts, fingerprint {POOL.fingerprint}"
    assert facts["strategy"] == "InSight, seed 0, prior (1.0, 1.0), decay 0.5, half-life none"
    assert facts["selections"] == "4; 4 batches dealt, 3 observed"
    assert facts["rollouts"] == "96 generated in 12 seconds of training"
    assert facts["in flight"] == f"4 prompts ({pending})"
    assert facts["groups out"] == "none: results come with their step"
    assert facts["filter"] == "none"
    visited = int((data.selector.posterior.visits > 0).sum())
    assert f"beliefs in the checkpoint: {visited} of 40 prompts visited" in lines


def test_the_strongest_and_the_weakest_evidence_are_listed(tmp_path, capsys):
    data = trained(steps=0)
    data.selector.observe([0, 1], [400, 0], [800, 1])
    _, lines = shown(tmp_path / "c.ckpt", content(data), capsys, "--rows", "1")
    strongest, weakest = (lines.index(f"{name} evidence") for name in ("strongest", "weakest"))
    assert lines[strongest + 2].split()[:2] == ["p0", "0.50"]
    assert lines[weakest + 2].split()[:2] == ["p1", "0.33"]
    assert len(lines) == weakest + 3


def test_groups_that_are_out_are_told(tmp_path, capsys):
    data = trained(max_staleness=2)
    facts, _ = shown(tmp_path / "c.ckpt", content(data), capsys)
    assert facts["groups out"].startswith("16 prompts (p")
    assert facts["groups out"].endswith(
        ", ...), dealt in steps 0 to 3; 0 closed incomplete, 0 duplicates"
    )


def test_the_filter_and_its_memory_are_told(tmp_path, capsys):
    chosen = VCRL(late=0.5, success_threshold=1.0)
    batch = [Group(0, (1.0, 0.0)), Group(1, (0.0, 1.0))]
    chosen.judge([batch], target=2, refillable=False)
    facts, _ = shown(tmp_path / "c.ckpt", content(trained(), chosen), capsys)
    assert facts["filter"] == (
        "VCRL (success_threshold 1.0, early 0.3, late 0.5, warmup 20, momentum 0.9), "
        "1 steps, 4 rollouts, 2 prompts remembered"
    )


def test_what_else_a_strategy_keeps_is_told(tmp_path, capsys):
    facts, _ = shown(tmp_path / "c.ckpt", content(trained("uniform")), capsys)
    assert facts["strategy"].endswith("half-life none, queue of shape (24,)")


class Plain(Selector):
    """A strategy without beliefs."""

    def select(self, k):
        return torch.arange(k)

    def observe(self, indices, successes, rollouts):
        pass

    def metrics(self):
        return {}

    def state_dict(self):
        return {"asked": 3}

    def load_state_dict(self, state):
        pass


def test_a_strategy_without_beliefs_is_told_too(tmp_path, capsys):
    facts, lines = shown(tmp_path / "c.ckpt", content(trained(Plain())), capsys)
    assert facts["strategy"] == "an own one, asked 3"
    assert lines[-1] == "the strategy keeps no beliefs"


def test_lines_fit_80_columns_where_names_allow(tmp_path, capsys):
    _, lines = shown(tmp_path / "c.ckpt", content(trained()), capsys)
    assert max(len(line) for line in lines[1:] if not line.startswith("pool")) <= 80


def refused(path, capsys):
    assert main(["inspect", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("insight_ext inspect: ")
    assert error.count("\n") == 1
    return error


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_file_is_refused(tmp_path, capsys, share):
    path = tmp_path / "c.ckpt"
    torch.save(content(trained()), path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert "cannot read this checkpoint" in refused(path, capsys)


def test_other_files_are_refused(tmp_path, capsys):
    path = tmp_path / "c.ckpt"
    assert "cannot read" in refused(path, capsys)
    torch.save({"state_dict": {}}, path)
    assert "written by a Lightning trainer" in refused(path, capsys)
    torch.save(content(trained()) | {"callbacks": {}}, path)
    assert "holds no beliefs" in refused(path, capsys)
    assert "cannot read" in refused(Path(__file__), capsys)


def test_another_format_is_refused(tmp_path, capsys):
    saved = content(trained())
    saved["callbacks"]["Selection"]["format"] = 1
    torch.save(saved, tmp_path / "c.ckpt")
    assert "has format 1: expected 3" in refused(tmp_path / "c.ckpt", capsys)


def test_a_damaged_state_is_refused(tmp_path, capsys):
    saved = content(trained())
    del saved["callbacks"]["Selection"]["selector"]["posterior"]["visits"]
    torch.save(saved, tmp_path / "c.ckpt")
    assert "expected visits of shape (40,)" in refused(tmp_path / "c.ckpt", capsys)
    del saved["callbacks"]["Selection"]["loader"]["drawn"]
    torch.save(saved, tmp_path / "c.ckpt")
    assert "the selection's state is damaged: KeyError('drawn')" in refused(
        tmp_path / "c.ckpt", capsys
    )
    saved = content(trained())
    saved["callbacks"]["Selection"]["selector"]["posterior"]["alpha"][7] = -1
    torch.save(saved, tmp_path / "c.ckpt")
    with pytest.raises(BeliefError, match=r"alpha\[7\]"):
        inspect(tmp_path / "c.ckpt")


def test_a_negative_number_of_rows_is_refused(tmp_path):
    with pytest.raises(ArgumentError, match="rows: expected 0 or more, got -1"):
        inspect(tmp_path / "none.ckpt", rows=-1)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="a checkpoint's file, got a folder"):
        inspect(tmp_path)
