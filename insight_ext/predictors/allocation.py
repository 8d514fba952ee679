"""Test-time allocation: which prompt gets the next sample."""

from __future__ import annotations

import heapq

import torch
from torch import Tensor

from insight_ext.errors import ArgumentError
from insight_ext.predictors.features import check_each


def allocate_samples(success_rates: Tensor, budget: int, bins: int | None = None) -> Tensor:
    """Deal `budget` samples, each to the prompt that gains most from one more.

    After m samples a prompt of success rate gamma is still unsolved with probability
    (1 - gamma)^m, so one more sample solves it with probability gamma (1 - gamma)^m.

    With `bins` prompts count as their bin does: sorted by rate into so many bins of equal size (to
    within one), all prompts of a bin have its mean rate, and so as many samples, to within one.

    Args:
        success_rates: floats of shape (n,), in [0, 1].
        budget: samples to deal, at least 0.
        bins: of difficulty, at least 1, no more than prompts; None for each prompt by itself.

    Returns:
        int64 counts of shape (n,) that sum to the budget. Ties go to the earlier prompt.

    Raises:
        ArgumentError: a rate outside [0, 1], no prompt, a negative budget, bins outside their
            domain.

    Cost: O(budget log n).

    Source: GPS (arXiv 2602.01970), test-time allocation: by bins of predicted difficulty, and by
    the marginal gain. How many bins, and that their samples follow from their mean gain, is ours.

    Examples:
        >>> allocate_samples(torch.tensor([0.9, 0.5, 0.0]), 4)   # .9, .5, .25, .125
        tensor([1, 3, 0])
        >>> allocate_samples(torch.tensor([0.3, 0.9, 0.7, 0.5]), 6, bins=2)
        tensor([2, 1, 1, 2])
    """
    if budget < 0 or len(success_rates) == 0:
        raise ArgumentError(
            f"expected at least one prompt and a budget >= 0, got {len(success_rates)} prompts and "
            f"a budget of {budget}"
        )
    check_each("success_rates", success_rates, "a success rate", 1.0)
    if bins is not None:
        success_rates = _binned(success_rates, bins)
    rates = success_rates.tolist()
    queue = [(-rate, i) for i, rate in enumerate(rates)]
    heapq.heapify(queue)
    counts = torch.zeros(len(rates), dtype=torch.int64)
    for _ in range(budget):
        gain, i = queue[0]
        counts[i] += 1
        heapq.heapreplace(queue, (gain * (1.0 - rates[i]), i))
    return counts


def as_many_to_each(prompts: int, budget: int) -> Tensor:
    """The budget dealt evenly, the first prompts one more where it does not divide: int64 counts.

    Examples:
        >>> as_many_to_each(3, 8).tolist()
        [3, 3, 2]
    """
    counts = torch.full((prompts,), budget // prompts)
    counts[: budget % prompts] += 1
    return counts


def share_solved(success_rates: Tensor, samples: Tensor) -> float:
    """The expected share of prompts with a right answer among so many samples.

    Examples:
        >>> share_solved(torch.tensor([0.5, 1.0]), torch.tensor([2, 1]))
        0.875
    """
    return float((1.0 - (1.0 - success_rates) ** samples).mean())


def _binned(success_rates: Tensor, bins: int) -> Tensor:
    """Of each prompt the mean rate of its bin."""
    if not 1 <= bins <= len(success_rates):
        raise ArgumentError(
            f"bins: expected an integer in [1, {len(success_rates)}], the number of prompts, got "
            f"{bins}"
        )
    means = torch.empty(len(success_rates), dtype=torch.float64)
    for bin_ in success_rates.argsort(stable=True).tensor_split(bins):
        means[bin_] = success_rates[bin_].double().mean()
    return means.clamp(0.0, 1.0)
