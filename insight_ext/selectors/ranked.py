"""Choosing by a score of each prompt: from candidates drawn, or from the whole pool."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from insight_ext.errors import ArgumentError
from insight_ext.kernel.ops import draw_distinct, tie_seed, top_k
from insight_ext.selectors.base import NONE, BeliefSelector, isin
from insight_ext.state import Names

# Prompts ranked at once when a step comes back for more: it is likely to come again.
REFILL = 256
# Of a step's first draw of candidates and those of its refills, so that none repeats another.
REFILL_STREAM = 1 << 40


class RankedSelector(BeliefSelector):
    """Takes the `k` prompts of the largest score; a strategy adds `_scores`.

    The order is the kernel's: score, then a hash of seed and position, then position. It is the
    same throughout a step, so that many small deals choose what one large deal chooses, where the
    whole pool is ranked.

    Args:
        pool_size, seed, common: see `BeliefSelector`.
        candidate_ratio: candidates per selected prompt, at least 1, drawn uniformly without
            replacement; None ranks the whole pool.
    """

    settings: Names = ("candidate_ratio",)
    positions: tuple[str | Names, ...] = ("_ranking",)

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
        self._ranking = NONE  # the next prompts of the step, where the whole pool is ranked

    @abstractmethod
    def _scores(self, indices: Tensor | None) -> Tensor:
        """A new float tensor: the score of each of these prompts, or of all; larger is better."""

    def _begin(self) -> None:
        self._ranking = NONE

    def _choose(self, k: int, exclude: Tensor) -> Tensor:
        candidates = self._candidates(k, exclude)
        if candidates is not None:
            return self._best(k, candidates, NONE)
        ranking = self._ranking[~isin(self._ranking, exclude)]
        if len(ranking) < k:
            wanted = max(k, REFILL) if self._dealt else k
            ranking = self._best(min(wanted, self.pool_size - len(exclude)), None, exclude)
        self._ranking = ranking[k:]
        return ranking[:k]

    def _best(self, k: int, candidates: Tensor | None, exclude: Tensor) -> Tensor:
        """The k best of these candidates, or of all but the excluded; best first."""
        scores = self._scores(candidates)
        return top_k(scores, k, seed=self._tie_seed, indices=candidates, exclude=exclude)

    @property
    def _tie_seed(self) -> int:
        return tie_seed(self.seed, self._step)

    def _candidates(self, k: int, exclude: Tensor) -> Tensor | None:
        """The prompts to choose from, none of them excluded; None for the whole pool."""
        if self.candidate_ratio is None or self.candidate_ratio * k >= self.pool_size:
            return None
        draw = self._step + REFILL_STREAM * self._dealt
        drawn = draw_distinct(self.pool_size, self.candidate_ratio * k, self.seed, draw)
        left = drawn[~isin(drawn, exclude)]
        if len(left) >= k:
            return left
        free = torch.ones(self.pool_size, dtype=torch.bool)
        free[exclude] = False
        rest = free.nonzero()[:, 0]
        return rest[draw_distinct(len(rest), min(len(drawn), len(rest)), self.seed, draw)]

    def _terms(self, indices: Tensor) -> dict[str, Tensor]:
        return {"score": self._scores(indices)}
