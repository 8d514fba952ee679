"""Proposers that rank by one of the kernel's scores."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from insight_ext.errors import ArgumentError
from insight_ext.ops import score, select_top_k
from insight_ext.proposers.proposer import BeliefProposer
from insight_ext.proposers.ranking import draw_candidates
from insight_ext.scores import Score


class ScoredProposer(BeliefProposer):
    """Takes the `k` prompts of the largest score, in one pass of the kernel.

    Ties, which are the normal state among unseen prompts, are broken by a hash of seed and
    selection number, never by the order of the data.

    Args:
        pool_size, seed, common: see `BeliefProposer`.
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

    @property
    @abstractmethod
    def score(self) -> Score:
        """The score of the present selection."""

    def _choose(self, k: int, exclude: Tensor) -> Tensor:
        candidates = self._candidates(k, exclude)
        available = self.pool_size - len(exclude) if candidates is None else len(candidates)
        alpha, beta = self.posterior.current()
        # One more than asked for tells whether the cut goes through a tie.
        best = select_top_k(
            alpha,
            beta,
            min(k + 1, available),
            self.score,
            seed=self.seed + self.selections,
            candidates=candidates,
            exclude=exclude if candidates is None else None,
        )
        cut = best.scores[k - 1]
        straddles = bool((best.scores[k:] == cut).any())
        tied = int(torch.count_nonzero(best.scores[:k] == cut)) if straddles else 0
        self._metrics["frac_tied_at_cut"] = tied / k
        return best.indices[:k].clone()

    def _candidates(self, k: int, exclude: Tensor) -> Tensor | None:
        if self.candidate_ratio is None or self.candidate_ratio * k >= self.pool_size:
            return None
        return draw_candidates(
            self._generator(), self.pool_size, self.candidate_ratio * k, exclude, at_least=k
        )

    def _terms(self, indices: Tensor) -> dict[str, Tensor]:
        # Of a random score there is nothing to tell: the next selection draws anew.
        if self.score.is_random:
            return {}
        alpha, beta = self.posterior.current(indices)
        return {"score": score(alpha, beta, self.score)}
