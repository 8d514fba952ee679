from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from insight_ext import ArgumentError
from lightning_integration.demo.model import load_model, make_model, make_tokenizer
from lightning_integration.demo.tasks import make_task
from lightning_integration.demo.warm_start import WarmStart, teach, warm_started_model

TINY = WarmStart(
    task="arithmetic",
    mastery={"number": 1.0},
    model={"layers": 1, "heads": 1, "feed_forward": 64},
    steps=30,
    batch_size=16,
)


def test_teaching_lowers_the_loss():
    task = make_task("arithmetic")
    tokenizer = make_tokenizer(task.alphabet)

    losses = []
    model = make_model(tokenizer, **TINY.model)
    teach(model, tokenizer, task, replace(TINY, steps=60), 0, losses.append)
    assert losses[-1] < losses[0] - 0.5


def test_the_model_is_made_once(tmp_path):
    losses = []
    folder = warm_started_model(TINY, 0, tmp_path, on_step=losses.append)
    assert warm_started_model(TINY, 0, tmp_path, on_step=losses.append) == folder
    assert len(losses) == TINY.steps
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    load_model(folder)


def test_two_runs_that_make_the_same_model_at_once_do_not_collide(tmp_path):
    left = list(range(TINY.steps))

    def other(loss):
        if not left.pop():  # done while the first one still works
            warm_started_model(TINY, 0, tmp_path)

    folder = warm_started_model(TINY, 0, tmp_path, on_step=other)
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    load_model(folder)


def test_seeds_have_models_of_their_own(tmp_path):
    first, second = (load_model(warm_started_model(TINY, seed, tmp_path))[0] for seed in (0, 1))
    assert not torch.equal(first.lm_head.weight, second.lm_head.weight)


def test_unknown_kinds_are_named():
    with pytest.raises(ArgumentError, match="arithmetic has no kinds add-7"):
        WarmStart(task="arithmetic", mastery={"add-7": 1.0})
