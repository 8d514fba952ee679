"""The programs in examples/ do what they say."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest

from insight_ext import PromptPool
from lightning_integration.cli import main
from lightning_integration.demo.model import make_model, make_tokenizer

EXAMPLES = Path(__file__).parent.parent / "examples"

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*treespec"),
    pytest.mark.filterwarnings("ignore:.*eval mode at the start of training"),
]


def test_own_module_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    scope = runpy.run_path(str(EXAMPLES / "own_module.py"), run_name="__main__")
    assert "prompts were visited" in capsys.readouterr().out
    assert scope["data"].loop.step == 200


def test_own_data_trains_an_own_model(tmp_path, monkeypatch):
    monkeypatch.chdir(EXAMPLES.parent)
    monkeypatch.setattr(sys, "argv", ["lightning_integration"])
    prompts = PromptPool.from_jsonl(EXAMPLES / "own_data/prompts.jsonl")
    held_out = PromptPool.from_jsonl(EXAMPLES / "own_data/held_out.jsonl")
    tokenizer = make_tokenizer(
        "".join(sorted({c for p in [*prompts, *held_out] for c in p.prompt}))
    )
    for saved in (make_model(tokenizer, layers=1, heads=1), tokenizer):
        saved.save_pretrained(tmp_path / "model")
    settings = {
        "--model.model": tmp_path / "model",
        "--model.max_new_tokens": 4,
        "--trainer.default_root_dir": tmp_path / "run",
        "--trainer.max_epochs": 1,
        "--trainer.accelerator": "cpu",
        "--data.steps_per_epoch": 2,
    }
    options = [f"{name}={value}" for name, value in settings.items()]
    assert main(["fit", "--config", "configs/own_data.yaml", *options]) == 0
    assert (tmp_path / "run/checkpoints/last.ckpt").exists()


def test_own_data_has_distinct_questions():
    lines = [
        json.loads(line)["prompt"]
        for name in ("prompts", "held_out")
        for line in (EXAMPLES / f"own_data/{name}.jsonl").read_text().splitlines()
    ]
    assert len(set(lines)) == len(lines) == 24
