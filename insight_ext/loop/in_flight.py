"""Which rollout groups are out, and which of their rollouts have been counted."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from insight_ext.beliefs.pool_change import PoolChange
from insight_ext.errors import ArgumentError, ObservationError


class GroupResult(NamedTuple):
    """Some or all rollouts of a group, as they came back.

    Args:
        group: the group's id.
        rewards: finite numbers, of the rollouts number `first`, `first` + 1, ... of the group; a
            list, a tensor or an array.
        first: 0 for the group's first rollout.
        of: rollouts of the whole group; None: these are the last.
    """

    group: int
    rewards: Sequence[float]
    first: int = 0
    of: int | None = None


class FinishedGroup(NamedTuple):
    """A group that no more is expected of.

    Attributes:
        group, prompt: its id, and its prompt's position in the pool.
        rewards: of the rollouts that came back, in the order of their numbers.
        version: of the beliefs when the prompt was chosen, as `deal` was told.
    """

    group: int
    prompt: int
    rewards: list[float]
    version: int


@dataclass
class _Open:
    """A group that is out: where it belongs, and what has come back of it, by rollout number."""

    index: int
    step: int
    version: int
    of: int | None = None
    rewards: dict[int, float] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        return self.of is not None and len(self.rewards) == self.of


class GroupLedger:
    """Counts every rollout once, however late, in pieces or often its result arrives.

    A group becomes evidence as a whole, when its last rollout is in, because a belief fades by one
    visit per group. A group that is still incomplete after `max_staleness` steps is closed with
    what came back; what comes after that, or a second time, is ignored and counted.

    Args:
        max_staleness: steps that a group is waited for after the step that dealt it, 0 or more.

    Attributes:
        duplicates: rollouts that came again or after their group was closed.
        incomplete: groups closed with rollouts missing.

    Raises:
        ArgumentError: max_staleness below 0.

    Example:
        >>> ledger = GroupLedger(max_staleness=2)
        >>> ledger.deal([0, 1], indices=[40, 17], step=0, version=0)
        >>> ledger.receive([GroupResult(1, [1.0, 0.0], first=2, of=4)])  # the second half
        []
        >>> ledger.receive([GroupResult(1, [0.0, 0.0], of=4), GroupResult(1, [0.0, 0.0], of=4)])
        [FinishedGroup(group=1, prompt=17, rewards=[0.0, 0.0, 1.0, 0.0], version=0)]
        >>> ledger.duplicates, len(ledger)
        (2, 1)
        >>> ledger.close(step=2), ledger.incomplete  # nothing ever came of group 0
        ([], 1)
    """

    def __init__(self, max_staleness: int) -> None:
        if max_staleness < 0:
            raise ArgumentError(f"max_staleness: expected 0 or more steps, got {max_staleness}")
        self.max_staleness = max_staleness
        self.duplicates = 0
        self.incomplete = 0
        self._next = 0
        self._open: dict[int, _Open] = {}

    def __len__(self) -> int:
        """Number of groups that are out."""
        return len(self._open)

    def deal(self, groups: Sequence[int], indices: Sequence[int], step: int, version: int) -> None:
        """Note that these groups are out.

        Args:
            groups: their ids, ascending, larger than all before.
            indices: their prompts.
            step, version: of the selection, and of the beliefs that it rests on.
        """
        for group, index in zip(groups, indices, strict=True):
            if group < self._next:
                raise ArgumentError(f"groups: expected ids from {self._next} on, got {group}")
            self._open[group] = _Open(index, step, version)
            self._next = group + 1

    def receive(self, results: Iterable[GroupResult]) -> list[FinishedGroup]:
        """Take in results; returns the groups that are complete now, in the order of completion.

        Raises:
            ObservationError: a group that was never dealt, a rollout number outside its group, a
                group size that differs from what was said before, a reward that is not a finite
                number, something else than a GroupResult; nothing is taken in.
        """
        results = [_plain(at, result) for at, result in enumerate(results)]
        self._check(results)
        finished = []
        for result in results:
            entry = self._open.get(result.group)
            if entry is None:
                self.duplicates += len(result.rewards)
                continue
            entry.of = _size(result)
            came = dict(enumerate(result.rewards, start=result.first))
            self.duplicates += len(came.keys() & entry.rewards.keys())
            entry.rewards = came | entry.rewards  # what came first counts
            if entry.whole:
                finished.append(self._finish(result.group))
        return finished

    def close(self, step: int) -> list[FinishedGroup]:
        """Close the groups dealt `max_staleness` steps or longer before this one.

        Returns:
            Those of which anything came back, in the order of their ids.
        """
        late = [g for g, entry in self._open.items() if step - entry.step >= self.max_staleness]
        self.incomplete += len(late)
        closed = [self._finish(group) for group in late]
        return [group for group in closed if group.rewards]

    def _finish(self, group: int) -> FinishedGroup:
        entry = self._open.pop(group)
        rewards = [entry.rewards[number] for number in sorted(entry.rewards)]
        return FinishedGroup(group, entry.index, rewards, entry.version)

    def _check(self, results: list[GroupResult]) -> None:
        sizes = {group: entry.of for group, entry in self._open.items() if entry.of is not None}
        for result in results:
            where = f"result of group {result.group}"
            if not 0 <= result.group < self._next:
                raise ObservationError(
                    f"{where}: expected a group that was dealt, 0 to {self._next - 1}; for a "
                    "prompt that was never dealt, observe its position in the pool instead; "
                    "nothing was taken in"
                )
            size, end = _size(result), result.first + len(result.rewards)
            if result.first < 0 or end > size or not result.rewards:
                raise ObservationError(
                    f"{where}: expected rollouts among 0 to {size - 1}, got {len(result.rewards)} "
                    f"from {result.first} on; nothing was taken in"
                )
            known = sizes.setdefault(result.group, size) if result.group in self._open else size
            if known != size:
                raise ObservationError(
                    f"{where}: expected a group of {known} rollouts as before, got one of {size}; "
                    "nothing was taken in"
                )
            if not all(map(math.isfinite, result.rewards)):
                at = [math.isfinite(reward) for reward in result.rewards].index(False)
                raise ObservationError(
                    f"{where}, rollout {result.first + at}: expected a finite reward, got "
                    f"{result.rewards[at]}; nothing was taken in"
                )

    def state_dict(self) -> dict[str, Any]:
        """The groups that are out and the counts, as primitives."""
        return {
            "next": self._next,
            "duplicates": self.duplicates,
            "incomplete": self.incomplete,
            "open": [
                [group, entry.index, entry.step, entry.version, entry.of, dict(entry.rewards)]
                for group, entry in self._open.items()
            ],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` saved."""
        self._next = int(state["next"])
        self.duplicates, self.incomplete = int(state["duplicates"]), int(state["incomplete"])
        self._open = {
            group: _Open(index, step, version, of, dict(rewards))
            for group, index, step, version, of, rewards in state["open"]
        }

    def carried(self, state: dict[str, Any], change: PoolChange) -> dict[str, Any]:
        """A state of an earlier pool for the present one: groups of prompts lost are forgotten."""
        target = change.target
        kept = [[row[0], int(target[row[1]]), *row[2:]] for row in state["open"]]
        return {**state, "open": [row for row in kept if row[1] >= 0]}


def _plain(at: int, result: GroupResult) -> GroupResult:
    """The result in Python's own numbers, whatever kind of tensors or arrays it came in."""
    if not isinstance(result, GroupResult):
        raise ObservationError(
            f"results[{at}]: expected a GroupResult, got {type(result).__name__}; nothing was "
            "taken in"
        )
    group, rewards, first, of = result
    try:
        return GroupResult(
            operator.index(group),
            [float(reward) for reward in rewards],
            operator.index(first),
            None if of is None else operator.index(of),
        )
    except (TypeError, ValueError) as error:
        raise ObservationError(
            f"results[{at}]: expected an integer `group` and numbers as `rewards`, got "
            f"{result!r:.120}; nothing was taken in"
        ) from error


def _size(result: GroupResult) -> int:
    return result.first + len(result.rewards) if result.of is None else result.of
