from __future__ import annotations

import threading

import pytest
import torch

from insight_ext.errors import ArgumentError, BeliefError
from insight_ext.kernel.index import PoolIndex
from insight_ext.kernel.ops import select_top_k
from insight_ext.kernel.scores import (
    ExpectedDifficulty,
    InverseEvidence,
    MixedGroup,
    Thompson,
    WeightedInformation,
)


def same(got, expected) -> bool:
    return torch.equal(got.indices, expected.indices) and torch.equal(got.scores, expected.scores)


@pytest.mark.parametrize("unseen", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(
    "chosen",
    [WeightedInformation(), ExpectedDifficulty(), InverseEvidence(), MixedGroup()],
    ids=str,
)
def test_many_steps_of_updates_give_the_full_passes_answers(unseen, chosen):
    n, k = 30_001, 12
    generator = torch.Generator().manual_seed(3)
    alpha, beta = 1 + 40 * torch.rand(2, n, generator=generator)
    new = torch.rand(n, generator=generator) < unseen
    alpha[new] = beta[new] = 1.0
    index = PoolIndex(alpha, beta, chosen, seed=5)
    in_flight = torch.tensor([], dtype=torch.int64)
    for _ in range(40):
        got = index.select(k, exclude=in_flight)
        assert same(got, select_top_k(alpha, beta, k, chosen, seed=5, exclude=in_flight))
        changed = torch.cat([got.indices, torch.randint(0, n, (4,), generator=generator)])
        successes = torch.randint(0, 9, (changed.numel(),), generator=generator)
        alpha[changed] = 1 + 0.5 * (alpha[changed] - 1) + successes
        beta[changed] = 1 + 0.5 * (beta[changed] - 1) + (8 - successes)
        index.update(changed)
        in_flight = got.indices[:5]


def test_every_k_is_served():
    n = 2_000
    alpha, beta = 1 + 9 * torch.rand(2, n, generator=torch.Generator().manual_seed(1))
    index = PoolIndex(alpha, beta)
    for k in (1, 3, 100, n - 1, n):
        assert same(index.select(k), select_top_k(alpha, beta, k))
        assert same(index.select(k, sorted=False), select_top_k(alpha, beta, k, sorted=False))


def test_a_selection_reads_few_beliefs():
    n = 200_000
    alpha, beta = 1 + 99 * torch.rand(2, n, generator=torch.Generator().manual_seed(2))
    index = PoolIndex(alpha, beta)
    index.select(16)
    assert index.visited <= 16 * 128


def test_bad_input_is_named():
    alpha, beta = torch.ones(300), torch.ones(300)
    index = PoolIndex(alpha, beta)
    with pytest.raises(ArgumentError, match="got 300 at position 1"):
        index.update([0, 300])
    with pytest.raises(ArgumentError, match="k: expected 1 to"):
        index.select(301)
    with pytest.raises(ArgumentError, match="at most the 299 eligible"):
        index.select(300, exclude=[4])
    with pytest.raises(ArgumentError, match="use select_top_k"):
        PoolIndex(alpha, beta, Thompson())
    alpha[7] = -1.0
    with pytest.raises(BeliefError, match="at index 7"):
        index.update([7])
    with pytest.raises(BeliefError, match="at index 7"):
        PoolIndex(alpha, beta)


def test_after_a_rebuild_that_failed_a_selection_reads_every_belief():
    n = 100_000
    alpha, beta = 50 + 100 * torch.rand(2, n, generator=torch.Generator().manual_seed(4))
    index = PoolIndex(alpha, beta)
    alpha.sub_(49).mul_(0.2).add_(1)
    beta.sub_(49).mul_(0.2).add_(1)
    sound = alpha[n // 2].item()
    alpha[n // 2] = float("nan")
    with pytest.raises(BeliefError, match=f"at index {n // 2}"):
        index.rebuild()
    with pytest.raises(BeliefError, match=f"at index {n // 2}"):
        index.select(64)
    alpha[n // 2] = sound
    index.update([n // 2])
    assert same(index.select(64), select_top_k(alpha, beta, 64))


def test_tensors_that_were_moved_are_not_read():
    alpha, beta = torch.ones(1_000), torch.ones(1_000)
    index = PoolIndex(alpha, beta)
    alpha.resize_(10_000_000)
    for call in (index.rebuild, lambda: index.select(3), lambda: index.update([0])):
        with pytest.raises(ArgumentError, match="resized or moved"):
            call()


def test_threads_may_share_an_index():
    n, k = 50_000, 20
    alpha, beta = 1 + 50 * torch.rand(2, n, generator=torch.Generator().manual_seed(5))
    index = PoolIndex(alpha, beta)
    expected = select_top_k(alpha, beta, k)
    wrong = []

    def use(seed: int) -> None:
        for turn in range(100):
            index.update([(seed + 997 * turn) % n])
            if turn % 20 == seed:
                index.rebuild()
            if not same(index.select(k), expected):
                wrong.append((seed, turn))

    threads = [threading.Thread(target=use, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
