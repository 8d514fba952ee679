"""What came of a group, as it is reported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from insight_ext.beliefs.group import as_rewards
from insight_ext.errors import ArgumentError, ObservationError
from insight_ext.plugins import whole

INT64 = 1 << 63
MOST = (1 << 31) - 1  # rollouts of a group
ROUNDING = 1e-2  # the probability of a token may round to a little more than 1
UNCERTAINTIES = {"perplexity": 1.0, "entropy": 0.0}  # of an answer: the least value of each


class GroupResult(NamedTuple):
    """Some or all rollouts of a group, as they came back.

    Attributes:
        group: the group's id.
        rewards: numbers, of the rollouts number `first`, `first` + 1, ... of the group; a list, a
            tensor or an array; None and NaN are answers that could not be scored.
        first: 0 for the group's first rollout.
        of: rollouts of the whole group; None: these are the last.
        perplexity: of these rollouts, see `Group`: numbers as the rewards are; None where they are
            not known.
        entropy: likewise.
        completions: the answers themselves, a text for each reward, for people who look at the run
            (`SelectionLoop.samples`); None where they need not be kept.
    """

    group: int
    rewards: Any
    first: int = 0
    of: int | None = None
    perplexity: Any = None
    entropy: Any = None
    completions: Sequence[str] | None = None


def plain_result(at: int, result: GroupResult) -> GroupResult:
    """The result number `at` in Python's own numbers, with `of` filled in.

    Raises:
        ObservationError: it is no GroupResult, or has something else than numbers.
    """
    if not isinstance(result, GroupResult):
        raise ObservationError(
            f"results[{at}]: expected a GroupResult, got {type(result).__name__}; nothing was "
            "taken in"
        )
    try:
        group = whole("group", result.group, 0, INT64 - 1)
        first = whole("first", result.first, 0, MOST)
        of = None if result.of is None else whole("of", result.of, 1, MOST)
    except ArgumentError as error:
        raise ObservationError(f"results[{at}]: {error}; nothing was taken in") from error
    rewards = as_rewards(f"result of group {group}", result.rewards)
    completions = result.completions
    if completions is not None:
        listed = isinstance(completions, Sequence) and not isinstance(completions, str | bytes)
        texts = listed and all(isinstance(text, str) for text in completions)
        if not texts or len(completions) != len(rewards):
            got = len(completions) if texts else f"{completions!r:.80}"
            raise ObservationError(
                f"completions of group {group}: expected a text for each of {len(rewards)} "
                f"rewards, got {got}; nothing was taken in"
            )
    known: dict[str, Any] = {
        name: _uncertainty(name, getattr(result, name), group, len(rewards))
        for name in UNCERTAINTIES
    }
    of = first + len(rewards) if of is None else of
    return result._replace(group=group, rewards=rewards, first=first, of=of, **known)


def _uncertainty(name: str, values: Any, group: int, rollouts: int) -> tuple[float, ...] | None:
    """What is known of a group's uncertainty, in Python's own numbers."""
    if values is None:
        return None
    numbers, least = as_rewards(f"{name} of group {group}", values), UNCERTAINTIES[name]
    if len(numbers) != rollouts or not all(each >= least - ROUNDING for each in numbers):
        raise ObservationError(
            f"{name} of group {group}: expected a number of at least {least:g} for each of "
            f"{rollouts} rollouts, got {numbers!r:.120}; nothing was taken in"
        )
    return numbers
