"""BOTS: beliefs that take in what one prompt's results say about all the others."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from insight_ext.errors import ArgumentError
from insight_ext.selectors.mopps import Mopps


class Bots(Mopps):
    """Thompson sampling on beliefs that mix a prompt's own results with predicted ones.

        alpha <- decay alpha + (1 - decay) alpha_0 + (1 - sharing) s + sharing q m

    and likewise beta, for every prompt at every step: s are its own successes of this step (0 if
    it was not drawn) and q its predicted success rate, counted as m answers.

    Args:
        pool_size, seed, candidate_ratio, target, common: see `Mopps`.
        decay: share of a belief that each step keeps, in [0, 1]; 1 less the paper's lambda.
        sharing: weight of the predicted results, in [0, 1].

    Deviation: the paper interpolates q between two reference models whose success rates are known
    in advance. Without them, q is the prompt's own mean, moved in logits as far as the batch's
    results lie from what was predicted of the batch; m is the batch's mean number of rollouts.

    Source: arXiv 2510.26374, eq. 5 and 6.

    Example:
        >>> selector = Bots(3)
        >>> selector.observe([0], [8], 8, step=0)
        >>> bool(selector.predict(torch.tensor([1])) > 0.5)   # not visited, yet thought easier
        True
    """

    settings = ("sharing",)

    def __init__(
        self,
        pool_size: int,
        *,
        seed: int = 0,
        decay: float = 0.8,
        sharing: float = 0.2,
        **common: Any,
    ) -> None:
        super().__init__(pool_size, seed=seed, decay=decay, **common)
        if not 0.0 <= sharing <= 1.0:
            raise ArgumentError(f"sharing: expected in [0, 1], got {sharing}")
        self.sharing = sharing

    def _learn(self, visited: Tensor, wins: Tensor, tries: Tensor) -> None:
        beliefs = self.posterior
        alpha, beta = beliefs.alpha.clone(), beliefs.beta.clone()
        super()._learn(visited, wins, tries)
        mean, count = alpha / (alpha + beta), float(tries.float().mean())
        # Half an answer on either side keeps the logit of an all-right batch finite.
        observed = (wins.sum() + 0.5) / (tries.sum() + 1.0)
        shift = torch.logit(observed) - torch.logit(mean[visited].mean())
        predicted = torch.sigmoid(torch.logit(mean) + shift) * count
        for belief, old, prior, counts, shared in (
            (beliefs.alpha, alpha, beliefs.prior[0], wins, predicted),
            (beliefs.beta, beta, beliefs.prior[1], tries - wins, count - predicted),
        ):
            kept = beliefs.decay * old + (1.0 - beliefs.decay) * prior
            belief.copy_(kept + self.sharing * shared)
            belief[visited] += (1.0 - self.sharing) * counts
