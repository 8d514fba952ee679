from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from insight_ext import Prompt, PromptPool, SelectionLoop
from insight_ext.distributed.ranks import Ranks, digest
from lightning_integration import PromptDataModule, PromptLoader
from lightning_integration.loaders import PromptBatches

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*treespec"),
    pytest.mark.filterwarnings("ignore:.*no `val_dataloader`"),
]


@pytest.fixture
def pool(tiny):
    return tiny.pool()


def loader_of(pool, selector="uniform", k=6, steps=5, **options):
    return PromptLoader(SelectionLoop(pool, selector), k, steps, **options)


def solved(loader, batch):
    """Report that every answer of the batch is right, and end the step."""
    for group in batch["groups"].tolist():
        loader.loop.report(group, [1.0] * 8)
    loader.loop.end_step()


def test_a_batch_holds_the_prompts_of_its_indices(pool):
    batch = next(iter(loader_of(pool, k=5)))
    assert batch["indices"].dtype == torch.int64
    assert batch["indices"].shape == (5,)
    assert batch["prompts"] == [pool[i] for i in batch["indices"].tolist()]


def test_an_epoch_has_the_asked_number_of_steps_and_the_next_goes_on(pool):
    loader = loader_of(pool)
    assert len(loader) == 5
    first, second = ([b["indices"].tolist() for b in loader] for _ in range(2))
    assert len(first) == len(second) == 5
    assert sorted(i for batch in first + second for i in batch) == list(range(60))


def test_every_selection_sees_the_results_of_the_step_before(pool):
    loader = loader_of(pool, "insight", k=4, steps=6)
    for step, batch in enumerate(loader):
        assert batch["step"] == loader.loop.step == step
        solved(loader, batch)


def test_a_loader_of_a_restored_loop_goes_on_counting(pool):
    loader = loader_of(pool)
    solved(loader, next(iter(loader)))
    other = loader_of(pool)
    other.loop.load_state_dict(loader.loop.state_dict())
    assert next(iter(other))["step"] == 1


def test_a_rehearsal_deals_the_same_batches_again_and_leaves_the_loop_alone(pool):
    loop = SelectionLoop(pool, "insight")
    before = digest(loop.state_dict())
    loader = PromptLoader(loop, 4, 3, rehearsal=True)
    first, second = ([b["indices"].tolist() for b in loader] for _ in range(2))
    assert first == second
    assert digest(loop.state_dict()) == before


@pytest.mark.parametrize("size", [1, 7, 60, 100])
def test_validation_visits_every_prompt_once_in_order(pool, size):
    batches = PromptBatches(pool, size)
    dealt = list(batches)
    assert len(dealt) == len(batches)
    assert torch.cat([b["indices"] for b in dealt]).tolist() == list(range(60))
    assert [p for b in dealt for p in b["prompts"]] == list(pool)


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
        loop = SelectionLoop(pool_of(60), "uniform", seed=1)
        loop.ranks, loop._agreed = Ranks(rank, ranks), True
        dealt.append(list(PromptLoader(loop, step, 3)))
    whole = list(PromptLoader(SelectionLoop(pool_of(60), "uniform", seed=1), step, 3))
    for batch, *shares in zip(whole, *dealt, strict=True):
        for name in ("indices", "groups"):
            assert torch.equal(torch.cat([share[name] for share in shares]), batch[name])
        assert [p for share in shares for p in share["prompts"]] == batch["prompts"]
        assert all(len(share["prompts"]) for share in shares)
    assert len({i for batch in whole for i in batch["groups"].tolist()}) == 3 * step


def pool_of(size):
    return PromptPool(Prompt(str(i), f"{i}?", "1") for i in range(size))


def test_prompts_may_be_dealt_beside_other_data(tiny, tmp_path):
    class Both(PromptDataModule):
        def train_dataloader(self):
            others = torch.utils.data.DataLoader(torch.arange(100.0), batch_size=2)
            return {"prompts": super().train_dataloader(), "supervised": others}

    class Learner(tiny.Learner):
        def training_step(self, batch, batch_idx):
            assert batch["supervised"].shape == (2,)
            return super().training_step(batch["prompts"], batch_idx)

    def train(module, kind):
        data = kind(tiny.pool(), "insight", None, 4, 50, max_staleness=0)
        tiny.train(tmp_path / kind.__name__, module=module, datamodule=data, max_epochs=1)
        return module.dealt

    assert train(Learner(), Both) == train(tiny.Learner(), PromptDataModule)
