"""Which groups are in flight, and which of their rollouts have come back."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from insight_ext.beliefs.group import Group
from insight_ext.errors import CheckpointError, ObservationError
from insight_ext.loop.results import GroupResult, plain_result
from insight_ext.state import Stateful


@dataclass(slots=True)
class Flight:
    """A group in flight: where it belongs, and what has come back of it, by rollout number.

    An answer is its reward, perplexity and entropy, NaN for what nobody told.
    """

    group: int
    prompt: int
    step: int
    version: int
    of: int | None = None
    answers: dict[int, tuple[float, float, float]] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether all of its rollouts are back."""
        return self.of is not None and len(self.answers) == self.of

    def finished(self) -> Group:
        """What came back, in the order of the rollouts."""
        answers = (self.answers[number] for number in sorted(self.answers))
        rewards, *uncertainties = zip(*answers, strict=True)
        perplexity, entropy = (
            None if any(map(math.isnan, each)) else each for each in uncertainties
        )
        return Group(self.prompt, rewards, self.group, perplexity, self.version, entropy)


class InFlight(Stateful):
    """Counts every rollout once, however late, in pieces or often its result arrives.

    A group becomes evidence as a whole, because a belief fades by one visit per group. What comes
    after that, or a second time, is ignored and counted.

    Attributes:
        dealt: groups dealt so far; the id of the next one.
        duplicates: rollouts that came again or after their group was closed.
        incomplete: groups closed with rollouts missing.
        lost: the prompts of those that the latest `take` closed so.

    Examples:
        >>> flights = InFlight()
        >>> flights.add(prompt=40, step=0, version=0), flights.add(prompt=17, step=0, version=0)
        (0, 1)
        >>> _ = flights.receive([GroupResult(1, [1.0, 0.0], first=2, of=4)])  # the second half
        >>> half = GroupResult(1, [0.0, 0.0], of=4)
        >>> _ = flights.receive([half, half])
        >>> [(group.prompt, group.rewards, group.id) for group in flights.take(before=0)]
        [(17, (0.0, 0.0, 1.0, 0.0), 1)]
        >>> flights.duplicates, len(flights), flights.prompts.tolist()
        (2, 1, [40])
        >>> flights.take(before=1), flights.incomplete  # nothing ever came of group 0
        ([], 1)
    """

    what = "groups in flight"
    positions = ("rows",)
    values = ("received", "dealt", "duplicates", "incomplete")

    def __init__(self) -> None:
        self.dealt = 0
        self.duplicates = 0
        self.incomplete = 0
        self.lost: list[int] = []
        self._flights: dict[int, Flight] = {}
        # The prompts as one list that grows and shrinks in place: [place, groups] of each.
        self._places: dict[int, list[int]] = {}
        self._prompts = np.empty(16, dtype=np.int64)

    def __len__(self) -> int:
        """Number of groups in flight."""
        return len(self._flights)

    def __iter__(self) -> Iterator[Flight]:
        """The groups, oldest first."""
        return iter(self._flights.values())

    def holds(self, prompt: int) -> bool:
        """Whether a group of this prompt is in flight."""
        return prompt in self._places

    def oldest(self, prompt: int) -> int | None:
        """The id of the oldest group of this prompt that is not whole, if there is one."""
        if prompt not in self._places:
            return None
        return next((f.group for f in self if f.prompt == prompt and not f.is_whole), None)

    @property
    def prompts(self) -> Tensor:
        """The distinct prompts in flight, int64, in no order. A view: use it before the next call.

        Cost: none.
        """
        return torch.from_numpy(self._prompts[: len(self._places)])

    def left_out(self, room: int, step: int, chosen: Sequence[int]) -> Tensor:
        """The prompts that a deal of this step leaves out, int64.

        Args:
            room: how many may be left out, so that as many as wanted remain. Those of the step
                itself and of later ones stay out whatever is wanted.
            step: that is dealt.
            chosen: prompts that are dealt whatever the selector says.
        """
        prompts = self.prompts
        if chosen:
            prompts = torch.cat((torch.tensor(chosen), prompts))
        if len(prompts) <= room:
            return prompts
        kept = dict.fromkeys(chosen)
        for flight in sorted(self, key=lambda f: -f.step):
            if flight.step < step and len(kept) >= room:
                break
            kept[flight.prompt] = None
        return torch.tensor(list(kept), dtype=torch.int64)

    def prompt_of(self, group: int) -> int | None:
        """The prompt of a group in flight; None of one that is not."""
        flight = self._flights.get(group)
        return None if flight is None else flight.prompt

    def add(self, prompt: int, step: int, version: int) -> int:
        """Note that a group of this prompt is dealt; returns its id.

        Args:
            prompt: its position in the pool.
            step: that it was dealt in.
            version: steps whose results the choice rests on.
        """
        group = self.dealt
        self.dealt += 1
        self._put(Flight(group, prompt, step, version))
        return group

    def receive(self, results: Iterable[GroupResult]) -> list[GroupResult]:
        """Take in results; returns them as `checked` does.

        Raises:
            ObservationError: a group that was never dealt, a rollout number outside its group, a
                group size that differs from what was said before, a reward that is no number or
                infinite, something else than a GroupResult; nothing is taken in.
        """
        plain = self.checked(results)
        for group, rewards, first, of, perplexity, entropy, _ in plain:
            flight = self._flights.get(group)
            if flight is None:
                self.duplicates += len(rewards)
                continue
            flight.of = of
            unknown = (math.nan,) * len(rewards)
            answers = zip(rewards, perplexity or unknown, entropy or unknown, strict=True)
            for number, answer in enumerate(answers, first):
                if number in flight.answers:  # what came first counts
                    self.duplicates += 1
                else:
                    flight.answers[number] = answer
        return plain

    def take(self, before: int) -> list[Group]:
        """Close the groups that are whole, and those dealt before this step.

        Returns:
            Those of which anything came back, in the order of their ids.
        """
        closed = [f for f in self._flights.values() if f.is_whole or f.step < before]
        self.lost = [flight.prompt for flight in closed if not flight.is_whole]
        self.incomplete += len(self.lost)
        for flight in closed:
            self.remove(flight)
        finished = [flight.finished() for flight in closed if flight.answers]
        return sorted(finished, key=lambda group: group.id)

    def remove(self, flight: Flight) -> None:
        """Forget a group; what still comes of it is a duplicate."""
        del self._flights[flight.group]
        place = self._places[flight.prompt]
        place[1] -= 1
        if not place[1]:
            del self._places[flight.prompt]
            last = int(self._prompts[len(self._places)])
            if last != flight.prompt:
                self._prompts[place[0]] = last
                self._places[last][0] = place[0]

    def checked(self, results: Iterable[GroupResult]) -> list[GroupResult]:
        """The results in Python's own numbers, with `of` filled in.

        Raises:
            ObservationError: see `receive`.
        """
        plain = [plain_result(at, result) for at, result in enumerate(results)]
        said: dict[int, int] = {}  # sizes of groups in flight, by these results
        for result in plain:
            where, size = f"result of group {result.group}", result.of
            assert size is not None
            if not 0 <= result.group < self.dealt:
                raise ObservationError(
                    f"{where}: expected a group that was dealt, 0 to {self.dealt - 1}; for a "
                    "prompt that was never dealt, observe its position in the pool instead; "
                    "nothing was taken in"
                )
            if not result.rewards:
                raise ObservationError(
                    f"{where}: expected at least one reward, got none; of a group that comes to "
                    "nothing give None for each rollout; nothing was taken in"
                )
            if result.first < 0 or result.first + len(result.rewards) > size:
                raise ObservationError(
                    f"{where}: expected rollouts among 0 to {size - 1}, got {len(result.rewards)} "
                    f"from {result.first} on; nothing was taken in"
                )
            flight = self._flights.get(result.group)
            known = size
            if flight is not None:
                known = said.setdefault(result.group, size if flight.of is None else flight.of)
            if known != size:
                raise ObservationError(
                    f"{where}: expected a group of {known} rollouts as before, got one of {size}; "
                    "nothing was taken in"
                )
        return plain

    def _put(self, flight: Flight) -> None:
        self._flights[flight.group] = flight
        place = self._places.get(flight.prompt)
        if place is not None:
            place[1] += 1
            return
        at = len(self._places)
        if at == len(self._prompts):
            self._prompts = np.concatenate((self._prompts, np.empty_like(self._prompts)))
        self._prompts[at] = flight.prompt
        self._places[flight.prompt] = [at, 1]

    @property
    def rows(self) -> Tensor:
        """The groups as int64 of shape (m, 5): prompt, id, step, version, size or -1."""
        rows = [[f.prompt, f.group, f.step, f.version, -1 if f.of is None else f.of] for f in self]
        return torch.tensor(rows, dtype=torch.int64).view(-1, 5)

    @rows.setter
    def rows(self, saved: Tensor) -> None:
        self._flights, self._places = {}, {}
        for prompt, group, step, version, of in saved.tolist():
            self._put(Flight(group, prompt, step, version, None if of < 0 else of))

    def check_state(self, state: Mapping[str, Any]) -> None:
        """See `Stateful.check_state`."""
        super().check_state(state)
        for row in state["values"]["received"]:
            numbers = isinstance(row, (list, tuple)) and [
                type(each) in (int, float) for each in row
            ]
            if numbers != [True] * 5 or not (0 <= row[0] < 2**63 and 0 <= row[1] < 2**31):
                raise CheckpointError(
                    "in flight: expected rows of group, rollout, reward and uncertainties, got "
                    f"{row!r:.80}; the checkpoint is damaged"
                )

    @property
    def received(self) -> list[list[float]]:
        """What came back, a row each: group, number, reward; perplexity and entropy, or NaN."""
        return [[f.group, at, *answer] for f in self for at, answer in f.answers.items()]

    @received.setter
    def received(self, saved: list[list[float]]) -> None:
        for group, number, reward, perplexity, entropy in saved:
            flight = self._flights.get(int(group))
            if flight is not None:  # else the pool has lost its prompt
                flight.answers[int(number)] = (reward, perplexity, entropy)
