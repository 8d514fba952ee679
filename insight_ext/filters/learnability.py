"""Learnability: train on the groups whose success rate is nearest to one half."""

from __future__ import annotations

from insight_ext.beliefs.group import Threshold
from insight_ext.filters.filter import Filter, RolledOut, Verdict, check_share, varied_of_largest
from insight_ext.state import Names


class Learnability(Filter):
    """Keep the share of the batch with the largest p (1 - p), p the share of right answers.

    Saves backward passes, not rollouts.

    Args:
        keep: the share of the groups to keep, in (0, 1]; at least one is kept.
        success_threshold: see `Filter`.
        oversample: see `Filter`.

    Source: arXiv 2502.12272 (LILO). There the share is taken from a larger batch of candidates, as
    with `oversample=4, keep=0.25`; the defaults take it from the batch of the step. The paper gives
    no share: 0.5 is ours.
    """

    settings: Names = ("keep",)

    def __init__(
        self,
        keep: float = 0.5,
        success_threshold: Threshold | None = None,
        oversample: float = 1.0,
    ) -> None:
        super().__init__(success_threshold, oversample)
        self.keep = check_share("keep", keep)

    def decide(self, rolled: RolledOut) -> Verdict:
        """The share with the largest p (1 - p)."""
        rates = [self.pass_rate(group) for group in rolled.groups]
        return varied_of_largest([p * (1.0 - p) for p in rates], rolled.groups, self.keep)
