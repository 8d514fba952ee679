"""Uncertainty consistency: train where certainty and correctness agree."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from insight_ext.errors import ArgumentError, ObservationError
from insight_ext.filters.filter import (
    Filter,
    Groups,
    Verdict,
    checked_share,
    has_spread,
    largest,
)


class UncertaintyConsistency(Filter):
    """Keep the share of the batch with the largest consistency r_on; the loss is unchanged.

    Groups whose rewards do not vary are never kept. Saves backward passes and labels, not
    rollouts: every group was generated to be judged.

    Args:
        keep: the share of the batch to keep, in (0, 1]; at least one group is kept.
        gamma: weight of the wrong answers, at least 0.

    Source: arXiv 2601.22595, online selection; keep 0.3 and gamma 0.1 are the paper's.
    """

    needs_uncertainty: ClassVar[bool] = True

    def __init__(self, keep: float = 0.3, gamma: float = 0.1) -> None:
        super().__init__()
        if not gamma >= 0.0:
            raise ArgumentError(f"gamma: expected 0 or more, got {gamma}")
        self.keep = checked_share("keep", keep)
        self.gamma = gamma

    def _judge(self, groups: Groups, candidates: Tensor, target: int, batches: int) -> Verdict:
        assert groups.uncertainty is not None
        values = consistency(groups.rewards, groups.uncertainty, self.gamma)
        count = max(1, round(self.keep * len(groups)))
        return Verdict(largest(values, candidates & has_spread(groups.rewards), count))

    def settings(self) -> dict[str, Any]:
        """The share and gamma."""
        return {"keep": self.keep, "gamma": self.gamma}


def consistency(rewards: Tensor, uncertainty: Tensor, gamma: float = 0.1) -> Tensor:
    """How well certainty agrees with correctness in each group.

        r_on = 1/K ( sum_{A_j > 0} A_j / U_j + gamma sum_{A_j < 0} A_j / U_j )

    A is the reward standardised in its group by the population's standard deviation. With rewards
    of 0 and 1 and success rate p this is `sqrt(p (1-p)) (E[1/U | right] - gamma E[1/U | wrong])`,
    and for gamma = 1 it is `sd(1/U)` times the point-biserial correlation of 1/U with the rewards.

    Args:
        rewards, uncertainty: shape (G, K); uncertainty positive.

    Returns:
        float64 of shape (G,); 0 for a group whose rewards do not vary.

    Source: arXiv 2601.22595, online selection.

    Example:
        >>> consistency(torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 4.0]])).round(decimals=4)
        tensor([0.2375], dtype=torch.float64)
    """
    rewards, certainty = rewards.double(), 1.0 / uncertainty.double()
    deviation = rewards.std(dim=1, correction=0, keepdim=True)
    varied = has_spread(rewards)[:, None]
    advantage = (rewards - rewards.mean(dim=1, keepdim=True)) / torch.where(varied, deviation, 1.0)
    weighted = torch.where(advantage > 0, advantage, gamma * advantage)
    return torch.where(varied, weighted * certainty, 0.0).mean(dim=1)


def perplexity(logprobs: Tensor, mask: Tensor) -> Tensor:
    """The perplexity of each answer: exp of minus the mean log-probability of its tokens.

    Args:
        logprobs: shape (..., T), of the tokens under the policy.
        mask: bool of shape (..., T), True where there is a token; at least one in each answer.

    Returns:
        float64 of shape (...).

    Raises:
        ObservationError: an answer without a token.

    Example:
        >>> logprobs = torch.tensor([0.5, 0.125, 1.0]).log()
        >>> float(perplexity(logprobs, torch.tensor([True, True, False])).round(decimals=6))
        4.0
    """
    tokens = mask.sum(dim=-1)
    if (tokens == 0).any():
        raise ObservationError("perplexity: expected at least one token in each answer, got none")
    total = torch.where(mask, logprobs.double(), 0.0).sum(dim=-1)
    return torch.exp(-total / tokens)
