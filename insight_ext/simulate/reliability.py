"""How far a predictor can be believed about prompts at their first visit: mean and strength."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from insight_ext.errors import ArgumentError
from insight_ext.plugins import whole
from insight_ext.report.measures import (
    Counts,
    Floats,
    Reliability,
    expected_calibration_error,
    reliability,
)
from insight_ext.selectors import BeliefSelector, Uniform
from insight_ext.selectors.base import NONE
from insight_ext.simulate.arms import RANDOM, parse_arm, selector_of
from insight_ext.simulate.compare import Setting

PREDICTORS = ("insight (features)", "gps")
OWN = "its own"
CHOICES = (RANDOM, OWN)
LEVEL = 0.8


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

    @property
    def chances(self) -> Floats:
        """The predicted P(s successes), shape (V, rollouts + 1)."""
        return beta_binomial(self.alpha, self.beta, self.rollouts)

    @property
    def shares(self) -> tuple[Floats, Floats]:
        """(predicted, observed) share of the visits with s successes, s = 0 ... rollouts.

        It is the strength that tells mixed groups from solved and failed ones: of two beliefs
        with mean 1/2 the weak one expects all or nothing.
        """
        observed = np.bincount(self.successes, minlength=self.rollouts + 1) / len(self.successes)
        return self.chances.mean(0), observed

    def coverage(self, level: float = LEVEL) -> tuple[float, float]:
        """(predicted, observed) share of successes in the central Beta-Binomial intervals.

        Successes are whole numbers, so an interval of at least `level` holds more than that: the
        predicted share is what the intervals hold by the predictions themselves.
        """
        chances = self.chances
        below = np.cumsum(chances, axis=1)
        tail = (1.0 - level) / 2.0
        low, high = (below < tail).sum(1), (below < 1.0 - tail - 1e-12).sum(1)
        counts = np.arange(self.rollouts + 1)
        inside = (counts >= low[:, None]) & (counts <= high[:, None])
        came = (self.successes >= low) & (self.successes <= high)
        return float((chances * inside).sum(1).mean()), float(came.mean())


def beta_binomial(alpha: Floats, beta: Floats, rollouts: int) -> Floats:
    """P(s successes of `rollouts`) for s = 0 ... rollouts: float64 of shape (n, rollouts + 1).

    Examples:
        >>> beta_binomial(np.array([1.0]), np.array([1.0]), 3).round(6).tolist()
        [[0.25, 0.25, 0.25, 0.25]]
    """
    a, b = (torch.from_numpy(side).double()[:, None] for side in (alpha, beta))
    s = torch.arange(rollouts + 1, dtype=torch.float64)
    k = s[-1]
    ways = torch.lgamma(k + 1.0) - torch.lgamma(s + 1.0) - torch.lgamma(k - s + 1.0)
    over = torch.lgamma(a + s) + torch.lgamma(b + k - s) - torch.lgamma(a + b + k)
    under = torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)
    chances: Floats = torch.exp(ways + over - under).numpy()
    return chances


class Watched:
    """A selector whose predictions of first visits are kept, with what came of them.

    Args:
        selector: it predicts, and observes.
        chooser: it selects.
    """

    def __init__(self, selector: BeliefSelector, chooser: BeliefSelector) -> None:
        self._selector, self._chooser = selector, chooser
        self._beliefs = torch.empty(0), torch.empty(0)
        self.rows: list[tuple[Floats, Floats, Counts]] = []

    def select(self, k: int, *, step: int, exclude: Tensor = NONE) -> Tensor:
        """The chooser's selection."""
        chosen = self._chooser.select(k, step=step, exclude=exclude)
        terms = self._selector.explain(chosen)
        self._beliefs = terms["alpha"], terms["beta"]
        return chosen

    def observe(self, indices: Tensor, successes: Tensor, rollouts: Tensor, *, step: int) -> None:
        """Keep the first visits, then observe."""
        first = self._selector.posterior.visits[indices] == 0
        alpha, beta = (side[first].double().numpy() for side in self._beliefs)
        self.rows.append((alpha, beta, successes[first].numpy()))
        self._selector.observe(indices, successes, rollouts, step=step)


def check_predicts(arm: str) -> None:
    """ArgumentError unless the arm is known and tells prompts apart before their first visit."""
    _, options = parse_arm(arm)
    if "features" not in options:
        raise ArgumentError(
            f"strategy {arm!r}: expected one that predicts, such as {' or '.join(PREDICTORS)}"
        )


def watch(setting: Setting, arm: str, choice: str, seeds: int) -> Foresight:
    """Train a learner, and keep what a predictor foretold of prompts at their first visit.

    Args:
        setting: the learner.
        arm: see `compare`; its selector has features.
        choice: of the prompts, see `CHOICES`: at random, where predictions of every size come up,
            or by the strategy itself, where they matter.
        seeds: how many, at least 1; all their first visits count together.

    Raises:
        ArgumentError: no seed, or a strategy without a predictor.
    """
    check_predicts(arm)
    whole("seeds", seeds, 1)
    rows = [row for seed in range(seeds) for row in _first_visits(setting, arm, choice, seed)]
    alpha, beta, successes = (np.concatenate(column) for column in zip(*rows, strict=True))
    return Foresight(alpha, beta, successes, setting.rollouts)


def _first_visits(
    setting: Setting, arm: str, choice: str, seed: int
) -> list[tuple[Floats, Floats, Counts]]:
    learner = setting.learner_of(seed)
    selector = selector_of(arm, learner, seed, setting.rollouts)
    assert isinstance(selector, BeliefSelector), "check_predicts has seen to it"
    chooser = Uniform(setting.pool, seed=seed) if choice == RANDOM else selector
    watched = Watched(selector, chooser)
    setting.train(learner, watched)
    return watched.rows


def markdown(foresights: Mapping[tuple[str, str], Foresight]) -> str:
    """Two tables: how well means and strengths are calibrated; the means' reliability curves.

    Args:
        foresights: by strategy and choice.
    """
    lines = [
        "| strategy | prompts chosen | first visits | calibration error of the mean | "
        f"mean strength | in the {100 * LEVEL:.0f} % interval: predicted, observed | "
        "mixed groups: predicted, observed |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for (arm, choice), seen in foresights.items():
        strength = float((seen.alpha + seen.beta).mean())
        inside, mixed = (
            ", ".join(f"{share:.1%}" for share in pair)
            for pair in (seen.coverage(), [share[1:-1].sum() for share in seen.shares])
        )
        lines.append(
            f"| {arm} | {choice} | {len(seen.successes):,} | {seen.error:.3f} | {strength:.2f} | "
            f"{inside} | {mixed} |"
        )
    lines += [
        "",
        "| strategy | prompts chosen | predicted | observed | first visits |",
        "| --- | --- | --- | --- | --- |",
    ]
    for (arm, choice), seen in foresights.items():
        curve = seen.curve
        rows = zip(curve.predicted, curve.observed, curve.groups, strict=True)
        lines += [f"| {arm} | {choice} | {p:.3f} | {o:.3f} | {n:,} |" for p, o, n in rows]
    return "\n".join(lines) + "\n"
