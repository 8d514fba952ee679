"""Inverse evidence: the prompts of which least is known."""

from __future__ import annotations

from torch import Tensor

from insight_ext.proposers.ranking import RankingProposer


class InverseEvidence(RankingProposer):
    """Select by the smallest evidence alpha + beta, whatever the success rate.

    Args:
        pool_size, seed, common: see `RankingProposer`.

    Source: a baseline of InSight (arXiv 2603.01907).

    Example:
        >>> proposer = InverseEvidence(3)
        >>> proposer.observe([0, 1], successes=[4, 4], rollouts=[8, 4])
        >>> proposer.select(2).tolist()
        [2, 1]
    """

    def _scores(self, indices: Tensor | None) -> Tensor:
        alpha, beta = self.posterior.current(indices)
        return -(alpha + beta)
