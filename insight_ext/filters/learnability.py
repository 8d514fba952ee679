"""Learnability: train on the groups whose success rate is nearest to one half."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from insight_ext.filters.filter import (
    Filter,
    Groups,
    Verdict,
    checked_share,
    has_spread,
    largest,
    success_rate,
)


class Learnability(Filter):
    """Keep the share of the batch with the largest p (1 - p).

    Saves backward passes, not rollouts.

    Args:
        keep: the share of the groups to keep, in (0, 1]; at least one is kept.
        success_threshold: the smallest reward of a success.

    Source: arXiv 2502.12272 (LILO). There the share is taken from a larger candidate batch that
    was rolled out anew; here from the batch of the step. The paper gives no share: 0.5 is ours.
    """

    def __init__(self, keep: float = 0.5, success_threshold: float = 1.0) -> None:
        super().__init__()
        self.keep = checked_share("keep", keep)
        self.success_threshold = success_threshold

    def _judge(self, groups: Groups, candidates: Tensor, target: int, batches: int) -> Verdict:
        values = learnability(groups.rewards, self.success_threshold)
        count = max(1, round(self.keep * len(groups)))
        return Verdict(largest(values, candidates & has_spread(groups.rewards), count))

    def settings(self) -> dict[str, Any]:
        """The share and the threshold."""
        return {"keep": self.keep, "success_threshold": self.success_threshold}


def learnability(rewards: Tensor, success_threshold: float = 1.0) -> Tensor:
    """p (1 - p) of each group, p the share of its rewards that are successes.

    Args:
        rewards: shape (G, K).

    Returns:
        float64 of shape (G,), in [0, 1/4].

    Example:
        >>> import torch
        >>> learnability(torch.tensor([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]])).tolist()
        [0.1875, 0.25]
    """
    rate = success_rate(rewards, success_threshold)
    return rate * (1.0 - rate)
