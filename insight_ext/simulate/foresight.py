"""How far a predictor can be believed about prompts at their first visit: mean and strength."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from insight_ext.errors import ArgumentError
from insight_ext.proposers import make_proposer
from insight_ext.proposers.predicted import PredictedProposer
from insight_ext.report.measures import (
    Counts,
    Floats,
    Reliability,
    expected_calibration_error,
    reliability,
)
from insight_ext.simulate.compare import Setting, parse_arm
from insight_ext.simulate.learners import make_learner
from insight_ext.simulate.trial import run_trial

PREDICTORS = ("insight_prior", "gps")
LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
# The first steps know next to nothing, and are as many as the model has to learn from.
LEARNING = 10


@dataclass(frozen=True)
class Foresight:
    """What was foretold of prompts at their first visit, and what came; arrays of shape (V,).

    Attributes:
        alpha, beta: the predicted Beta of the success rate, before the visit.
        successes: of `rollouts` answers.
    """

    alpha: Floats
    beta: Floats
    successes: Counts
    rollouts: int

    @property
    def mean(self) -> Floats:
        """The predicted success rates."""
        mean: Floats = self.alpha / (self.alpha + self.beta)
        return mean

    @property
    def curve(self) -> Reliability:
        """Predicted against observed success rates, binned."""
        return reliability(self.mean, self.successes, np.full_like(self.successes, self.rollouts))

    @property
    def error(self) -> float:
        """The expected calibration error."""
        return expected_calibration_error(self.curve)

    def coverage(self, level: float) -> tuple[float, float]:
        """(expected, observed) share of successes in the central Beta-Binomial intervals.

        Successes are whole numbers, so an interval of at least `level` holds more than that: the
        expected share is what the intervals hold by the predictions themselves.
        """
        chances = beta_binomial(self.alpha, self.beta, self.rollouts)
        below = np.cumsum(chances, axis=1)
        tail = (1.0 - level) / 2.0
        low, high = (below < tail).sum(1), (below < 1.0 - tail - 1e-12).sum(1)
        counts = np.arange(self.rollouts + 1)
        inside = (counts >= low[:, None]) & (counts <= high[:, None])
        came = (self.successes >= low) & (self.successes <= high)
        return float((chances * inside).sum(1).mean()), float(came.mean())


def beta_binomial(alpha: Floats, beta: Floats, rollouts: int) -> Floats:
    """P(s successes of `rollouts`) for s = 0 ... rollouts: float64 of shape (n, rollouts + 1).

    Example:
        >>> beta_binomial(np.array([1.0]), np.array([1.0]), 3).round(6).tolist()
        [[0.25, 0.25, 0.25, 0.25]]
    """
    a, b = (torch.from_numpy(side).double()[:, None] for side in (alpha, beta))
    s, k = torch.arange(rollouts + 1, dtype=torch.float64), torch.tensor(float(rollouts))
    ways = torch.lgamma(k + 1.0) - torch.lgamma(s + 1.0) - torch.lgamma(k - s + 1.0)
    over = torch.lgamma(a + s) + torch.lgamma(b + k - s) - torch.lgamma(a + b + k)
    under = torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)
    chances: Floats = torch.exp(ways + over - under).numpy()
    return chances


class Watched:
    """A proposer whose predictions of first visits are kept, with what came of them."""

    def __init__(self, proposer: PredictedProposer) -> None:
        self._proposer = proposer
        self._beliefs = torch.empty(0), torch.empty(0)
        self.rows: list[tuple[Floats, Floats, Counts]] = []

    def select(self, k: int) -> Tensor:
        """The proposer's selection."""
        chosen = self._proposer.select(k)
        alpha, beta = self._proposer.predictor.beliefs()
        self._beliefs = alpha[chosen], beta[chosen]
        return chosen

    def observe(self, indices: Tensor, successes: Tensor, rollouts: int) -> None:
        """Keep the first visits, then let the proposer observe."""
        first = self._proposer.posterior.visits[indices] == 0
        alpha, beta = (side[first].double().numpy() for side in self._beliefs)
        self.rows.append((alpha, beta, successes[first].numpy()))
        self._proposer.observe(indices, successes, rollouts)


def watch(setting: Setting, arm: str, seeds: int) -> Foresight:
    """Train a learner by a strategy that predicts, and keep what it foretold of first visits.

    Args:
        setting: the learner.
        arm: see `compare`; its proposer has a predictor.
        seeds: how many; all their visits count together. The first `LEARNING` steps do not.

    Raises:
        ArgumentError: a strategy without a predictor, fewer than 1 seed, or no first visit after
            the steps that do not count.
    """
    if seeds < 1:
        raise ArgumentError(f"seeds: expected at least 1, got {seeds}")
    rows: list[tuple[Floats, Floats, Counts]] = []
    for seed in range(seeds):
        learner = make_learner(
            setting.learner, seed=seed, prompts=setting.pool, correlation=setting.correlation
        )
        name, options = parse_arm(arm)
        if options.get("features") is True:
            options = {**options, "features": learner.features}
        proposer: Any = make_proposer(name, setting.pool, seed=seed, **options)
        if not isinstance(proposer, PredictedProposer):
            raise ArgumentError(
                f"strategy {arm!r}: expected one that predicts, such as {', '.join(PREDICTORS)}"
            )
        watched = Watched(proposer)
        run_trial(
            learner,
            watched,
            steps=setting.steps,
            prompts=setting.prompts,
            rollouts=setting.rollouts,
        )
        rows += watched.rows[LEARNING:]
    alpha, beta, successes = (np.concatenate(column) for column in zip(*rows, strict=True))
    if not len(successes):
        raise ArgumentError(
            f"steps: expected first visits after step {LEARNING}, found none in {setting.steps} "
            f"steps on a pool of {setting.pool}; take a larger pool or more steps"
        )
    return Foresight(alpha, beta, successes, setting.rollouts)


def markdown(foresights: dict[str, Foresight]) -> str:
    """Two tables: how well means and strengths are calibrated; the means' reliability curves."""
    lines = [
        "| strategy | first visits | mean strength | calibration error of the mean | in the 50 % "
        "interval (expected) | in the 80 % interval (expected) |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for arm, seen in foresights.items():
        shares = []
        for level in (0.5, 0.8):
            expected, observed = seen.coverage(level)
            shares.append(f"{observed:.1%} ({expected:.1%})")
        strength = float((seen.alpha + seen.beta).mean())
        lines.append(
            f"| {arm} | {len(seen.successes):,} | {strength:.2f} | {seen.error:.3f} | "
            f"{' | '.join(shares)} |"
        )
    lines += ["", "| strategy | predicted | observed | first visits |", "| --- | --- | --- | --- |"]
    for arm, seen in foresights.items():
        curve = seen.curve
        rows = zip(curve.predicted, curve.observed, curve.groups, strict=True)
        lines += [f"| {arm} | {p:.3f} | {o:.3f} | {n:,} |" for p, o, n in rows]
    return "\n".join(lines) + "\n"


def arms_of(text: str) -> Sequence[str]:
    """Arms from a command line's text, separated by semicolons."""
    return [arm.strip() for arm in text.split(";")]
