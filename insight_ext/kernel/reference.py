"""The specification in float64: slow, obvious, and the only oracle of the tests.

Its formulas are not the kernel's: information is summed by the chain rule over single rollouts,
which needs no logarithm of large arguments and no cancellation.
"""

from __future__ import annotations

import torch
from torch import Tensor

from insight_ext.kernel.scores import (
    ExpectedDifficulty,
    InverseEvidence,
    MixedGroup,
    Score,
    WeightedInformation,
)

MASK = (1 << 64) - 1
GOLDEN_GAMMA = 0x9E3779B97F4A7C15


def entropy_slope(x: Tensor) -> Tensor:
    """h(x) = x (psi(x + 1) - ln x), which rises from 0 to 1/2.

    Args:
        x: float64, positive.

    Returns:
        float64, same shape; absolute error under 1e-13.

    Source: above 50 the asymptotic series, Abramowitz and Stegun 6.3.18.

    Examples:
        >>> entropy_slope(torch.tensor([1.0], dtype=torch.float64))
        tensor([0.4228], dtype=torch.float64)
    """
    w = 1 / (x * x)
    series = 0.5 - (1 - w * (1 / 10 - w * (1 / 21 - w / 20))) / (12 * x)
    return torch.where(x > 50, series, x * (torch.digamma(x + 1) - torch.log(x)))


def information(alpha: Tensor, beta: Tensor, rollouts: int) -> Tensor:
    """I_K: what K rollouts are expected to tell about the success rate.

    By the chain rule, the sum over k < K of what rollout k + 1 tells once k are known:
    `(sum_s P_k(s) (h(a + s) + h(b + k - s)) - h(n + k)) / (n + k)`, with P_k(s) the chance of s
    successes in k rollouts, built up as a Polya urn.

    Args:
        alpha, beta: float64, any shape, positive.
        rollouts: K, at least 1.

    Returns:
        nats, float64, same shape.

    Cost: O(K^2) operations on tensors of that shape.

    Source: docs/kernel.md.

    Examples:
        >>> one = torch.ones(1, dtype=torch.float64)
        >>> information(one, one, 8)
        tensor([0.7664], dtype=torch.float64)
    """
    n = alpha + beta
    total = torch.zeros_like(n)
    chances = [torch.ones_like(n)]
    for k in range(rollouts):
        slopes = [
            chance * (entropy_slope(alpha + s) + entropy_slope(beta + (k - s)))
            for s, chance in enumerate(chances)
        ]
        total += (torch.stack(slopes).sum(0) - entropy_slope(n + k)) / (n + k)
        success = [chance * (alpha + s) / (n + k) for s, chance in enumerate(chances)]
        failure = [chance * (beta + (k - s)) / (n + k) for s, chance in enumerate(chances)]
        none = torch.zeros_like(n)
        chances = [f + s for f, s in zip([*failure, none], [none, *success], strict=True)]
    return total


def weight(p: Tensor, eta: float, mu: float) -> Tensor:
    """w(p) = p (1 - p) exp(-eta (p - mu)^2): how well a difficulty suits learning."""
    return p * (1 - p) * torch.exp(-eta * (p - mu) ** 2)


def score(alpha: Tensor, beta: Tensor, score: Score | None = None) -> Tensor:
    """The score of every belief, in float64.

    Args:
        alpha, beta: beliefs (N,), any floating dtype, positive.
        score: which, of those that are not random; WeightedInformation() if None.

    Returns:
        float64, same shape.

    Examples:
        >>> score(torch.ones(1), torch.ones(1))
        tensor([0.1699], dtype=torch.float64)
    """
    chosen = WeightedInformation() if score is None else score
    a, b = alpha.double(), beta.double()
    p = a / (a + b)
    if isinstance(chosen, WeightedInformation) and chosen.weight != "draw":
        none = torch.ones_like(a)
        w = weight(p, chosen.eta, chosen.mu) if chosen.weight == "mean" else none
        return w * (information(a, b, chosen.rollouts) if chosen.information else none)
    if isinstance(chosen, ExpectedDifficulty):
        return -(p - chosen.target).abs()
    if isinstance(chosen, InverseEvidence):
        return 1 / (1 + a + b)
    if isinstance(chosen, MixedGroup):
        steps = torch.arange(chosen.rollouts, dtype=torch.float64)[:, None]
        solved = ((a + steps) / (a + b + steps)).prod(0)
        failed = ((b + steps) / (a + b + steps)).prod(0)
        return 1 - solved - failed
    raise TypeError(f"score: expected a deterministic score, got {chosen!r}")


def mix(z: int) -> int:
    """The finaliser of SplitMix64, a bijection of the 64-bit integers."""
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
    return z ^ (z >> 31)


def tie_hash(seed: int, index: int) -> int:
    """The hash that decides between equal scores; larger comes first.

    Args:
        seed: of the selection, 0 to 2^64 - 1.
        index: of the prompt.

    Returns:
        0 to 2^64 - 1, different for different indices.

    Source: SplitMix64 (Steele, Lea and Flood 2014).

    Examples:
        >>> hex(tie_hash(0, 0))
        '0x48218226ff3cd4bf'
    """
    return mix((mix((seed + GOLDEN_GAMMA) & MASK) + index * GOLDEN_GAMMA) & MASK)


def order(scores: Tensor, seed: int = 0) -> list[int]:
    """THE order of a pool: score descending, then tie_hash descending, then index ascending.

    Args:
        scores: float32 (N,), as the kernel returns them.
        seed: of the selection.

    Returns:
        all N indices, first the best.

    Examples:
        >>> order(torch.tensor([0.1, 0.3, 0.2]))
        [1, 2, 0]
    """
    keys = [(-s, MASK - tie_hash(seed, i), i) for i, s in enumerate(scores.tolist())]
    return [i for _, _, i in sorted(keys)]
