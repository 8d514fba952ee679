"""`insight-ext allocate`, after a run with gps on other prompts."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from insight_ext import PromptPool, SelectionLoop
from insight_ext.cli.main import main
from insight_ext.predictors.allocation import as_many_to_each


def right(level):
    """How often the made-up model answers a prompt of this level right."""
    return 1.0 / (1.0 + np.exp(1.5 * level))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a pool, held-out prompts, and the checkpoint of a run with gps."""
    folder, random = tmp_path_factory.mktemp("trained"), np.random.default_rng(0)
    for name, numbers in (("pool", range(800)), ("held_out", range(800, 1000))):
        levels = random.normal(0.0, 1.5, len(numbers)).tolist()
        rows = [
            {"id": f"p{i}", "prompt": f"{i}?", "answer": "x", "level": level}
            for i, level in zip(numbers, levels, strict=True)
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pool = PromptPool.from_file(folder / "pool.jsonl")
    for selector, options in (("gps", {"features": "meta:level"}), ("uniform", {})):
        loop = SelectionLoop(pool, selector, selector_options=options)
        for _ in range(40):
            for group, _, prompt in loop.deal(64):
                loop.report(group, random.random(8) < right(prompt.meta["level"]))
            loop.end_step()
        loop.save(folder / f"{selector}.pt")
    return folder


def allocate(folder, *more, checkpoint="gps.pt"):
    arguments = ["allocate", "--checkpoint", str(folder / checkpoint)]
    arguments += ["--pool", str(folder / "pool.jsonl"), "--budget", "1600", *more]
    return main([*arguments, "--prompts", str(folder / "held_out.jsonl")])


@pytest.mark.parametrize("bins", [(), ("--bins", "10")], ids=["each", "bins"])
def test_dealt_answers_solve_more_held_out_prompts_than_as_many_to_each(trained, tmp_path, bins):
    assert allocate(trained, *bins, "--output", str(tmp_path / "dealt.csv")) == 0
    with (tmp_path / "dealt.csv").open() as file:
        rows = list(csv.DictReader(file))
    prompts = PromptPool.from_file(trained / "held_out.jsonl")
    assert [row["id"] for row in rows] == list(prompts.ids)
    rates = np.array([right(prompt.meta["level"]) for prompt in prompts])
    predicted = np.array([float(row["predicted"]) for row in rows])
    assert np.corrcoef(predicted, rates)[0, 1] > 0.95
    answers = np.array([int(row["answers"]) for row in rows])
    assert answers.sum() == 1600
    solved, evenly = ((1 - (1 - rates) ** n).mean() for n in (answers, 8))
    assert solved > evenly + 0.03


def test_what_is_gained_is_told(trained, capsys):
    assert allocate(trained) == 0
    *rows, told = capsys.readouterr().out.splitlines()
    assert len(rows) == 20
    assert told.startswith("predicted: a right answer to ")
    dealt, evenly = (float(word[:-1]) for word in told.split() if word.endswith("%"))
    assert dealt > evenly + 3


def test_a_run_that_predicts_no_other_prompts_is_refused(trained, capsys):
    assert allocate(trained, checkpoint="uniform.pt") == 2
    assert "expected a run with the selector gps and features given as text" in (
        capsys.readouterr().err
    )


def test_an_even_deal_gives_the_first_prompts_what_is_left():
    assert as_many_to_each(4, 10).tolist() == [3, 3, 2, 2]


@pytest.mark.parametrize("prior", ["meta:rate", "log:earlier.csv", "empirical"])
def test_held_out_prompts_are_predicted_from_the_prior_of_the_run(
    tmp_path, monkeypatch, capsys, prior
):
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for name, numbers in (("pool", range(300)), ("held_out", range(300, 400))):
        rates = random.integers(0, 9, len(numbers))
        rows = [
            {"id": f"p{i}", "prompt": f"{i}?", "answer": "x", "rate": f"{rate}/8"}
            for i, rate in zip(numbers, rates, strict=True)
        ]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "earlier.csv").write_text("id,step,successes,rollouts\np0,0,8,8\n")
    pool = PromptPool.from_file(tmp_path / "pool.jsonl")
    options = {"features": "ngrams:4", "prior": prior}
    if prior != "empirical":
        options["prior_strength"] = 30
    loop = SelectionLoop(pool, "gps", selector_options=options)
    for group, *_ in loop.deal(80):
        loop.report(group, random.random(8) < 0.1)
    loop.end_step()
    loop.save(tmp_path / "gps.pt")
    assert allocate(tmp_path, "--output", "dealt.csv") == 0
    with (tmp_path / "dealt.csv").open() as file:
        predicted = [float(row["predicted"]) for row in csv.DictReader(file)]
    rates = [int(prompt.meta["rate"][0]) / 8 for prompt in PromptPool.from_file("held_out.jsonl")]
    if prior == "meta:rate":
        assert np.corrcoef(predicted, rates)[0, 1] > 0.95
    elif prior == "empirical":  # about one answer of ten was right
        assert max(predicted) < 0.35
    else:
        assert np.std(predicted) < 0.2
