"""Uncertainty consistency: train where certainty and correctness agree."""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum, sqrt
from typing import Literal

import torch
from torch import Tensor

from insight_ext.beliefs.group import Group, Threshold
from insight_ext.errors import ArgumentError, ObservationError
from insight_ext.filters.filter import Filter, RolledOut, Verdict, check_share, varied_of_largest
from insight_ext.state import Names


class UncertaintyConsistency(Filter):
    """Keep the share of the batch with the largest consistency r_on; the loss is unchanged.

    Groups whose rewards do not vary are never kept. Saves backward passes only: every group was
    generated, and the correctness of every answer is needed, to be judged.

    Args:
        keep: the share of the batch to keep, in (0, 1]; at least one group is kept.
        gamma: weight of the wrong answers, at least 0.
        uncertainty: of an answer: its "perplexity", or the mean "entropy" of its tokens' choices.
        success_threshold: not needed, since rewards are standardised; see `Filter`.
        oversample: see `Filter`.

    Source: arXiv 2601.22595, online selection; keep 0.3 and gamma 0.1 are the paper's, entropy its
    alternative to perplexity.
    """

    settings: Names = ("keep", "gamma", "needs_uncertainty")

    def __init__(
        self,
        keep: float = 0.3,
        gamma: float = 0.1,
        uncertainty: Literal["perplexity", "entropy"] = "perplexity",
        success_threshold: Threshold | None = None,
        oversample: float = 1.0,
    ) -> None:
        super().__init__(success_threshold, oversample)
        if not gamma >= 0.0:
            raise ArgumentError(f"gamma: expected 0 or more, got {gamma}")
        if uncertainty not in ("perplexity", "entropy"):
            raise ArgumentError(f"uncertainty: expected perplexity or entropy, got {uncertainty!r}")
        self.needs_uncertainty = uncertainty
        self.keep = check_share("keep", keep)
        self.gamma = gamma

    def decide(self, rolled: RolledOut) -> Verdict:
        """The share with the largest consistency."""
        values = [self.value(group) for group in rolled.groups]
        return varied_of_largest(values, rolled.groups, self.keep)

    def value(self, group: Group) -> float:
        """The consistency of the group's scored answers."""
        assert self.needs_uncertainty is not None
        pairs = zip(group.rewards, getattr(group, self.needs_uncertainty), strict=True)
        rewards, uncertainty = zip(*(pair for pair in pairs if pair[0] == pair[0]), strict=True)
        return consistency(rewards, uncertainty, self.gamma)


def consistency(
    rewards: Sequence[float], uncertainty: Sequence[float], gamma: float = 0.1
) -> float:
    """How well certainty agrees with correctness in a group of K answers.

        r_on = 1/K ( sum_{A_j > 0} A_j / U_j + gamma sum_{A_j < 0} A_j / U_j )

    A is the reward standardised in its group by the population's standard deviation. With rewards
    of 0 and 1 and success rate p this is `sqrt(p (1-p)) (E[1/U | right] - gamma E[1/U | wrong])`,
    and for gamma = 1 it is `sd(1/U)` times the point-biserial correlation of 1/U with the rewards.

    Args:
        rewards, uncertainty: K numbers each; uncertainty positive.

    Returns:
        0 for a group whose rewards do not vary.

    Source: arXiv 2601.22595, online selection.

    Examples:
        >>> round(consistency([1.0, 0.0], [2.0, 4.0]), 4)
        0.2375
    """
    if min(rewards) == max(rewards):
        return 0.0
    k = len(rewards)
    mean = fsum(rewards) / k
    deviation = sqrt(fsum((reward - mean) ** 2 for reward in rewards) / k)
    advantages = [(reward - mean) / deviation for reward in rewards]
    weighted = [a if a > 0.0 else gamma * a for a in advantages]
    return fsum(a / u for a, u in zip(weighted, uncertainty, strict=True)) / k


def perplexity(logprobs: Tensor, mask: Tensor) -> Tensor:
    """The perplexity of each answer: exp of minus the mean log-probability of its tokens.

    Args:
        logprobs: shape (..., T), of the tokens under the policy.
        mask: bool of shape (..., T), True where there is a token; at least one in each answer.

    Returns:
        float64 of shape (...).

    Raises:
        ObservationError: an answer without a token.

    Examples:
        >>> logprobs = torch.tensor([0.5, 0.125, 1.0]).log()
        >>> float(perplexity(logprobs, torch.tensor([True, True, False])).round(decimals=6))
        4.0
    """
    return torch.exp(-_mean_over_tokens("perplexity", logprobs, mask))


def entropy(logits: Tensor, mask: Tensor) -> Tensor:
    """The mean entropy of each answer's tokens, in nats: how open the model's choices were.

    Args:
        logits: shape (..., T, V), of the policy before each token.
        mask: bool of shape (..., T), True where there is a token; at least one in each answer.

    Returns:
        float64 of shape (...), at least 0; 0 only where the policy has no choice, and then it
        cannot serve as an uncertainty.

    Raises:
        ObservationError: an answer without a token.

    Cost: one pass over the logits, and their memory in float64.

    Examples:
        >>> logits = torch.tensor([[0.0, 0.0], [0.0, 0.0], [9.0, -9.0]])
        >>> float(entropy(logits, torch.tensor([True, True, False])).round(decimals=4))
        0.6931
    """
    logprobs = logits.double().log_softmax(dim=-1)
    each = torch.special.entr(logprobs.exp()).sum(dim=-1)
    return _mean_over_tokens("entropy", each, mask)


def _mean_over_tokens(what: str, values: Tensor, mask: Tensor) -> Tensor:
    tokens = mask.sum(dim=-1)
    if (tokens == 0).any():
        raise ObservationError(f"{what}: expected at least one token in each answer, got none")
    return torch.where(mask, values.double(), 0.0).sum(dim=-1) / tokens
