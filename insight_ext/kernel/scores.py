"""The scores that a selection can rank by: how promising a belief is; larger is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from insight_ext.errors import ArgumentError

MAX_ROLLOUTS = 512

# The kernel's names for the formulas (csrc/score/any.h).
(
    WEIGHTED_INFORMATION,
    WEIGHT_ALONE,
    INFORMATION_ALONE,
    DRAWN_WEIGHT_INFORMATION,
    THOMPSON,
    EXPECTED_DIFFICULTY,
    INVERSE_EVIDENCE,
    MIXED_GROUP,
) = range(8)


def check_rollouts(rollouts: int) -> None:
    if isinstance(rollouts, bool) or not isinstance(rollouts, int):
        raise ArgumentError(f"rollouts: expected an int, got {rollouts!r}")
    if not 1 <= rollouts <= MAX_ROLLOUTS:
        raise ArgumentError(f"rollouts: expected 1 to {MAX_ROLLOUTS}, got {rollouts}")


def check_between(name: str, value: float, low: float, high: float) -> None:
    is_number = isinstance(value, (int, float))
    if not (is_number and low <= value <= high):
        got = f"{value:g}" if is_number else f"{value!r:.80}"
        raise ArgumentError(f"{name}: expected a number in [{low:g}, {high:g}], got {got}")


def check_stream(seed: int, draw: int) -> None:
    for name, value in (("seed", seed), ("draw", draw)):
        if not (isinstance(value, int) and 0 <= value < 1 << 64):
            raise ArgumentError(f"{name}: expected 0 to 2^64 - 1, got {value!r:.80}")


class Score:
    """Base of all scores: what they hand to the kernel.

    Attributes:
        formula: which one (csrc/score/any.h).
        numbers: the attributes that are the formula's numbers, in the kernel's order.
    """

    formula: ClassVar[int]
    numbers: ClassVar[tuple[str, ...]] = ()

    @property
    def kind(self) -> int:
        """Which formula, as the settings have it."""
        return self.formula

    def parameters(self) -> list[float]:
        """The formula's numbers."""
        return [float(getattr(self, name)) for name in self.numbers]

    def stream(self) -> tuple[int, int]:
        """Seed and draw of the scores that are random, (0, 0) of the others."""
        return (0, 0)

    @property
    def is_random(self) -> bool:
        """Whether the score draws, so that it changes from draw to draw."""
        return self.kind in (DRAWN_WEIGHT_INFORMATION, THOMPSON)


@dataclass(frozen=True)
class WeightedInformation(Score):
    """InSight's score: what a group of rollouts would tell, weighted by the difficulty.

        A = w(p) I_K,  w(p) = p (1 - p) exp(-eta (p - mu)^2),  p = alpha / (alpha + beta)

    I_K is the mutual information, in nats, between a prompt's success rate and the number of
    successes in K rollouts. The last four arguments are the paper's ablations.

    Args:
        rollouts: K, rollouts per prompt, 1 to 512.
        eta: how sharply the weight falls away from mu, in [0, 1e6].
        mu: success rate that teaches most, in [0, 1]. (The appendix of the paper prints 3.0, a
            misprint: its own Table 5 has 0.3.)
        weight: "mean" weighs the expected success rate, "draw" a draw from the belief, "none"
            leaves the information alone.
        information: False leaves the weight alone.
        seed, draw: of the generator for weight="draw"; give each step its own `draw`.

    Raises:
        ArgumentError: an argument outside its domain, or nothing left to score.

    Determinism: a draw depends on seed, draw and the prompt's index alone.

    Source: InSight (arXiv 2603.01907), eq. 13, 15 and 16.

    Examples:
        >>> WeightedInformation(rollouts=16).mu
        0.3
    """

    numbers = ("rollouts", "eta", "mu")

    rollouts: int = 8
    eta: float = 3.0
    mu: float = 0.3
    weight: Literal["mean", "draw", "none"] = "mean"
    information: bool = True
    seed: int = 0
    draw: int = 0

    def __post_init__(self) -> None:
        check_rollouts(self.rollouts)
        check_between("eta", self.eta, 0.0, 1e6)
        check_between("mu", self.mu, 0.0, 1.0)
        check_stream(self.seed, self.draw)
        if self.weight not in ("mean", "draw", "none"):
            raise ArgumentError(f"weight: expected 'mean', 'draw' or 'none', got {self.weight!r}")
        if not self.information and self.weight != "mean":
            raise ArgumentError(
                f"information: without it expected weight='mean', got {self.weight!r}"
            )

    @property
    def kind(self) -> int:
        if not self.information:
            return WEIGHT_ALONE
        kinds = {
            "mean": WEIGHTED_INFORMATION,
            "none": INFORMATION_ALONE,
            "draw": DRAWN_WEIGHT_INFORMATION,
        }
        return kinds[self.weight]

    def stream(self) -> tuple[int, int]:
        return (self.seed, self.draw)


@dataclass(frozen=True)
class Thompson(Score):
    """How near a draw of the success rate lies to a target: -|phi - target|, phi ~ Beta.

    Args:
        target: in [0, 1].
        seed, draw: of the generator; give each step its own `draw`.

    Raises:
        ArgumentError: an argument outside its domain.

    Determinism: a draw depends on seed, draw and the prompt's index alone.

    Source: MoPPS (arXiv 2507.04632).

    Examples:
        >>> Thompson(draw=7).target
        0.5
    """

    formula, numbers = THOMPSON, ("target",)

    target: float = 0.5
    seed: int = 0
    draw: int = 0

    def __post_init__(self) -> None:
        check_between("target", self.target, 0.0, 1.0)
        check_stream(self.seed, self.draw)

    def stream(self) -> tuple[int, int]:
        return (self.seed, self.draw)


@dataclass(frozen=True)
class ExpectedDifficulty(Score):
    """How near the expected success rate lies to a target: -|alpha / (alpha + beta) - target|.

    Args:
        target: in [0, 1].

    Raises:
        ArgumentError: a target outside its domain.

    Source: the EXPECTED-DIFFICULTY baseline of InSight (arXiv 2603.01907).

    Examples:
        >>> import torch
        >>> from insight_ext import select_top_k
        >>> alpha, beta = torch.tensor([9.0, 5.0, 1.0]), torch.tensor([1.0, 5.0, 9.0])
        >>> select_top_k(alpha, beta, 1, ExpectedDifficulty(0.5)).indices
        tensor([1])
    """

    formula, numbers = EXPECTED_DIFFICULTY, ("target",)

    target: float = 0.5

    def __post_init__(self) -> None:
        check_between("target", self.target, 0.0, 1.0)


@dataclass(frozen=True)
class InverseEvidence(Score):
    """How little is known: 1 / (1 + alpha + beta). It has no settings.

    Source: the INVERSE-EVIDENCE baseline of InSight (arXiv 2603.01907).

    Examples:
        >>> import torch
        >>> from insight_ext import select_top_k
        >>> alpha, beta = torch.tensor([9.0, 2.0, 1.0]), torch.tensor([1.0, 2.0, 9.0])
        >>> select_top_k(alpha, beta, 1, InverseEvidence()).indices
        tensor([1])
    """

    formula = INVERSE_EVIDENCE


@dataclass(frozen=True)
class MixedGroup(Score):
    """The probability that a group of rollouts holds both a success and a failure.

        1 - B(a + K, b) / B(a, b) - B(a, b + K) / B(a, b)

    Args:
        rollouts: K, rollouts per prompt, 1 to 512.

    Raises:
        ArgumentError: rollouts outside its domain.

    Source: MaPP (Ren et al.), eq. 15; docs/kernel.md has the product that is computed.

    Examples:
        >>> import torch
        >>> from insight_ext import score
        >>> score(torch.tensor([1.0, 9.0]), torch.tensor([1.0, 1.0]), MixedGroup(rollouts=2))
        tensor([0.3333, 0.1636])
    """

    formula, numbers = MIXED_GROUP, ("rollouts",)

    rollouts: int = 8

    def __post_init__(self) -> None:
        check_rollouts(self.rollouts)
