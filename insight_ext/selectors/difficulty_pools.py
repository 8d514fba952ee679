"""Difficulty pools: prompts sorted into easy, normal and hard by their latest group."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from insight_ext.errors import ArgumentError
from insight_ext.selectors.base import BeliefSelector

NORMAL, EASY, HARD = range(3)


class DifficultyPools(BeliefSelector):
    """Fill each batch from a normal pool, with fixed shares from an easy and a hard one, or by lot.

    A prompt starts out normal. Its latest group moves it: a success rate above `easy` to the easy
    pool, below `hard` to the hard one, anything else back to normal. Where a pool holds too few,
    the normal pool fills in, then whatever is left.

    With `weights` there are no shares: prompts are drawn from the whole pool without replacement, a
    normal one with weight 1; and a success rate of `hard` itself is hard.

    Args:
        pool_size, seed, common: see `BeliefSelector`.
        easy, hard: success rates, 0 < hard < easy < 1; with weights hard may be 0.
        easy_share, hard_share: of every step, from the easy and the hard pool; rounded down.
        weights: of an easy and of a hard prompt, at least 0; prompts of weight 0 come last.

    Source: prime-rl; there is no paper. `easy_share=0.1, hard_share=0.1` is its buffer
    "difficulty-pool" from commit 7c247bc to 60d17cf (July to November 2025), with these thresholds;
    the one that followed (01c9b0a) has none by default. `easy=0.75, hard=0.25, weights=[0.2, 0.2]`
    is its curriculum of commit 559b447 (August 2026), where a step may draw a prompt twice. That no
    share is easy or hard by default is ours, and that any pool fills in where the normal one runs
    out.

    Examples:
        >>> selector = DifficultyPools(4)
        >>> selector.observe([0, 1], [8, 0], 8, step=0)
        >>> sorted(selector.select(2, step=1).tolist())
        [2, 3]
    """

    settings = ("easy", "hard", "easy_share", "hard_share", "weights")
    per_prompt = ("pool",)

    def __init__(
        self,
        pool_size: int,
        *,
        seed: int = 0,
        easy: float = 0.8,
        hard: float = 0.2,
        easy_share: float = 0.0,
        hard_share: float = 0.0,
        weights: Sequence[float] | None = None,
        **common: Any,
    ) -> None:
        super().__init__(pool_size, seed=seed, **common)
        shares = (easy_share, hard_share)
        if min(shares) < 0.0 or sum(shares) > 1.0:
            raise ArgumentError(
                "easy_share, hard_share: expected shares that sum to at most 1, "
                f"got {easy_share} and {hard_share}"
            )
        # A pool that no success rate can fall into would go unnoticed.
        if not 0.0 <= hard < easy < 1.0 or (hard == 0.0 and weights is None):
            raise ArgumentError(
                f"expected 0 < hard < easy < 1 (hard 0 with weights), got hard {hard}, easy {easy}"
            )
        if weights is not None and not (
            len(weights) == 2 and all(0.0 <= weight < math.inf for weight in weights)
        ):
            raise ArgumentError(
                f"weights: expected two finite numbers of at least 0, easy and hard, got {weights}"
            )
        self.weights = None if weights is None else tuple(map(float, weights))
        self.easy_share, self.hard_share, self.easy, self.hard = easy_share, hard_share, easy, hard
        self.pool = torch.full((pool_size,), NORMAL, dtype=torch.int8)

    def _choose(self, k: int, exclude: Tensor) -> Tensor:
        for name, pool in (("easy", EASY), ("hard", HARD)):
            share = torch.count_nonzero(self.pool == pool) / self.pool_size
            self._metrics[f"frac_pool/{name}"] = float(share)
        random = self._generator(0, self._dealt)
        by_lot = self.weights is not None
        return (self._drawn if by_lot else self._dealt_out)(k, exclude, random)

    def _drawn(self, k: int, exclude: Tensor, random: np.random.Generator) -> Tensor:
        """By lot: the smallest k of Exponential(1) / weight."""
        assert self.weights is not None
        easy, hard = self.weights
        weights = torch.tensor([1.0, easy, hard], dtype=torch.float64)[self.pool.long()]
        race = torch.from_numpy(random.standard_exponential(self.pool_size)) / weights
        race[exclude] = torch.nan  # after the infinite ones
        return race.argsort()[:k]

    def _dealt_out(self, k: int, exclude: Tensor, random: np.random.Generator) -> Tensor:
        """By shares of the pools."""
        wanted = {EASY: self._due(self.easy_share, k), HARD: self._due(self.hard_share, k)}
        free = torch.ones(self.pool_size, dtype=torch.bool)
        free[exclude] = False
        chosen = torch.empty(0, dtype=torch.int64)
        for pool in (EASY, HARD, NORMAL, None):
            members = ((free & (self.pool == pool)) if pool is not None else free).nonzero()[:, 0]
            count = min(wanted.get(pool, k) if pool is not None else k, k - len(chosen))
            drawn = random.choice(len(members), min(count, len(members)), replace=False)
            chosen = torch.cat((chosen, members[torch.from_numpy(drawn)]))
            free[chosen] = False
        return chosen

    def _due(self, share: float, k: int) -> int:
        """How many of the step's next k prompts are of a pool with this share of the step."""
        return int(share * (self._dealt + k)) - int(share * self._dealt)

    def _learn(self, visited: Tensor, wins: Tensor, tries: Tensor) -> None:
        super()._learn(visited, wins, tries)
        rate = wins / tries
        is_hard = rate < self.hard if self.weights is None else rate <= self.hard
        pool = torch.where(rate > self.easy, EASY, torch.where(is_hard, HARD, NORMAL))
        self.pool[visited] = pool.to(torch.int8)

    def _terms(self, indices: Tensor) -> dict[str, Tensor]:
        return {"pool": self.pool[indices]}
