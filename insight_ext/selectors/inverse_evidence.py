"""Inverse evidence: the prompts of which least is known."""

from __future__ import annotations

from insight_ext.kernel import scores
from insight_ext.selectors.kernel_scored import KernelScoredSelector


class InverseEvidence(KernelScoredSelector):
    """Select by the smallest evidence alpha + beta, whatever the success rate.

    Args:
        pool_size, seed, common: see `KernelScoredSelector`.

    Source: INVERSE-EVIDENCE, a baseline of InSight (arXiv 2603.01907). Deviation: the whole pool is
    ranked unless `candidate_ratio` is given.

    Examples:
        >>> selector = InverseEvidence(3)
        >>> selector.observe([0, 1], [4, 4], [8, 4], step=0)
        >>> selector.select(2, step=1).tolist()
        [2, 1]
    """

    @property
    def score(self) -> scores.InverseEvidence:
        """The score of every selection."""
        return scores.InverseEvidence()
