"""Selectors that rank by one of the kernel's scores."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from insight_ext.kernel.ops import score, select_top_k, tie_seed
from insight_ext.kernel.scores import Score
from insight_ext.selectors.ranked import CandidateSelector


class KernelScoredSelector(CandidateSelector):
    """Takes the `k` prompts of the largest score, in one pass of the kernel.

    Ties, which are the normal state among unseen prompts, are broken by a hash of seed and
    selection number, never by the order of the data.

    Args:
        pool_size, seed, candidate_ratio, common: see `CandidateSelector`.
    """

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
            seed=tie_seed(self.seed, self.selections),
            candidates=candidates,
            exclude=exclude if candidates is None else None,
        )
        scores = best.scores.tolist()
        straddles = scores[k:] == scores[k - 1 : k]
        self._metrics["frac_tied_at_cut"] = (scores.count(scores[k]) - 1) / k if straddles else 0.0
        return best.indices[:k].clone()

    def _terms(self, indices: Tensor) -> dict[str, Tensor]:
        # Of a random score there is nothing to tell: the next selection draws anew.
        if self.score.is_random:
            return {}
        alpha, beta = self.posterior.current(indices)
        return {"score": score(alpha, beta, self.score)}
