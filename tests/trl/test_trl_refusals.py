"""What cannot work is refused when `select_prompts` is called: one sentence, nothing changed."""

from __future__ import annotations

import copy

import pytest

pytest.importorskip("trl")

import torch
from transformers import LlamaConfig, LlamaForSequenceClassification
from trl import GRPOTrainer
from trl.experimental.async_grpo import AsyncGRPOTrainer

from benchmarks.trl_run import correct, make_trainer, tiny_dataset
from insight_ext import ArgumentError, PoolError
from insight_ext.adapters.common import check_names
from insight_ext.adapters.trl import select_prompts
from insight_ext.adapters.trl_checks import ARGS, COLUMN, TRAINER

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def second(completion_ids, **_):
    return [0.0] * len(completion_ids)


class OwnLoader(GRPOTrainer):
    def get_train_dataloader(self):
        return super().get_train_dataloader()


def refused(trainer, match, error=ArgumentError, **options):
    """Expect a refusal that leaves the trainer as it was."""
    before, functions = dict(vars(trainer)), list(trainer.reward_funcs)
    with pytest.raises(error, match=match) as caught:
        select_prompts(trainer, **options)
    assert vars(trainer) == before
    assert trainer.reward_funcs == functions
    return str(caught.value)


@pytest.mark.parametrize(
    ("setting", "value", "sentence"),
    [
        ("auto_find_batch_size", True, "auto_find_batch_size: expected False, got True"),
        ("remove_unused_columns", True, "remove_unused_columns: expected False, got True"),
        ("_n_gpu", 2, "GPUs of one process: expected 1, got 2"),
    ],
)
def test_a_setting_with_which_trl_cuts_other_batches(setting, value, sentence, tmp_path):
    trainer = make_trainer(tmp_path)
    setattr(trainer.args, setting, value)
    refused(trainer, sentence)


@pytest.mark.parametrize("kind", ["context", "sequence", "tensor"])
def test_parallelism_that_wraps_the_loader(kind, tmp_path, monkeypatch):
    trainer = make_trainer(tmp_path)
    monkeypatch.setattr(GRPOTrainer, f"get_{kind[0]}p_size", lambda self: 2, raising=False)
    monkeypatch.setattr(
        GRPOTrainer, {"context": "get_cp_size"}.get(kind, f"get_{kind[0]}p_size"), lambda self: 2
    )
    refused(trainer, f"{kind} parallel size: expected 1, got 2")


def test_a_stream(tmp_path):
    trainer = make_trainer(tmp_path, dataset=tiny_dataset().to_iterable_dataset())
    refused(trainer, "expected a datasets.Dataset, .* got a IterableDataset; load it without")


@pytest.mark.parametrize(
    ("settings", "needed"),
    [
        ({}, 8),
        ({"steps_per_generation": 1, "gradient_accumulation_steps": 4}, 32),
        ({"steps_per_generation": 2, "gradient_accumulation_steps": 3}, 32),
    ],
)
def test_fewer_prompts_than_one_step_rolls_out(settings, needed, tmp_path):
    trainer = make_trainer(tmp_path, dataset=tiny_dataset(needed - 1), **settings)
    refused(trainer, f"expected {needed} prompts or more, .* got {needed - 1}; set a smaller batch")


@pytest.mark.parametrize(
    ("outcome", "got"), [(None, "None"), ("accuracy", "'accuracy'"), (tiny_dataset, "<function")]
)
def test_an_outcome_that_is_none_of_several_rewards(outcome, got, tmp_path):
    trainer = make_trainer(tmp_path, reward_funcs=[correct, second])
    refused(trainer, f"one of correct, second, got {got}", outcome=outcome)


def test_a_reward_model_as_outcome(tmp_path):
    config = LlamaConfig(
        vocab_size=15, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
        num_attention_heads=1, num_key_value_heads=1, num_labels=1, pad_token_id=0,
    )  # fmt: skip
    model = LlamaForSequenceClassification(config)
    model.config._name_or_path = "judge"
    tokenizer = make_trainer(tmp_path).processing_class
    trainer = make_trainer(
        tmp_path, reward_funcs=[model], more={"reward_processing_classes": [tokenizer]}
    )
    assert isinstance(trainer.reward_funcs[0], torch.nn.Module)
    refused(trainer, "expected a reward function, got the reward model judge")


def test_a_column_of_the_name_that_rows_carry(tmp_path):
    dataset = tiny_dataset().rename_column("chance", COLUMN)
    refused(make_trainer(tmp_path, dataset=dataset), f"the column {COLUMN} is this adapter's")


@pytest.mark.parametrize(
    ("ids", "sentence"),
    [
        (None, "expected a field name for the id, its fields are prompt, chance"),
        (["a"] * 200, "row 1: prompt id 'a' occurs already at the data set, row 0"),
        ([None, *map(str, range(199))], "row 0: expected an id, got None"),
    ],
    ids=["no column", "repeated", "missing"],
)
def test_ids_that_are_missing_or_repeat(ids, sentence, tmp_path):
    dataset = tiny_dataset()
    if ids is not None:
        dataset = dataset.add_column("name", ids)
    trainer = make_trainer(tmp_path, dataset=dataset)
    refused(trainer, sentence, PoolError, fields={"id": "name"})


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"selector": "insigt"}, "did you mean 'insight'"),
        ({"sucess_threshold": 1.0}, "did you mean 'success_threshold'"),
        ({"rollouts": 4}, "rollouts: expected 8, as in TRL's own settings, got 4"),
        ({"fields": "id"}, "fields: expected columns by what they hold, .* got 'id'"),
    ],
    ids=["selector", "option", "rollouts", "fields"],
)
def test_an_option_that_does_not_fit(options, sentence, tmp_path):
    refused(make_trainer(tmp_path), sentence, **options)


def test_a_second_call(tmp_path):
    trainer = make_trainer(tmp_path)
    select_prompts(trainer)
    refused(trainer, "get_train_dataloader: expected one of trl, got one of insight_ext; call")


def test_a_subclass_with_a_loader_of_its_own(tmp_path):
    trainer = make_trainer(tmp_path, base=OwnLoader)
    refused(trainer, "expected one of trl, got one of (test_trl_refusals|tests)")


@pytest.mark.parametrize("kind", ["grpo", "rloo"])
def test_every_name_that_is_needed_is_there_in_this_trl(kind, tmp_path):
    trainer = make_trainer(tmp_path, kind)
    check_names(kind, "TRL", trainer, TRAINER)
    check_names(kind, "TRL", trainer.args, ARGS)


class Without:
    """A trainer, or its settings, of a release that lacks a name."""

    def __init__(self, whole, name):
        self._whole, (self._name, _, self._inside) = whole, name.partition(".")

    def __getattr__(self, name):
        if name != self._name:
            return getattr(self._whole, name)
        if not self._inside:
            raise AttributeError(name)
        return Without(getattr(self._whole, name), self._inside)


@pytest.mark.parametrize("name", TRAINER)
def test_a_trainer_without_a_name_is_told_which(name, tmp_path):
    trainer = Without(make_trainer(tmp_path), name)
    with pytest.raises(ArgumentError, match=f"got a Without without {name}; use a release of TRL"):
        select_prompts(trainer)


@pytest.mark.parametrize("name", ARGS)
def test_settings_without_a_name_are_told_which(name, tmp_path):
    trainer = make_trainer(tmp_path)
    trainer.args = Without(copy.copy(trainer.args), name)
    with pytest.raises(ArgumentError, match=f"its settings: .* got a Without without {name}; use"):
        select_prompts(trainer)


def test_the_asynchronous_trainer_is_refused():
    trainer = object.__new__(AsyncGRPOTrainer)  # a whole one wants a GPU and a vLLM server
    with pytest.raises(ArgumentError, match="got an AsyncGRPOTrainer, .* use GRPOTrainer, which"):
        select_prompts(trainer)
