"""Mixed groups: the prompts whose next group is most likely to hold right and wrong answers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from insight_ext.errors import ArgumentError
from insight_ext.proposers.ranking import RankingProposer


def mixed_probability(alpha: Tensor, beta: Tensor, rollouts: int) -> Tensor:
    """P(0 < s < K) under the Beta-Binomial: 1 - B(a + K, b) / B(a, b) - B(a, b + K) / B(a, b).

    Args:
        alpha, beta: float tensors of one shape, positive.
        rollouts: K, at least 1.

    Returns:
        A tensor of that shape, in [0, 1). The ratios are taken as products of (a + j) / (n + j):
        K multiplications, float32 relative error below K 1e-7.

    Example:
        >>> mixed_probability(torch.tensor([1.0]), torch.tensor([1.0]), 8)   # 1 - 2 / 9
        tensor([0.7778])
    """
    strength = alpha + beta
    right, wrong = torch.ones_like(alpha), torch.ones_like(alpha)
    for j in range(rollouts):
        inverse = 1.0 / (strength + j)
        right *= (alpha + j) * inverse
        wrong *= (beta + j) * inverse
    return 1.0 - right - wrong


class MixedGroup(RankingProposer):
    """Select by the probability that a group of K answers is mixed, hence carries a gradient.

    Args:
        pool_size, seed, decay, common: see `RankingProposer`.
        rollouts: K, answers per prompt.

    Source: MaPP, as 1 - B(a + K, b) / B(a, b) - B(a, b + K) / B(a, b).

    Example:
        >>> proposer = MixedGroup(3)
        >>> proposer.observe([0, 1, 2], successes=[8, 4, 0], rollouts=8)
        >>> proposer.select(1).tolist()
        [1]
    """

    def __init__(
        self,
        pool_size: int,
        *,
        seed: int = 0,
        decay: float = 0.5,
        rollouts: int = 8,
        **common: Any,
    ) -> None:
        super().__init__(pool_size, seed=seed, decay=decay, **common)
        if rollouts < 1:
            raise ArgumentError(f"rollouts: expected at least 1, got {rollouts}")
        self.rollouts = rollouts

    def _scores(self, indices: Tensor | None) -> Tensor:
        alpha, beta = self.posterior.current(indices)
        return mixed_probability(alpha, beta, self.rollouts)
