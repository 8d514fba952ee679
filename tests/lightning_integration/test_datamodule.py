from __future__ import annotations

import json
import warnings

import pytest
import torch

from insight_ext import ArgumentError, PoolError, Prompt, PromptPool
from insight_ext.selectors import InSight, Uniform
from lightning_integration import PromptDataModule

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*treespec"),
    pytest.mark.filterwarnings("ignore:.*no `val_dataloader`"),
]


@pytest.fixture
def pool(tiny):
    return tiny.pool()


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_pools_are_read_from_files(pool, tmp_path, ending):
    path = tmp_path / f"prompts{ending}"
    if ending == ".jsonl":
        pool.to_jsonl(path)
    else:
        pa = pytest.importorskip("pyarrow")
        rows = [{"id": p.id, "prompt": p.prompt, "answer": p.answer} for p in pool]
        pytest.importorskip("pyarrow.parquet").write_table(pa.Table.from_pylist(rows), path)
    data = PromptDataModule(str(path), prompts_per_step=4, validation=path)
    assert data.pool.fingerprint == pool.fingerprint
    assert len(data.val_dataloader()) == 1


def test_an_epoch_deals_the_size_of_the_pool_unless_told_otherwise(pool):
    assert len(PromptDataModule(pool, prompts_per_step=8).train_dataloader()) == 8
    assert len(PromptDataModule(pool, steps_per_epoch=3).train_dataloader()) == 3


def test_the_strategys_own_seed_comes_first(pool):
    data = PromptDataModule(pool, "insight", {"seed": 3}, prompts_per_step=2, seed=1)
    assert data.selector.seed == 3


def test_a_selector_is_a_name_an_import_path_or_an_object(pool):
    own = Uniform(len(pool))
    assert PromptDataModule(pool, own).selector is own
    assert isinstance(PromptDataModule(pool, "insight").selector, InSight)
    by_path = PromptDataModule(pool, "insight_ext.selectors:Uniform", {"decay": 0.5}, seed=7)
    assert isinstance(by_path.selector, Uniform)
    assert by_path.selector.posterior.decay == 0.5
    assert by_path.selector.seed == 7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompts_per_step": 0}, r"in \[1, 60\].*got 0"),
        ({"prompts_per_step": 61}, r"in \[1, 60\].*got 61"),
        ({"steps_per_epoch": 0}, "at least 1, got 0"),
        ({"validation_batch_size": 0}, "at least 1, got 0"),
        ({"selector": "nobody"}, "uniform.*insight"),
        ({"selector_options": {"mu": 2.0}}, "mu"),
        ({"selector_options": {"colour": "red"}}, "colour"),
        ({"selector": Uniform(60), "selector_options": {"decay": 0.5}}, "selector_options"),
        ({"selector": Uniform(59)}, "60 prompts.*one for 59"),
    ],
)
def test_wrong_settings_are_refused(pool, options, message):
    with pytest.raises(ArgumentError, match=message):
        PromptDataModule(pool, **{"validation": pool, **options})


def test_a_broken_line_is_named(tmp_path):
    path = tmp_path / "prompts.jsonl"
    good = json.dumps({"id": "a", "prompt": "1+1=", "answer": "2"})
    path.write_text(f"{good}\n{{broken\n")
    with pytest.raises(PoolError, match=r"prompts\.jsonl:2"):
        PromptDataModule(path)


def test_an_empty_file_is_refused(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text("")
    with pytest.raises(PoolError, match="empty"):
        PromptDataModule(path)


def test_prompts_pass_through_the_transfer_untouched(pool):
    data = PromptDataModule(pool, prompts_per_step=2)
    batch = next(iter(data.train_dataloader()))
    moved = data.transfer_batch_to_device(batch, torch.device("meta"), 0)
    assert moved["indices"].device.type == "meta"
    assert moved["prompts"] is batch["prompts"]


def test_lightning_deals_live_batches_and_does_not_warn_about_the_loader(tiny, tmp_path):
    module, data = tiny.Learner(), tiny.data()
    drawn_at = []
    module.spoil = lambda outputs: (drawn_at.append(data.loop._flights.dealt // 4), outputs)[1]
    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=UserWarning)
        tiny.train(tmp_path, module=module, datamodule=data)
    assert drawn_at == list(range(1, tiny.STEPS * tiny.EPOCHS + 1))


def test_training_without_held_out_prompts_just_trains(tiny, tmp_path):
    trainer = tiny.train(tmp_path, datamodule=tiny.data(validation=None), max_epochs=1)
    assert trainer.global_step == tiny.STEPS


def test_a_prompt_may_carry_anything(tmp_path):
    pool = PromptPool([Prompt("a", "1+1=", "2", {"kind": ["easy"]})])
    (batch,) = PromptDataModule(pool, prompts_per_step=1, steps_per_epoch=1).train_dataloader()
    assert batch["prompts"][0].meta == {"kind": ["easy"]}


def test_a_strategy_given_by_name_is_named_in_the_checkpoint(pool):
    data = PromptDataModule(pool, "gps", selector_options={"features": "ngrams:8"})
    made = data.begin().state_dict()["made"]
    assert made == {"selector": "gps", "options": {"features": "ngrams:8"}}


def test_held_out_prompts_of_the_pool_are_warned_of(pool):
    with pytest.warns(UserWarning, match=r"validation: (\d+) of \1 prompts are in the pool, too"):
        PromptDataModule(pool, validation=pool)
