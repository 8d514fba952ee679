from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from insight_ext import Prompt, PromptPool
from insight_ext.distributed.ranks import Ranks
from insight_ext.selectors import InSight, Uniform
from lightning_integration import PromptLoader
from lightning_integration.loaders import PromptBatches, RehearsalLoader

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
        assert batch["step"] == batch["draw"].observed == step
        loader.observe(batch["indices"], torch.zeros(4, dtype=torch.int64), 8)


def test_a_restored_loader_goes_on_counting(pool):
    loader = PromptLoader(pool, Uniform(len(pool)), prompts_per_step=6, steps=5)
    batch = next(iter(loader))
    loader.observe(batch["indices"], torch.zeros(6, dtype=torch.int64), 8)
    other = PromptLoader(pool, Uniform(len(pool)), prompts_per_step=6, steps=5)
    other.load_state_dict(loader.state_dict())
    assert (other.drawn, other.observed) == (1, 1)


def test_a_rehearsal_deals_the_same_batches_again_and_leaves_the_selector_alone(pool):
    selector = InSight(len(pool))
    before = selector.state_dict()["selections"]
    loader = RehearsalLoader(PromptLoader(pool, selector, prompts_per_step=4, steps=3))
    first, second = ([b["indices"].tolist() for b in loader] for _ in range(2))
    assert first == second
    assert selector.state_dict()["selections"] == before


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
