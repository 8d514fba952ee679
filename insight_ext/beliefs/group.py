"""One prompt's rollouts, and which of them count as a success."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from insight_ext.errors import ArgumentError, ObservationError

# Rewards are sums of float32 numbers more often than not: .7 + .2 + .1 reaches 1.
TOLERANCE = 1e-6
NEVER_DEALT = -1

Threshold = float | Literal["auto"]
"""The smallest reward of a success; "auto": see `threshold_between`."""


@dataclass(frozen=True, slots=True)
class Group:
    """The rollouts of one prompt, from the engine to the log.

    Args:
        prompt: the prompt's position in the pool.
        rewards: one number for each rollout; NaN for an answer that could not be scored.
        id: of the group; `NEVER_DEALT` for a prompt that no loop dealt.
        perplexity, entropy: of each rollout: exp of minus the mean log-probability of its tokens,
            and the mean entropy of their choices in nats; None where they are not known.
        version: steps whose results the beliefs had taken in when the prompt was chosen.

    Examples:
        >>> group = Group(3, (1.0, 0.0, float("nan")))
        >>> group.scored, group.successes(1.0), group.is_mixed(1.0)
        ((1.0, 0.0), 1, True)
        >>> Group(3, (1.0, 0.5, -1.0)).credit(1.0)
        1.5
    """

    prompt: int
    rewards: tuple[float, ...]
    id: int = NEVER_DEALT
    perplexity: tuple[float, ...] | None = None
    version: int = 0
    entropy: tuple[float, ...] | None = None

    @property
    def scored(self) -> tuple[float, ...]:
        """The rewards of the answers that could be scored."""
        return tuple(reward for reward in self.rewards if reward == reward)

    @property
    def has_spread(self) -> bool:
        """Whether the rewards vary; a group where they do not gives no gradient."""
        scored = self.scored
        return bool(scored) and min(scored) != max(scored)

    def successes(self, threshold: float) -> int:
        """How many answers reach the threshold."""
        lowest = lowest_success(threshold)
        return sum(reward >= lowest for reward in self.rewards)

    def credit(self, threshold: float) -> float:
        """The answers' successes where a reward from 0 to the threshold is part of one."""
        lowest = lowest_success(threshold)
        return math.fsum(1.0 if r >= lowest else max(r, 0.0) / threshold for r in self.scored)

    def is_mixed(self, threshold: float) -> bool:
        """Whether some of the scored answers reach the threshold and some do not."""
        return 0 < self.successes(threshold) < len(self.scored)


def threshold_between(low: float, high: float) -> float:
    """The threshold "auto": the middle between the lowest and the highest reward seen so far.

    It is 1 as long as all rewards are equal. Rewards of 0 and 1 give 0.5, those of -1 and 1 give 0.

    Examples:
        >>> threshold_between(-1.0, 1.0), threshold_between(0.0, 0.0)
        (0.0, 1.0)
    """
    return (low + high) / 2 if low < high else 1.0


def is_far_below(threshold: float, high: float) -> bool:
    """Whether the highest reward is ten times this threshold or more: then rewards go up to 100,
    say, and a tenth of that counts as right.

    Examples:
        >>> is_far_below(1.0, 100.0), is_far_below(1.0, 1.5), is_far_below(0.0, 1.0)
        (True, False, False)
    """
    return 0 < 10 * threshold <= high


def check_threshold(threshold: Any) -> Threshold:
    """The threshold as a plain value.

    Raises:
        ArgumentError: neither a finite number nor "auto".
    """
    if isinstance(threshold, str) and threshold == "auto":
        return "auto"
    try:
        number = math.nan if isinstance(threshold, bool) else float(threshold)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ArgumentError(
            f"success_threshold: expected a finite number or auto, got {threshold!r:.80}"
        )
    return number


def lowest_success(threshold: float) -> float:
    """The lowest reward that counts as a success; see `is_success`."""
    return threshold - TOLERANCE * max(1.0, abs(threshold))


def is_success(reward: float, threshold: float) -> bool:
    """Whether a reward counts as a success: the one comparison of training, validation and logs.

    Rounding is forgiven: 1e-6 of the threshold, at least 1e-6. NaN is no success.

    Examples:
        >>> is_success(0.7 + 0.2 + 0.1, 1.0), is_success(0.999, 1.0), is_success(float("nan"), 0.0)
        (True, False, False)
    """
    return reward >= lowest_success(threshold)


def as_rewards(where: str, rewards: Any) -> tuple[float, ...]:
    """Rewards in Python's own numbers, None as NaN, whatever kind of list or tensor they came in.

    Args:
        where: the message begins with this.
        rewards: a list, tensor or array of numbers; None and NaN are answers that could not be
            scored.

    Raises:
        ObservationError: no numbers, or infinite ones.

    Examples:
        >>> as_rewards("group 0", [1, None, 0.5])
        (1.0, nan, 0.5)
    """
    values: Iterable[Any] = rewards.tolist() if hasattr(rewards, "tolist") else rewards
    try:
        if isinstance(values, (str, bytes, Mapping)):
            raise TypeError
        numbers = tuple(math.nan if value is None else _number(value) for value in values)
    except (TypeError, ValueError, OverflowError) as error:
        raise ObservationError(
            f"{where}: expected a list of rewards, one number for each rollout, got "
            f"{rewards!r:.120}; nothing was taken in"
        ) from error
    for at, number in enumerate(numbers):
        if math.isinf(number):
            raise ObservationError(
                f"{where}, rollout {at}: expected a finite reward, or None for an answer that "
                f"could not be scored, got {number}; nothing was taken in"
            )
    return numbers


def _number(value: Any) -> float:
    if isinstance(value, str):  # float("nan") would count as an answer that was not scored
        raise TypeError
    return float(value)
