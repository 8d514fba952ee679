"""InSight: weighted mutual information between a prompt's success rate and its next rollouts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from insight_ext.errors import ArgumentError
from insight_ext.ops import score, select_top_k
from insight_ext.proposers.proposer import BeliefProposer
from insight_ext.proposers.ranking import draw_candidates
from insight_ext.scores import WeightedInformation


class InSight(BeliefProposer):
    """Select the prompts with the largest weighted mutual information.

    Each selection scores the prompts by `w(p) * I_K` (the information that K rollouts give about
    the success rate, weighted towards useful difficulty) and takes the best k. Ties, which are the
    normal state among unseen prompts, are broken by a hash of seed and selection number, never by
    the order of the data.

    Args:
        pool_size, seed, decay, common: see `BeliefProposer`.
        rollouts, eta, mu: of the score, see `WeightedInformation`.
        candidate_ratio: candidates per selected prompt, at least 1, drawn uniformly without
            replacement; None scores the whole pool.

    Source: arXiv 2603.01907, eq. 13, 15, 16 and the selection procedure. The paper's runs use
    `decay=1, candidate_ratio=16`. The defaults are the settings that we recommend: old results
    fade, since the model improves between two visits; fewer candidates spread the rollouts over
    more prompts, since a few dozen repeated often are memorised rather than learned from.

    Example:
        >>> proposer = InSight(4, candidate_ratio=None)
        >>> proposer.observe([0, 1, 2], successes=[8, 3, 0], rollouts=8)
        >>> proposer.select(2).tolist()   # the unseen prompt, then the one of useful difficulty
        [3, 1]
    """

    def __init__(
        self,
        pool_size: int,
        *,
        seed: int = 0,
        decay: float = 0.5,
        rollouts: int = 8,
        eta: float = 3.0,
        mu: float = 0.3,
        candidate_ratio: int | None = 8,
        **common: Any,
    ) -> None:
        super().__init__(pool_size, seed=seed, decay=decay, **common)
        if candidate_ratio is not None and candidate_ratio < 1:
            raise ArgumentError(f"candidate_ratio: expected at least 1, got {candidate_ratio}")
        self.score = WeightedInformation(rollouts=rollouts, eta=eta, mu=mu)
        self.candidate_ratio = candidate_ratio

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
        alpha, beta = self.posterior.current(indices)
        return {"score": score(alpha, beta, self.score)}
