"""The scores that a selection can rank by: how promising a belief is; larger is better."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from insight_ext.errors import ArgumentError

MAX_ROLLOUTS = 512


def check_rollouts(rollouts: int) -> None:
    if isinstance(rollouts, bool) or not isinstance(rollouts, int):
        raise ArgumentError(f"rollouts: expected an int, got {rollouts!r}")
    if not 1 <= rollouts <= MAX_ROLLOUTS:
        raise ArgumentError(f"rollouts: expected 1 to {MAX_ROLLOUTS}, got {rollouts}")


def check_between(name: str, value: float, low: float, high: float) -> None:
    if not (math.isfinite(value) and low <= value <= high):
        raise ArgumentError(f"{name}: expected a number in [{low:g}, {high:g}], got {value}")


class Score:
    """Base of all scores; what they hand to the kernel.

    Attributes:
        kind: which formula (csrc/score/any.h).
    """

    kind: ClassVar[int]

    def parameters(self) -> list[float]:
        """The formula's numbers, in the kernel's order."""
        raise NotImplementedError

    def stream(self) -> tuple[int, int]:
        """Seed and draw of the scores that are random, (0, 0) of the others."""
        return (0, 0)


@dataclass(frozen=True)
class WeightedInformation(Score):
    """InSight's score: what a group of rollouts would tell, weighted by the difficulty.

        A = w(p) I_K,  w(p) = p (1 - p) exp(-eta (p - mu)^2),  p = alpha / (alpha + beta)

    I_K is the mutual information, in nats, between a prompt's success rate and the number of
    successes in K rollouts.

    Args:
        rollouts: K, rollouts per prompt, 1 to 512.
        eta: how sharply the weight falls away from mu, in [0, 1e6].
        mu: success rate that teaches most, in [0, 1]. (The appendix of the paper prints 3.0, a
            misprint: its own Table 5 has 0.3.)

    Raises:
        ArgumentError: an argument outside its domain.

    Source: InSight (arXiv 2603.01907), eq. 13, 15 and 16.

    Example:
        >>> WeightedInformation(rollouts=16).mu
        0.3
    """

    rollouts: int = 8
    eta: float = 3.0
    mu: float = 0.3

    kind: ClassVar[int] = 0

    def __post_init__(self) -> None:
        check_rollouts(self.rollouts)
        check_between("eta", self.eta, 0.0, 1e6)
        check_between("mu", self.mu, 0.0, 1.0)

    def parameters(self) -> list[float]:
        return [float(self.rollouts), float(self.eta), float(self.mu)]
