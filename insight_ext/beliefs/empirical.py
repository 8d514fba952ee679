"""The Beta distribution of a pool's success rates, fitted to first visits."""

from __future__ import annotations

import torch
from torch import Tensor

SMALLEST, LARGEST = 0.02, 200.0
ITERATIONS = 2_000
PRECISION = 1e-5


def fit_beta(successes: Tensor, rollouts: Tensor, counts: Tensor) -> tuple[float, float]:
    """The Beta prior under which such results are likeliest.

    Maximises the Beta-Binomial likelihood by Minka's fixed point

        alpha <- alpha sum(psi(s + alpha) - psi(alpha)) / sum(psi(K + n) - psi(n)), n = alpha + beta

    and likewise beta, from Beta(1, 1) on, which never lowers the likelihood.

    Args:
        successes, rollouts: shape (m,), 0 <= successes <= rollouts, rollouts >= 1.
        counts: shape (m,), how many prompts had each of these results.

    Returns:
        (alpha, beta), each in [0.02, 200]: results of one kind alone have no maximum.

    Determinism: float64 sums in the order given.

    Cost: a few hundred passes over m numbers.

    Source: Minka, Estimating a Dirichlet distribution (2000), eq. 65.

    Examples:
        >>> s = torch.arange(9)
        >>> alpha, beta = fit_beta(s, torch.full((9,), 8), torch.full((9,), 100))
        >>> round(alpha, 2), round(beta, 2)   # each count equally often: a uniform success rate
        (1.0, 1.0)
    """
    wins, tries, weights = (column.double() for column in (successes, rollouts, counts))
    losses = tries - wins
    alpha = beta = torch.tensor(1.0, dtype=torch.float64)
    for _ in range(ITERATIONS):
        strength = alpha + beta
        gained = (weights * (torch.digamma(tries + strength) - torch.digamma(strength))).sum()
        moved = [
            (
                side * (weights * (torch.digamma(part + side) - torch.digamma(side))).sum() / gained
            ).clamp(SMALLEST, LARGEST)
            for side, part in ((alpha, wins), (beta, losses))
        ]
        change = max(
            abs(float(new / old - 1.0)) for new, old in zip(moved, (alpha, beta), strict=True)
        )
        alpha, beta = moved
        if change < PRECISION:
            break
    return float(alpha), float(beta)
