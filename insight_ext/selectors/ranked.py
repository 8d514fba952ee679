"""Choosing by a score of each belief: candidates, the k best, and the selector made of both."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from insight_ext.errors import ArgumentError
from insight_ext.kernel.ops import draw_distinct
from insight_ext.selectors.base import BeliefSelector


def draw_candidates(
    pool_size: int, count: int, exclude: Tensor, *, at_least: int, seed: int, draw: int
) -> Tensor:
    """About `count` distinct prompts drawn uniformly, without the excluded ones.

    Args:
        pool_size: number of prompts.
        count: how many to draw, at most the pool size.
        exclude: int64 indices that must not be among them.
        at_least: draw again from the whole pool, without the excluded, if fewer than this remain.
        seed, draw: what the result depends on beside the sizes.

    Returns:
        int64 indices, in no particular order.
    """
    drawn = draw_distinct(pool_size, count, seed, draw)
    if len(exclude):
        drawn = drawn[~torch.isin(drawn, exclude)]
    if len(drawn) < at_least:
        allowed = torch.ones(pool_size, dtype=torch.bool)
        allowed[exclude] = False
        rest = allowed.nonzero()[:, 0]
        drawn = rest[draw_distinct(len(rest), min(count, len(rest)), seed, draw)]
    return drawn


def best(scores: Tensor, k: int, random: np.random.Generator, exclude: Tensor) -> Tensor:
    """The indices of the `k` largest scores, best first; ties at the cut fall by lot.

    Args:
        scores: floats of shape (n,), no NaN. Overwritten at `exclude`.
        k: how many, at most n less the excluded.
        random: the stream that decides ties.
        exclude: int64 indices not to choose.

    Returns:
        int64 indices of shape (k,).

    Cost: O(n).
    """
    scores[exclude] = -torch.inf
    cut = scores.topk(k, sorted=False).values.min()
    above = (scores > cut).nonzero()[:, 0]
    above = above[scores[above].argsort(descending=True, stable=True)]
    # Few scores reach the cut unless there are ties, and then all of them must be in the draw.
    level = (scores == cut).nonzero()[:, 0]
    drawn = random.choice(len(level), k - len(above), replace=False)
    return torch.cat((above, level[torch.from_numpy(drawn)]))


class CandidateSelector(BeliefSelector):
    """Chooses among candidates drawn from the pool, or among all of it.

    Args:
        pool_size, seed, common: see `BeliefSelector`.
        candidate_ratio: candidates per selected prompt, at least 1, drawn uniformly without
            replacement; None scores the whole pool.
    """

    def __init__(
        self,
        pool_size: int,
        *,
        seed: int = 0,
        candidate_ratio: int | None = None,
        **common: Any,
    ) -> None:
        super().__init__(pool_size, seed=seed, **common)
        if candidate_ratio is not None and candidate_ratio < 1:
            raise ArgumentError(f"candidate_ratio: expected at least 1, got {candidate_ratio}")
        self.candidate_ratio = candidate_ratio

    def _candidates(self, k: int, exclude: Tensor) -> Tensor | None:
        """The prompts to choose from, none of them excluded; None for the whole pool."""
        if self.candidate_ratio is None or self.candidate_ratio * k >= self.pool_size:
            return None
        return draw_candidates(
            self.pool_size,
            self.candidate_ratio * k,
            exclude,
            at_least=k,
            seed=self.seed,
            draw=self.selections,
        )


class RankedSelector(CandidateSelector):
    """Takes the `k` prompts of the largest score; a strategy adds `_scores`.

    Args:
        pool_size, seed, candidate_ratio, common: see `CandidateSelector`.
    """

    @abstractmethod
    def _scores(self, indices: Tensor | None) -> Tensor:
        """A new float tensor: the score of each of these prompts, or of all; larger is better."""

    def _choose(self, k: int, exclude: Tensor) -> Tensor:
        candidates = self._candidates(k, exclude)
        if candidates is None:
            return best(self._scores(None), k, self._generator(), exclude)
        nothing = torch.empty(0, dtype=torch.int64)
        return candidates[best(self._scores(candidates), k, self._generator(2), nothing)]

    def _terms(self, indices: Tensor) -> dict[str, Tensor]:
        return {"score": self._scores(indices)}
