"""What people use today for the same job, each in the form its users run."""

from __future__ import annotations

import numpy as np
import torch
from scipy import special
from torch import Tensor


def textbook_information(a: Tensor, b: Tensor, rollouts: int) -> Tensor:
    """I_K as entropies' difference, float32, as the formula is usually typed in."""

    def entropy(x: Tensor, y: Tensor) -> Tensor:
        n = x + y
        log_beta = torch.lgamma(x) + torch.lgamma(y) - torch.lgamma(n)
        digammas = (x - 1) * torch.digamma(x) + (y - 1) * torch.digamma(y)
        return log_beta - digammas + (n - 2) * torch.digamma(n)

    def log_beta(x: Tensor, y: Tensor) -> Tensor:
        return torch.lgamma(x) + torch.lgamma(y) - torch.lgamma(x + y)

    total = entropy(a, b)
    for s in range(rollouts + 1):
        log_choose = float(
            special.gammaln(rollouts + 1)
            - special.gammaln(s + 1)
            - special.gammaln(rollouts - s + 1)
        )
        chance = torch.exp(log_choose + log_beta(a + s, b + (rollouts - s)) - log_beta(a, b))
        total = total - chance * entropy(a + s, b + (rollouts - s))
    return total


def weigh(information: Tensor, a: Tensor, b: Tensor) -> Tensor:
    p = a / (a + b)
    return p * (1 - p) * torch.exp(-3.0 * (p - 0.3) ** 2) * information


def torch_textbook(a: Tensor, b: Tensor, k: int, rollouts: int) -> Tensor:
    return torch.topk(weigh(textbook_information(a, b, rollouts), a, b), k).indices


def torch_best(a: Tensor, b: Tensor, k: int, rollouts: int) -> Tensor:
    """The best that eager torch can do: the identity with digammas alone, over K rollouts."""

    def slope(x: Tensor) -> Tensor:
        return x * (torch.digamma(x + 1) - torch.log(x))

    def rising(x: Tensor, m: int) -> Tensor:
        return sum((torch.log1p(j / x) for j in range(1, m)), torch.zeros_like(x))

    n = a + b
    total = rollouts * (slope(a) + slope(b) - slope(n)) / n + rising(n, rollouts)
    chance = torch.ones_like(a)
    for j in range(rollouts):
        chance = chance * (b + j) / (n + j)
    for s in range(rollouts + 1):
        total = total - chance * (rising(a, s) + rising(b, rollouts - s))
        if s < rollouts:
            chance = chance * ((rollouts - s) / (s + 1)) * (a + s) / (b + (rollouts - s - 1))
    return torch.topk(weigh(total, a, b), k).indices


def numpy_textbook(a: np.ndarray, b: np.ndarray, k: int, rollouts: int) -> np.ndarray:
    def entropy(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        n = x + y
        digammas = (x - 1) * special.psi(x) + (y - 1) * special.psi(y)
        return special.betaln(x, y) - digammas + (n - 2) * special.psi(n)

    total = entropy(a, b)
    for s in range(rollouts + 1):
        log_chance = special.betaln(a + s, b + (rollouts - s)) - special.betaln(a, b)
        chance = special.comb(rollouts, s) * np.exp(log_chance)
        total = total - chance * entropy(a + s, b + (rollouts - s))
    p = a / (a + b)
    scores = p * (1 - p) * np.exp(-3.0 * (p - 0.3) ** 2) * total
    return np.argpartition(-scores, k)[:k]


def mopps_draw(a: np.ndarray, b: np.ndarray, k: int) -> np.ndarray:
    """What MoPPS code does: a Beta draw for every prompt, the k nearest to 1/2."""
    return np.argpartition((np.random.beta(a, b) - 0.5) ** 2, k)[:k]
