"""What docs/write_your_own.md shows is short, works as shown, and keeps what the parts promise."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from insight_ext import Prompt, PromptPool, SelectionLoop
from insight_ext.cli.main import main

PAGE = (Path(__file__).parent.parent / "docs/write_your_own.md").read_text()
NAMES = ("strategy", "filter", "engine", "reward", "predictor")
PROGRAMS = dict(zip(NAMES, re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL), strict=True))
POOL = PromptPool(Prompt(f"p{i}", f"{i}+1=", str(i + 1)) for i in range(12))


@pytest.fixture
def mine(request, monkeypatch):
    """The program of this name, run, as a module `mine`."""
    module = ModuleType("mine")
    monkeypatch.setitem(sys.modules, "mine", module)
    exec(PROGRAMS[request.param], module.__dict__)
    return module


@pytest.mark.parametrize("name", NAMES)
def test_a_part_takes_fewer_than_twenty_lines(name):
    for node in ast.parse(PROGRAMS[name]).body:
        lines = ast.get_source_segment(PROGRAMS[name], node).splitlines()
        assert len(list(filter(None, lines))) < 20


@pytest.mark.parametrize("mine", ["strategy"], indirect=True)
def test_a_strategy_is_inspected_compared_and_resumed_by_its_import_path(mine, tmp_path, capsys):
    loop = SelectionLoop(POOL, "mine:LeastKnown", rollouts=4, folder=tmp_path)
    for group, *_ in loop.deal(4):
        loop.report(group, [1.0, 0.0, 0.0, 0.0])
    assert "calibration" in loop.end_step()
    loop.save(tmp_path / "loop.pt")
    loop.close()
    SelectionLoop(POOL, "mine:LeastKnown", rollouts=4).load(tmp_path / "loop.pt")
    assert main(["inspect", str(tmp_path / "loop.pt"), "--strategy", "mine:LeastKnown"]) == 0
    assert "what it would choose next" in capsys.readouterr().out
    tiny = [
        "--learner",
        "logistic",
        "--pool",
        "40",
        "--seeds",
        "2",
        "--steps",
        "2",
        "--prompts",
        "4",
    ]
    assert main(["compare", *tiny, "--strategies", "mine:LeastKnown", "--output", "-"]) == 0
    assert "mine:LeastKnown" in capsys.readouterr().out


@pytest.mark.parametrize("mine", ["filter"], indirect=True)
def test_a_filter_is_taken_by_its_import_path(mine, capsys):
    loop = SelectionLoop(POOL, filter="mine:Hardest", success_threshold=0.5)
    assert loop.filter.success_threshold == 0.5


@pytest.mark.parametrize("mine", ["engine"], indirect=True)
def test_an_engine_is_taken_by_its_import_path_and_draws_what_was_asked(mine):
    from lightning_integration.demo.model import make_model, make_tokenizer
    from lightning_integration.rollouts import Sampling, make_engine

    tokenizer = make_tokenizer("0123456789+=")
    engine = make_engine("mine:InPieces", make_model(tokenizer, layers=1), tokenizer)
    drawn = engine.generate([prompt.prompt for prompt in POOL], 2, Sampling(3, seed=1))
    assert len(drawn) == 2 * len(POOL)
    assert drawn.completion_ids.shape[1] <= 3


@pytest.mark.parametrize("mine", ["reward"], indirect=True)
def test_a_reward_is_taken_by_its_import_path(mine, capsys):
    from lightning_integration.grpo.rewards import make_reward

    assert make_reward("mine:close")(Prompt("a", "1+1=", "2"), "2") == 1.0


@pytest.mark.parametrize("mine", ["predictor"], indirect=True)
def test_a_predictor_tells_of_prompts_never_visited_and_resumes(mine, tmp_path):
    def loop():
        kinds = torch.arange(12) % 2
        return SelectionLoop(POOL, mine.HalfOfAKind(12, mine.ByKind(kinds)), rollouts=4)

    one, other = loop(), loop()
    one.observe(0, [1.0, 1.0, 1.0, 1.0])
    one.end_step()
    assert one.selector.predict([2, 1]).tolist() == pytest.approx([5 / 6, 0.5])
    one.save(tmp_path / "loop.pt")
    other.load(tmp_path / "loop.pt")
    assert other.selector.predict([2, 1]).tolist() == one.selector.predict([2, 1]).tolist()
    assert {each.position % 2 for each in one.deal(6)} == {1}
