"""Answers of saved models, and the curators that need no more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
import torch

from insight_ext import ArgumentError, EngineError, Prompt, PromptPool
from insight_ext.atomic_file import unfinished
from insight_ext.cli.main import main as insight_ext
from insight_ext.curators import lim, point_biserial
from insight_ext.offline.logs import read_answers, read_log
from insight_ext.offline.tables import write_columns
from lightning_integration.cli import main
from lightning_integration.demo.model import make_model, make_tokenizer
from lightning_integration.rollouts import TransformersEngine
from lightning_integration.sample import SETTINGS_FILE, sample

POOL = PromptPool(Prompt(f"q{i}", f"{i}+1=", str(i % 4)) for i in range(10))
SETTINGS = {"answers": 6, "max_new_tokens": 3, "prompts_per_call": 4, "reward": f"{__name__}:ends"}


def ends(prompt, completion):
    """Of prompt q3 nothing can be said."""
    return None if prompt.id == "q3" else float(completion[-1:] < "5")


def stingy(model, tokenizer):
    """An engine that draws an answer less than asked for."""
    engine = TransformersEngine(model, tokenizer)
    drawn = engine.generate
    engine.generate = lambda prompts, n, sampling: drawn(prompts, n - 1, sampling)
    return engine


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folders = [tmp_path_factory.mktemp("model") for _ in range(2)]
    tokenizer = make_tokenizer("0123456789+=")
    for seed, folder in enumerate(folders):
        for saved in (make_model(tokenizer, layers=1, heads=1, seed=seed), tokenizer):
            saved.save_pretrained(folder)
    return folders


@pytest.fixture(scope="module")
def drawn(models, tmp_path_factory):
    output = tmp_path_factory.mktemp("drawn") / "answers.parquet"
    sample(models, POOL, output, **SETTINGS)
    return output


def test_every_prompt_has_its_answers_of_every_model(drawn):
    log = read_answers(drawn, pool=POOL)
    counts = torch.bincount(torch.from_numpy(log.prompt), minlength=10).tolist()
    assert counts == [12, 12, 12, 0, 12, 12, 12, 12, 12, 12]
    assert sorted(set(log.epoch.tolist())) == [0, 1]
    assert log.uncertainty.min() >= 1.0
    entropies = read_answers(drawn, uncertainty="entropy").uncertainty
    assert 0 < entropies.min() < entropies.max() < 3


def test_both_curators_work_on_a_data_set_and_models_alone(drawn):
    kept = point_biserial(read_answers(drawn, pool=POOL))
    assert len(kept.kept) == 3
    assert kept.dropped["never rolled out"].tolist() == [3]
    curves = lim(read_log(drawn, pool=POOL), count=4)
    assert "2 epochs" in curves.notes
    assert len(curves.kept) == 4


def test_a_stopped_command_goes_on_and_writes_what_it_would_have_written(models, drawn, tmp_path):
    output = tmp_path / "answers.parquet"

    class StoppedError(Exception):
        pass

    def stop(done):
        if len(list(output.glob("part-*"))) == 4:
            raise StoppedError

    with pytest.raises(StoppedError):
        sample(models, POOL, output, **SETTINGS, on_prompts=stop)
    done = []
    sample(models, POOL, output, **SETTINGS, on_prompts=done.append)
    assert done == [4, 8, 10, 14, 18, 20]
    for part in drawn.glob("part-*"):
        assert (output / part.name).read_bytes() == part.read_bytes()
    assert len(list(output.iterdir())) == len(list(drawn.iterdir()))


def test_the_models_differ_and_the_seed_counts(models, drawn, tmp_path):
    other = tmp_path / "answers.jsonl"
    sample(models[1:], POOL, other, **SETTINGS)
    one, two = (read_answers(path, pool=POOL).uncertainty for path in (drawn, other))
    assert one[: len(two)].tolist() != two.tolist()
    seeded = tmp_path / "seeded.jsonl"
    sample(models[1:], POOL, seeded, **SETTINGS, seed=1)
    assert read_answers(seeded, pool=POOL).uncertainty.tolist() != two.tolist()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"answers": 0}, "answers: expected at least 1, got 0"),
        ({"answers": 7}, "expected answers 6, as what it holds was made with, got 7"),
        ({"temperature": 0.5}, "expected temperature 1.0, as what"),
        ({"success_threshold": float("nan")}, "success_threshold: expected a finite number"),
        ({"success_threshold": "auto"}, "success_threshold: expected a number, got auto"),
        ({"reward": "magic"}, "unknown reward 'magic': expected one of"),
    ],
)
def test_other_settings_than_those_of_the_output_are_refused(models, drawn, changed, message):
    before = sorted(drawn.iterdir())
    with pytest.raises(ArgumentError, match=message):
        sample(models, POOL, drawn, **SETTINGS | changed)
    assert sorted(drawn.iterdir()) == before


def test_a_command_that_was_refused_or_killed_before_its_first_part_binds_nobody(models, tmp_path):
    output = tmp_path / "answers.jsonl"
    output.mkdir()
    unfinished(output / SETTINGS_FILE).write_text("{")  # as a kill leaves it
    with pytest.raises(ArgumentError, match="expected a Hugging Face model folder"):
        sample([tmp_path], POOL, output, **SETTINGS)
    sample(models[:1], POOL, output, **SETTINGS)
    assert len(list(output.glob("part-*"))) == 3


def test_an_output_of_another_kind_is_refused(models, tmp_path):
    with pytest.raises(ArgumentError, match=r"ends in \.jsonl or \.parquet"):
        sample(models, POOL, tmp_path / "answers.csv", **SETTINGS)
    (tmp_path / "full.jsonl").mkdir()
    (tmp_path / "full.jsonl/part-0.jsonl").write_text("{}")
    with pytest.raises(ArgumentError, match="expected a new folder"):
        sample(models, POOL, tmp_path / "full.jsonl", **SETTINGS)


def test_an_engine_that_returns_other_answers_is_refused_and_nothing_is_written(models, tmp_path):
    output = tmp_path / "answers.jsonl"
    with pytest.raises(EngineError, match="expected 24 texts, 6 for each of 4 prompts, got 20"):
        sample(models, POOL, output, **SETTINGS, engine=f"{__name__}:stingy")
    assert not list(output.glob("part-*"))


def test_models_of_another_architecture_are_refused(models, tmp_path):
    tokenizer = make_tokenizer("0123456789+=")
    for saved in (make_model(tokenizer, layers=2, heads=1), tokenizer):
        saved.save_pretrained(tmp_path / "deeper")
    with pytest.raises(ArgumentError, match="expected checkpoints of one run"):
        sample([models[0], tmp_path / "deeper"], POOL, tmp_path / "a.jsonl", **SETTINGS)


def test_the_command_survives_a_kill(models, tmp_path, capsys):
    write_columns(
        tmp_path / "pool.jsonl",
        {name: [getattr(prompt, name) for prompt in POOL] for name in ("id", "prompt", "answer")},
    )
    output = tmp_path / "answers.jsonl"
    arguments = ["sample", "--model", str(models[0]), "--prompts", str(tmp_path / "pool.jsonl")]
    arguments += ["--output", str(output), "--answers", "6", "--max-new-tokens", "3"]
    arguments += ["--prompts-per-call", "1", "--reward", "exact_match"]
    command = [sys.executable, "-m", "lightning_integration", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while len(list(output.glob("part-*"))) < 2:
        assert process.poll() is None
        os.sched_yield()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert main(arguments) == 0
    assert len(read_answers(output)) == 60
    kept = tmp_path / "kept.jsonl"
    curate = ["curate", "point_biserial", "--log", str(output), "--of", "scored", "--keep", "1"]
    curate += ["--pool", str(tmp_path / "pool.jsonl"), "--output", str(kept)]
    assert insight_ext(curate) == 0
    assert "of the scored prompts" in capsys.readouterr().out
    assert main([*arguments, "--seed", "3"]) == 2
    assert "expected seed 0" in capsys.readouterr().err
