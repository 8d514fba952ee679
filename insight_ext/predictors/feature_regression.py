"""A small Bayesian regression from features to success rates that follows the model's progress."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from insight_ext.errors import ArgumentError
from insight_ext.predictors.features import check_features, checksum
from insight_ext.predictors.predictor import Predictor
from insight_ext.predictors.skill import SkillFilter

# Iterations of the two Newton loops; both settle in three or four on all of the referee's learners.
JOINT_ITERATIONS, OWN_ITERATIONS = 6, 4


class FeatureRegression(Predictor):
    """An item response model filtered online: shared skill, features, and each prompt's own part.

        logit P(success on i at step t) = x_i . b_t + u_i,   u_i ~ Normal(0, spread^2)

    b_t (intercept and coefficients) drifts; its intercept is the skill that all prompts share, so
    every success rate moves when the model improves, whether its prompt was visited or not. u_i is
    what the features do not tell; each visit narrows it. The spread is estimated from first visits
    by its marginal likelihood, and is what makes the predictions' strength honest: with features
    that say nothing the spread is as wide as the pool, and predictions are weak.
    What repeated visits still teach (`novelty`) is estimated from the skill's growth.

    Args:
        pool_size: number of prompts.
        features: float tensor of shape (pool_size, d), finite; None for the shared skill alone.
            Standardised by this class.
        novelty: share of a visit's effect that the next visit of the same prompt has, in (0, 1];
            None estimates it, starting from a mean of 0.75.
        drift: unforeseen change of the shared part per step, in logits (standard deviation).
        own_drift: the same for each prompt's own part.

    Raises:
        ArgumentError: features of the wrong shape or not finite, numbers outside their domain.

    Determinism: no randomness; equal calls give equal bits for equal thread counts.

    Cost: a step O(m d^2 + d^3); `beliefs` one pass over the features, O(n d).

    Source: ours. The item response model is Rasch (1960); a random effect's mean and variance
    become a Beta by matching E[phi] and E[phi (1 - phi)] under MacKay's (1992) approximation
    E[logistic(x)] = logistic(c m), c = 1 / sqrt(1 + pi v / 8), which gives strength c / (1 - c).

    Example:
        >>> digits = torch.arange(8.0)[:, None]
        >>> model = FeatureRegression(8, digits)
        >>> model.observe(torch.tensor([0, 6]), torch.tensor([8, 0]), torch.tensor([8, 8]))
        >>> alpha, beta = model.beliefs()
        >>> bool((alpha / (alpha + beta))[1] > (alpha / (alpha + beta))[5])   # neither was visited
        True
    """

    what = "feature regression"
    of_pool = ("features",)
    per_prompt = ("own", "own_variance", "visits", "_latest")
    values = ("_step", "_evidence")
    parts = ("skill",)

    NOVELTIES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)

    def __init__(
        self,
        pool_size: int,
        features: Tensor | None = None,
        *,
        novelty: float | None = None,
        drift: float = 0.03,
        own_drift: float = 0.03,
    ) -> None:
        if novelty is not None and not 0.0 < novelty <= 1.0:
            raise ArgumentError(f"novelty: expected in (0, 1], got {novelty}")
        for name, value in (("drift", drift), ("own_drift", own_drift)):
            if not 0.0 <= value < math.inf:
                raise ArgumentError(f"{name}: expected a finite number >= 0, got {value}")
        if features is None:
            features = torch.zeros(pool_size, 0)
        check_features(features, pool_size)
        self.features = checksum(features)
        self._inputs = torch.cat((torch.ones(pool_size, 1), _standardised(features)), dim=1)
        self.skill = SkillFilter(
            features.shape[1], self.NOVELTIES if novelty is None else (novelty,), drift
        )
        self._own_drift = own_drift
        self.own = torch.zeros(pool_size)
        self.own_variance = torch.zeros(pool_size)
        self.visits = torch.zeros(pool_size, dtype=torch.int32)
        self._latest = torch.zeros(pool_size, dtype=torch.int32)
        self._step = 0
        self._spreads = torch.logspace(math.log10(0.1), math.log10(5.0), 15, dtype=torch.float64)
        # Log evidence of each spread, from a broad prior around 2 logits.
        self._evidence = -0.5 * ((self._spreads.log() - math.log(2.0)) / 1.5) ** 2
        nodes, weights = np.polynomial.hermite_e.hermegauss(15)
        self._nodes, self._node_weights = torch.from_numpy(nodes), torch.from_numpy(weights)
        self._node_weights = self._node_weights / self._node_weights.sum()

    @property
    def spread(self) -> float:
        """Standard deviation, in logits, of what the features do not tell."""
        return float(self._evidence.softmax(0) @ self._spreads)

    @property
    def novelty(self) -> float:
        """What a further visit of a prompt teaches, as a share of the visit before."""
        return self.skill.novelty

    def logits(self, indices: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and variance of the logit of each success rate, of these prompts or of all."""
        chosen = slice(None) if indices is None else indices
        mean = self._inputs[chosen] @ self.skill.coefficients.float() + self.own[chosen]
        return mean, self._variance(chosen)

    def shrunk(self, indices: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(c m, c) of these prompts or of all: logistic(c m) is the expected success rate."""
        mean, variance = self.logits(indices)
        shrink = variance.mul_(math.pi / 8.0).add_(1.0).rsqrt_()
        return mean.mul_(shrink), shrink

    def beliefs(self) -> tuple[Tensor, Tensor]:
        """See `Predictor.beliefs`."""
        logit, shrink = self.shrunk()
        strength = shrink / (1.0 - shrink)
        return logit.sigmoid() * strength, logit.neg().sigmoid() * strength

    def observe(self, indices: Tensor, successes: Tensor, rollouts: Tensor) -> None:
        """See `Predictor.observe`."""
        inputs = self._inputs[indices].double()
        own, variance = self.own[indices].double(), self._variance(indices).double()
        wins, tries = successes.double(), rollouts.double()
        targets, noise = self._linearised(inputs, own, variance, wins, tries)
        self.skill.update(inputs, targets, noise)

        shared = inputs @ self.skill.coefficients
        first = self.visits[indices] == 0
        self._weigh_spreads(shared[first], wins[first], tries[first])

        logit = own.clone()
        for _ in range(OWN_ITERATIONS):
            p = torch.sigmoid(shared + logit)
            slope = wins - tries * p - (logit - own) / variance
            logit += (slope / (tries * p * (1.0 - p) + 1.0 / variance)).clamp(-3.0, 3.0)
        p = torch.sigmoid(shared + logit)
        narrowed = 1.0 / (1.0 / variance + tries * p * (1.0 - p))

        shrink = (1.0 + math.pi / 8.0 * narrowed).rsqrt()
        p = torch.sigmoid((shared + logit) * shrink)
        visits = self.visits[indices].double()
        taught = (4.0 * p * (1.0 - p) * shrink) @ self.skill.novelties ** visits[:, None]
        self.skill.advance(taught / len(indices))

        self.own[indices], self.own_variance[indices] = logit.float(), narrowed.float()
        self.visits[indices] += 1
        self._latest[indices] = self._step
        self._step += 1

    def _variance(self, chosen: Any) -> Tensor:
        """Of each prompt's own part: it widens with time, up to that of a prompt never seen."""
        unseen = self.spread**2
        age = self._step - self._latest[chosen]
        variance = (self.own_variance[chosen] + self._own_drift**2 * age).clamp_(max=unseen)
        return variance.masked_fill_(self.visits[chosen] == 0, unseen)

    def _linearised(
        self, inputs: Tensor, own: Tensor, variance: Tensor, wins: Tensor, tries: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The batch as observations of x . b: Newton's method on the marginal likelihood.

        The prompts' own parts are integrated out by quadrature. Linearising at their mode instead
        would shrink the coefficients, the more so the wider the spread.
        """
        prior, center = torch.linalg.inv(self.skill.uncertainty), self.skill.coefficients
        coefficients = center.clone()
        around = own[:, None] + variance.sqrt()[:, None] * self._nodes
        wins, tries = wins[:, None], tries[:, None]
        for _ in range(JOINT_ITERATIONS):
            shared = inputs @ coefficients
            p = torch.sigmoid(shared[:, None] + around)
            weights = self._log_likelihood(shared[:, None] + around, wins, tries).softmax(1)
            error = wins - tries * p
            slope = (weights * error).sum(1)
            bend = (weights * (tries * p * (1.0 - p) - error**2)).sum(1) + slope**2
            # Far out an observation says next to nothing; the floor keeps the step finite.
            precision = bend.clamp(min=1e-3)
            targets = shared + slope / precision
            scaled = inputs * precision[:, None]
            solved = torch.linalg.solve(
                prior + scaled.T @ inputs, prior @ center + scaled.T @ targets
            )
            coefficients += (solved - coefficients).clamp(-2.0, 2.0)
        return targets, 1.0 / precision

    def _log_likelihood(self, logit: Tensor, wins: Tensor, tries: Tensor) -> Tensor:
        """Of the successes at each quadrature node (last dimension), its weight included."""
        log_likelihood = wins * torch.nn.functional.logsigmoid(logit)
        log_likelihood += (tries - wins) * torch.nn.functional.logsigmoid(-logit)
        return log_likelihood + self._node_weights.log()

    def _weigh_spreads(self, shared: Tensor, wins: Tensor, tries: Tensor) -> None:
        """Add the marginal likelihood of these first visits under each spread."""
        logit = shared[:, None, None] + self._spreads[:, None] * self._nodes
        likelihood = self._log_likelihood(logit, wins[:, None, None], tries[:, None, None])
        marginal = torch.logsumexp(likelihood, dim=2)
        self._evidence += marginal.sum(0)
        self._evidence -= self._evidence.max()

    def metrics(self) -> dict[str, float]:
        """`skill` (intercept, logits), `spread` (logits) and `novelty`."""
        return {
            "skill": float(self.skill.coefficients[0]),
            "spread": self.spread,
            "novelty": self.novelty,
        }


def _standardised(features: Tensor) -> Tensor:
    centred = features.float() - features.float().mean(0)
    deviation = centred.square().mean(0).sqrt()
    return centred / torch.where(deviation > 0, deviation, 1.0)
