"""The pools that are measured."""

from __future__ import annotations

import torch
from torch import Tensor


def settled(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Every prompt visited: a + b spread evenly over 2 to 200, any success rate."""
    generator = torch.Generator().manual_seed(seed)
    evidence = 2 + 198 * torch.rand(n, generator=generator)
    rate = torch.rand(n, generator=generator)
    return (evidence * rate).clamp_min_(0.1), (evidence * (1 - rate)).clamp_min_(0.1)


def unseen(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Nothing visited yet: one tie of all prompts."""
    return torch.ones(n), torch.ones(n)


def half_unseen(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Every other prompt unseen, at random."""
    alpha, beta = settled(n, seed)
    new = torch.rand(n, generator=torch.Generator().manual_seed(seed + 1)) < 0.5
    return alpha.masked_fill_(new, 1.0), beta.masked_fill_(new, 1.0)


POOLS = {"settled": settled, "unseen": unseen, "half unseen": half_unseen}
