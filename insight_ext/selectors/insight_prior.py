"""InSight with predicted beliefs, and with evidence valued at what it is worth."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from insight_ext.errors import ArgumentError
from insight_ext.predictors import FeatureRegression
from insight_ext.selectors.kernel_scored import ROLLOUTS
from insight_ext.selectors.predicted import PredictedSelector

# How fast the worth of evidence falls with the novelty; 6 to 12 do equally well.
EVIDENCE_FADES = 8
# Factor of the prompts that wait: behind all others, in their own order.
WAITING = 1e-2
# Repeats that teach as much as this need not wait for the best moment.
ALWAYS_NEW = 0.97


class InSightPrior(PredictedSelector):
    """Weighted information on beliefs that a regression predicts, for prompts seen and unseen.

        A = E[4 phi (1 - phi)] exp(-eta (p - mu)^2) * novelty^visits * I_K^power,
        power = information novelty^8

    With the uniform prior InSight cannot tell unseen prompts apart, and any unseen prompt beats
    any visited one; on a pool larger than the run it is random sampling. Here every belief
    comes from `FeatureRegression`: unseen prompts differ by their features, and all beliefs move
    with the skill that prompts share. The weight is the expected one, which an uncertain belief
    lowers, instead of the weight of the mean. And evidence counts for what it is worth: the
    novelty, estimated from the skill's growth, tells how much the next visit of a prompt still
    teaches; the information, as a small power, keeps beliefs fresh. What is learnt about a prompt
    pays at its later visits only, so its power falls with the novelty too.
    A prompt once visited and found too hard is left alone until the skill has come near it.

    Args:
        pool_size, seed, common: see `RankedSelector`.
        features: see `FeatureRegression`; None uses the shared skill alone.
        novelty: see `FeatureRegression`; None estimates it. 1 suits a small pool whose prompts
            keep teaching, and spares the steps that the estimate takes.
        information: power of the information at novelty 1, in [0, 1]; 1 is InSight's product.
        rollouts, eta, mu: see `WeightedInformation`; eta 0 leaves p (1 - p) alone.
        ready: success rate below which a visited prompt waits, in [0, 1].

    Determinism: see `RankedSelector`.

    Cost: O(n d) for d features.

    Source: InSight (arXiv 2603.01907), eq. 13 and 16, for the product of weight and information;
    the rest is ours. I_K is replaced by its bound ln(1 + K/n) / 2, at most 27 % too large for
    beliefs of 1/2 or more: under the power 0.1 less than 3 %.

    Example:
        >>> hard = torch.tensor([[0.0], [1.0], [2.0], [3.0], [9.0]])
        >>> selector = InSightPrior(5, features=hard)
        >>> selector.observe([0, 4], [7, 0], 8, step=0)
        >>> selector.select(1, step=1).tolist()   # unseen, predicted to be solved half the time
        [2]
    """

    settings = ("rollouts", "information", "eta", "mu", "ready")

    def __init__(
        self,
        pool_size: int,
        *,
        seed: int = 0,
        features: Tensor | None = None,
        novelty: float | None = None,
        information: float = 0.1,
        rollouts: int | None = None,
        eta: float = 0.0,
        mu: float = 0.5,
        ready: float = 0.5,
        **common: Any,
    ) -> None:
        for name, value in (("information", information), ("mu", mu), ("ready", ready)):
            if not 0.0 <= value <= 1.0:
                raise ArgumentError(f"{name}: expected in [0, 1], got {value}")
        if (rollouts is not None and rollouts < 1) or eta < 0.0:
            raise ArgumentError(
                f"expected rollouts >= 1 and eta >= 0, got rollouts {rollouts} and eta {eta}"
            )
        self._regression = FeatureRegression(pool_size, features, novelty=novelty)
        super().__init__(pool_size, self._regression, seed=seed, **common)
        self.information, self.rollouts, self.ready = information, rollouts, ready
        self.eta, self.mu = eta, mu

    def _scores(self, indices: Tensor | None) -> Tensor:
        # A belief of mean p and strength n = c / (1 - c) has E[phi (1 - phi)] = p (1 - p) c and
        # K / n = K (1 / c - 1).
        logit, shrink = self._regression.shrunk(indices)
        visits = self.posterior.visits if indices is None else self.posterior.visits[indices]
        mean, novelty = logit.sigmoid_(), self._regression.novelty
        scores = (1.0 - mean).mul_(mean).mul_(shrink).mul_(4.0)
        if self.eta:
            scores *= torch.exp(-self.eta * (mean - self.mu) ** 2)
        power = self.information * novelty**EVIDENCE_FADES
        information = (
            shrink.reciprocal_().sub_(1.0).mul_(self.rollouts or ROLLOUTS).log1p_().mul_(0.5)
        )
        scores *= information.pow_(power)
        # A power for every visit number there is, looked up: cheaper than a power for each prompt.
        powers = novelty ** torch.arange(int(visits.max()) + 1, dtype=torch.float32)
        scores *= powers[visits]
        if novelty < ALWAYS_NEW:
            waits = (mean < self.ready) & (visits > 0)
            scores.mul_(torch.where(waits, WAITING, 1.0))
        return scores

    def _terms(self, indices: Tensor) -> dict[str, Tensor]:
        return {**super()._terms(indices), "score": self._scores(indices)}
