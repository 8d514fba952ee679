from __future__ import annotations

import json
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from insight_ext import ArgumentError, PoolError, Prompt, PromptPool
from insight_ext.proposers import InSight, Uniform
from insight_ext.ranks import Ranks
from lightning_integration import PromptDataModule, PromptLoader
from lightning_integration.datamodule import PromptBatches, RehearsalLoader

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*treespec"),
    pytest.mark.filterwarnings("ignore:.*no `val_dataloader`"),
]


@pytest.fixture
def pool(tiny):
    return tiny.pool()


def test_a_batch_holds_the_prompts_of_its_indices(pool):
    batch = next(iter(PromptLoader(pool, Uniform(len(pool)), prompts_per_step=5, steps=3)))
    assert batch["indices"].dtype == torch.int64
    assert batch["indices"].shape == (5,)
    assert batch["prompts"] == [pool[i] for i in batch["indices"].tolist()]


def test_an_epoch_has_the_asked_number_of_steps_and_the_next_goes_on(pool):
    loader = PromptLoader(pool, Uniform(len(pool)), prompts_per_step=6, steps=5)
    assert len(loader) == 5
    first, second = ([b["indices"].tolist() for b in loader] for _ in range(2))
    assert len(first) == len(second) == 5
    assert sorted(i for batch in first + second for i in batch) == list(range(60))
    assert loader.drawn == 10


def test_every_selection_sees_the_results_of_the_step_before(pool):
    loader = PromptLoader(pool, InSight(len(pool)), prompts_per_step=4, steps=6)
    for step, batch in enumerate(loader):
        assert batch["draw"].step == batch["draw"].observed == step
        loader.observe(batch["indices"], torch.zeros(4, dtype=torch.int64), 8)


def test_a_restored_loader_goes_on_counting(pool):
    loader = PromptLoader(pool, Uniform(len(pool)), prompts_per_step=6, steps=5)
    batch = next(iter(loader))
    loader.observe(batch["indices"], torch.zeros(6, dtype=torch.int64), 8)
    other = PromptLoader(pool, Uniform(len(pool)), prompts_per_step=6, steps=5)
    other.load_state_dict(loader.state_dict())
    assert (other.drawn, other.observed) == (1, 1)


def test_a_rehearsal_deals_the_same_batches_again_and_leaves_the_proposer_alone(pool):
    proposer = InSight(len(pool))
    before = proposer.state_dict()["selections"]
    loader = RehearsalLoader(PromptLoader(pool, proposer, prompts_per_step=4, steps=3))
    first, second = ([b["indices"].tolist() for b in loader] for _ in range(2))
    assert first == second
    assert proposer.state_dict()["selections"] == before


@pytest.mark.parametrize("size", [1, 7, 60, 100])
def test_validation_visits_every_prompt_once_in_order(pool, size):
    batches = PromptBatches(pool, size)
    dealt = list(batches)
    assert len(dealt) == len(batches)
    assert torch.cat([b["indices"] for b in dealt]).tolist() == list(range(60))
    assert [p for b in dealt for p in b["prompts"]] == list(pool)


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
    assert data.proposer.seed == 3


def test_a_proposer_is_a_name_an_import_path_or_an_object(pool):
    own = Uniform(len(pool))
    assert PromptDataModule(pool, own).proposer is own
    assert isinstance(PromptDataModule(pool, "insight").proposer, InSight)
    by_path = PromptDataModule(pool, "insight_ext.proposers:Uniform", {"decay": 0.5}, seed=7)
    assert isinstance(by_path.proposer, Uniform)
    assert by_path.proposer.posterior.decay == 0.5
    assert by_path.proposer.seed == 7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompts_per_step": 0}, r"in \[1, 60\].*got 0"),
        ({"prompts_per_step": 61}, r"in \[1, 60\].*got 61"),
        ({"steps_per_epoch": 0}, "at least 1, got 0"),
        ({"validation_batch_size": 0}, "at least 1, got 0"),
        ({"proposer": "nobody"}, "uniform.*insight"),
        ({"proposer_options": {"mu": 2.0}}, "mu"),
        ({"proposer_options": {"colour": "red"}}, "colour"),
        ({"proposer": Uniform(60), "proposer_options": {"decay": 0.5}}, "proposer_options"),
        ({"proposer": Uniform(59)}, "60 prompts.*one for 59"),
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
    module.spoil = lambda outputs: (drawn_at.append(data.loader.drawn), outputs)[1]
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


@given(prompts=st.integers(1, 40), size=st.integers(1, 9), ranks=st.integers(1, 6))
def test_processes_share_the_held_out_prompts_in_steps_of_their_own(prompts, size, ranks):
    ranks = min(ranks, prompts)
    shares = []
    for rank in range(ranks):
        batches = PromptBatches(pool_of(prompts), size)
        batches.ranks = Ranks(rank, ranks)
        shares.append([batch["indices"].tolist() for batch in batches])
        assert len(batches) == len(shares[-1])
    assert len({len(share) for share in shares}) == 1
    assert all(share for step in zip(*shares, strict=True) for share in step)
    assert [i for step in zip(*shares, strict=True) for s in step for i in s] == list(
        range(prompts)
    )


@given(ranks=st.integers(1, 5), step=st.integers(5, 12))
def test_processes_share_a_training_batch(ranks, step):
    dealt = []
    for rank in range(ranks):
        loader = PromptLoader(pool_of(20), Uniform(20, seed=1), step, steps=3)
        loader.ranks = Ranks(rank, ranks)
        dealt.append(list(loader))
    whole = list(PromptLoader(pool_of(20), Uniform(20, seed=1), step, steps=3))
    for batch, *shares in zip(whole, *dealt, strict=True):
        for name in ("indices", "groups"):
            assert torch.equal(torch.cat([share[name] for share in shares]), batch[name])
        assert [p for share in shares for p in share["prompts"]] == batch["prompts"]
        assert all(len(share["prompts"]) for share in shares)
    assert len({i for batch in whole for i in batch["groups"].tolist()}) == 3 * step


def pool_of(size):
    return PromptPool(Prompt(str(i), f"{i}?", "1") for i in range(size))
