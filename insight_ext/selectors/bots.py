"""BOTS: beliefs that take in what one prompt's results say about all the others."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from insight_ext.errors import ArgumentError
from insight_ext.plugins import check_between
from insight_ext.predictors.features import check_each
from insight_ext.selectors.mopps import Mopps


class Bots(Mopps):
    """Thompson sampling on beliefs that mix a prompt's own results with predicted ones.

        alpha <- decay alpha + (1 - decay) alpha_0 + (1 - sharing) s + sharing q m

    and likewise beta, for every prompt at every step: s are its own successes of this step (0 if
    it was not drawn) and q its predicted success rate, counted as m answers, the batch's mean
    number of rollouts. Of a prompt that was drawn q is what came, so its own results count whole.

    Args:
        pool_size, seed, candidate_ratio, target, common: see `Mopps`.
        decay: share of a belief that each step keeps, in [0, 1]; 1 less the paper's lambda. There
            is no half-life beside it: one of h steps is a decay of 2 ** (-1 / h).
        sharing: weight of the predicted results, in [0, 1]; the paper's rho.
        references: success rates of a weaker and a stronger model, shape (pool_size, 2), in [0, 1];
            `make_selector` takes `"meta:WEAKER,STRONGER"`. q is then interpolated between the two,
            as far as the batch's results lie between those of the same prompts. None: q is the
            prompt's own mean, moved in logits as far as the batch's results lie from what was
            predicted of it (deviation).
        memory: share of the estimate of how far that is that a step keeps, in [0, 1).
        draw: whether a selection draws from the beliefs or takes their means.
        temperature: 0 takes the prompts nearest to the target; above 0 they are drawn without
            replacement, with weights exp(-|g - target| / temperature).

    As published: `references="meta:WEAKER,STRONGER", decay=0.9, sharing=0.1,
    candidate_ratio=None`.

    Source: arXiv 2510.26374, eq. 5 and 6; its code (modelscope/Trinity-RFT, commits 607f1db and
    0381d17) for the interpolation, the temperature and the numbers.

    Examples:
        >>> selector = Bots(3)
        >>> selector.observe([0], [8], 8, step=0)
        >>> bool(selector.predict(torch.tensor([1])) > 0.5)   # not visited, yet thought easier
        True
    """

    settings = ("sharing", "memory", "draw", "temperature")
    of_pool = ("references",)
    values = ("capability",)

    def __init__(
        self,
        pool_size: int,
        *,
        seed: int = 0,
        decay: float = 0.8,
        sharing: float = 0.2,
        references: Tensor | None = None,
        memory: float = 0.9,
        draw: bool = True,
        temperature: float = 0.0,
        **common: Any,
    ) -> None:
        super().__init__(pool_size, seed=seed, decay=decay, **common)
        if self.posterior.half_life is not None:
            raise ArgumentError(
                f"half_life: expected none, since decay acts at every step, got "
                f"{self.posterior.half_life}; give decay={2 ** (-1 / self.posterior.half_life):.3g}"
            )
        check_between("a share", 0.0, 1.0, sharing=sharing)
        if not 0.0 <= memory < 1.0:
            raise ArgumentError(f"memory: expected in [0, 1), got {memory}")
        if not 0.0 <= temperature < math.inf:
            raise ArgumentError(f"temperature: expected a finite number >= 0, got {temperature}")
        if references is not None:
            check_each("references", references, "success rates", 1.0, (pool_size, 2))
            references = references.float()
        self.references = references
        self.sharing, self.memory = sharing, memory
        self.draw, self.temperature = draw, temperature
        # 0: as the weaker reference, 1: as the stronger; no estimate yet.
        self.capability = math.inf

    def _best(self, k: int, candidates: Tensor | None, exclude: Tensor) -> Tensor:
        if self.draw and not self.temperature:
            return super()._best(k, candidates, exclude)
        if self.draw:
            chosen, distances = self._distances(self.target, candidates)
        else:
            alpha, beta = self.posterior.current(candidates)
            chosen, distances = candidates, (alpha / (alpha + beta) - self.target).abs()
        scores = -distances
        if self.temperature:
            scores = self._race(scores / self.temperature, chosen)
        return self._top(scores, k, chosen, exclude)

    def _learn(self, visited: Tensor, wins: Tensor, tries: Tensor) -> None:
        beliefs = self.posterior
        alpha, beta = beliefs.alpha.clone(), beliefs.beta.clone()
        super()._learn(visited, wins, tries)
        count = float(tries.float().mean())
        predicted = self._predicted(alpha / (alpha + beta), visited, wins, tries) * count
        for belief, old, prior, counts, shared in (
            (beliefs.alpha, alpha, beliefs.base[0], wins, predicted),
            (beliefs.beta, beta, beliefs.base[1], tries - wins, count - predicted),
        ):
            moved = beliefs.decay * old + (1.0 - beliefs.decay) * prior
            own = moved[visited] + counts
            belief.copy_(moved.add_(self.sharing * shared))
            belief[visited] = own

    def _predicted(self, mean: Tensor, visited: Tensor, wins: Tensor, tries: Tensor) -> Tensor:
        """The success rate of every prompt, as the batch's results tell it."""
        if self.references is None:
            # Half an answer on either side keeps the logit of an all-right batch finite.
            observed = (wins.sum() + 0.5) / (tries.sum() + 1.0)
            shift = torch.logit(observed) - torch.logit(mean[visited].mean())
            return torch.sigmoid(torch.logit(mean) + shift)
        weaker, stronger = self.references.unbind(1)
        low, high = float(weaker[visited].mean()), float(stronger[visited].mean())
        present = (float((wins / tries).mean()) - low) / (high - low + 1e-6)
        if math.isinf(self.capability):
            self.capability = present
        self.capability = self.memory * self.capability + (1.0 - self.memory) * present
        return (weaker + self.capability * (stronger - weaker)).clamp(0.0, 1.0)
