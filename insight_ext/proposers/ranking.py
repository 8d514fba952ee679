"""Choosing by a score that is not one of the kernel's: candidates, and the k best of a tensor."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def draw_candidates(
    random: np.random.Generator, pool_size: int, count: int, exclude: Tensor, *, at_least: int
) -> Tensor:
    """About `count` distinct prompts drawn uniformly, without the excluded ones.

    Args:
        random: the stream to draw from.
        pool_size: number of prompts.
        count: how many to draw, at most the pool size.
        exclude: int64 indices that must not be among them.
        at_least: draw again from the whole pool, without the excluded, if fewer than this remain.

    Returns:
        int64 indices, in no particular order.
    """
    drawn = torch.from_numpy(random.choice(pool_size, count, replace=False, shuffle=False))
    if len(exclude):
        drawn = drawn[~torch.isin(drawn, exclude)]
    if len(drawn) < at_least:
        allowed = torch.ones(pool_size, dtype=torch.bool)
        allowed[exclude] = False
        rest = allowed.nonzero()[:, 0]
        drawn = rest[torch.from_numpy(random.permutation(len(rest))[: max(count, at_least)])]
    return drawn


def best(scores: Tensor, k: int, random: np.random.Generator, exclude: Tensor) -> Tensor:
    """The indices of the `k` largest scores, best first; ties at the cut fall by lot.

    Args:
        scores: floats of shape (n,), no NaN. Overwritten at `exclude`.
        k: how many, at most n less the excluded.
        random: the stream that decides ties.
        exclude: int64 indices not to choose.

    Returns:
        int64 indices of shape (k,).

    Cost: O(n).
    """
    scores[exclude] = -torch.inf
    cut = scores.topk(k, sorted=False).values.min()
    above = (scores > cut).nonzero()[:, 0]
    above = above[scores[above].argsort(descending=True, stable=True)]
    # Few scores reach the cut unless there are ties, and then all of them must be in the draw.
    level = (scores == cut).nonzero()[:, 0]
    drawn = random.choice(len(level), k - len(above), replace=False)
    return torch.cat((above, level[torch.from_numpy(drawn)]))
