"""The loop: deal prompts, take in what came of them, save, whatever the trainer."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import torch
from torch import Tensor

from insight_ext.beliefs.group import Group, Threshold, as_rewards, check_threshold
from insight_ext.beliefs.pool import PromptPool
from insight_ext.beliefs.pool_change import PoolChange
from insight_ext.data.prompt import Prompt
from insight_ext.distributed.ranks import Ranks, digest
from insight_ext.errors import ArgumentError, CheckpointError, ObservationError
from insight_ext.filters import Filter, given_filter
from insight_ext.loop.checkpoint import FORMAT, check_saved, read_file, write_file
from insight_ext.loop.choice import (
    check_takes_parts,
    checked_choice,
    relies_on_visits,
    take_over,
)
from insight_ext.loop.history import History
from insight_ext.loop.in_flight import InFlight
from insight_ext.loop.metrics import Totals, group_metrics, occupancy
from insight_ext.loop.results import GroupResult
from insight_ext.plugins import plain, truth, whole
from insight_ext.runs.layout import Metric, Sample
from insight_ext.selectors import BeliefSelector, Selector, given_selector
from insight_ext.state import Stateful, carried, equal

BLIND = 2  # visits of a prompt below which its belief has told the strategy nothing


@dataclass(frozen=True, slots=True)
class Dealt:
    """A prompt to roll out now: `group, position, prompt = dealt`.

    The prompt is looked up when it is asked for, since a trainer may have rows of its own.

    Attributes:
        group: the id under which its rewards come back.
        position: the prompt's place in the pool.
    """

    group: int
    position: int
    _prompts: PromptPool | Mapping[int, Prompt]

    @property
    def prompt(self) -> Prompt:
        """The prompt itself."""
        prompt: Prompt = self._prompts[self.position]
        return prompt

    def __iter__(self) -> Iterator[Any]:
        return iter((self.group, self.position, self.prompt))


class SelectionLoop(Stateful):
    """Chooses the prompts of every step, learns from their rewards, and goes on after a kill.

    It knows no trainer. A trainer deals prompts, rolls them out, reports their rewards, and ends
    the step. Where everything is back within its step that is all; where rollouts run beside the
    training, `max_staleness` lets groups come back later.

    The choices of a step rest on the beliefs at its beginning, however often it deals and whatever
    is reported meanwhile; beliefs move when a step ends, by all groups that are whole by then, in
    the order of their ids. So the order in which answers arrive changes nothing.

    Several processes (`ranks`) call `deal` and `end_step` alike and get the same prompts. Each
    reports what it rolled out itself, whole groups or pieces of them; they tell each other when the
    step ends.

    Args:
        pool: the prompts, by distinct ids.
        selector: a name in `insight_ext.selectors.SELECTORS`, the import path of your own strategy
            (`package.module:Class`), or a `Selector` for a pool of this size.
        rollouts: K, answers per prompt, at least 1.
        success_threshold: the smallest reward of a success. Graded rewards are made binary for the
            beliefs by it. "auto" takes the middle between the lowest and the highest reward of the
            run so far, and 1 as long as all are equal.
        partial_credit: beliefs count a reward between 0 and the threshold, which has to be above 0,
            as that part of a success. Only for strategies that rank by the beliefs alone;
            the history and the shares of solved groups count whole successes as ever.
        selector_options: the strategy's settings, where `selector` is a name or a path.
        seed: of the strategy's draws, where `selector` is a name or a path.
        filter: chooses among finished groups those to train on: a name in
            `insight_ext.filters.FILTERS`, an import path, a `Filter`, or None. The loop keeps its
            state and gives it its threshold; the trainer asks it.
        filter_options: the filter's settings, where `filter` is a name or a path.
        max_staleness: steps after its own in which a group's results may still come, 0 or more.
        folder: where the run's history is written (`insight_ext.runs.layout`); None for nowhere.
            Needs pyarrow.
        history_every: steps between two looks at the beliefs of the whole pool and two writes of
            the history, at least 1.
        keep_samples: answers kept of every step whose results have `completions`, of as many
            prompts, from the worst to the best; 0 or more. Unless it is 0, the history also has
            the text, the key and an answer of each prompt that was mostly failed.
        answers: whether the history has a row for each answer too, for the curators.
        ranks: this process among those that train together.

    Attributes:
        step: number of the present step: steps ended so far.
        in_flight: the groups dealt and not yet taken in.
        threshold: the smallest reward of a success at present.
        history: what is written, and where.
        told: settings of the trainer that change what is chosen, by name: where a resumed run has
            other ones than its checkpoint, a warning names both.

    Raises:
        ArgumentError: an argument outside its domain, an unknown strategy or filter, or one that
            was given another K or success threshold than the loop.

    Determinism: equal settings, seeds and rewards give equal choices, on any number of threads and
    processes. What a resumed loop deals is what the uninterrupted one would have dealt.

    Examples:
        >>> pool = PromptPool(Prompt(f"p{i}", f"{i} + 1 =", str(i + 1)) for i in range(100))
        >>> loop = SelectionLoop(pool, "insight", rollouts=4, seed=1)
        >>> for step in range(30):
        ...     for group, position, prompt in loop.deal(8):
        ...         answers = [1.0 if position < 25 * (n + 1) else 0.0 for n in range(4)]
        ...         loop.report(group, answers)
        ...     metrics = loop.end_step()
        >>> loop.step, metrics["rollouts_generated"]
        (30, 960.0)
    """

    what = "loop"
    settings = ("rollouts", "success_threshold", "partial_credit")
    positions = ("_again",)
    values = ("step",)
    parts = ("selector", "filter", "_flights", "_totals")

    def __init__(
        self,
        pool: PromptPool,
        selector: Selector | str = "insight",
        *,
        rollouts: int = 8,
        success_threshold: Threshold = 1.0,
        partial_credit: bool = False,
        selector_options: Mapping[str, Any] | None = None,
        seed: int = 0,
        filter: Filter | str | None = None,
        filter_options: Mapping[str, Any] | None = None,
        max_staleness: int = 0,
        folder: str | Path | None = None,
        history_every: int = 50,
        keep_samples: int = 4,
        answers: bool = False,
        ranks: Ranks | None = None,
    ) -> None:
        rollouts, seed = whole("rollouts", rollouts, 1), whole("seed", seed, 0, 2**64 - 1)
        max_staleness = whole("max_staleness", max_staleness, 0)
        success_threshold = check_threshold(success_threshold)
        self.pool = pool
        self.rollouts, self.success_threshold = rollouts, success_threshold
        self.partial_credit = partial_credit = truth("partial_credit", partial_credit)
        self.selector = given_selector(selector, selector_options, pool, seed)
        if partial_credit:
            check_takes_parts(self.selector, success_threshold)
        self._totals = Totals(success_threshold)
        self.filter = given_filter(filter, filter_options)
        take_over("selector", self.selector, "rollouts", rollouts)
        self.max_staleness = max_staleness
        self.ranks = Ranks() if ranks is None else ranks
        self.history = History(folder, history_every, answers, keep_samples)
        self.told: dict[str, Any] = {}
        self.step = 0
        self._flights = InFlight()
        self._again = torch.empty(0, dtype=torch.int64)  # prompts to deal before all others
        self._reported: list[GroupResult] = []
        self._others: list[tuple[int, tuple[float, ...]]] = []  # of prompts that were never dealt
        self._milliseconds = 0.0
        self._agreed = False

    @property
    def threshold(self) -> float:
        """The smallest reward of a success at present."""
        return self._totals.threshold

    @property
    def samples(self) -> list[Sample]:
        """The answers kept of the latest step that ended."""
        return self.history.samples

    @property
    def filter(self) -> Filter | None:
        """What chooses among finished groups; it is given the loop's threshold."""
        return self._filter

    @filter.setter
    def filter(self, chosen: Filter | None) -> None:
        if chosen is not None:
            take_over("filter", chosen, "success_threshold", self.success_threshold)
            chosen.found_threshold = self.threshold
        self._filter = chosen

    @property
    def in_flight(self) -> list[Dealt]:
        """The groups that were dealt and are not yet taken in, oldest first."""
        return [Dealt(f.group, f.prompt, self.pool) for f in self._flights]

    def deal(self, k: int, *, step: int | None = None) -> list[Dealt]:
        """The next prompts of a step, best first.

        A step may deal as often as it likes, and is dealt no prompt twice. Prompts in flight of
        earlier steps are left out as far as the pool allows, the latest ones longest.

        Args:
            k: how many, from 1 to the pool's size.
            step: which step they are for; the present one if None. A trainer that fetches ahead
                names a later one.

        Returns:
            k prompts; fewer where the step has been dealt all others of the pool.

        Raises:
            ArgumentError: k or step outside its domain, or a selector that returned too few,
                repeated, excluded or impossible prompts; nothing was dealt.

        Cost: that of the selector; a microsecond or two for each prompt on top.
        """
        step = self._step(step)
        k = whole("k", k, 1, len(self.pool))
        if not self._agreed:
            self.agree()
        start = perf_counter()
        chosen = self._first_again(k)
        if len(chosen) < k:
            chosen += self._selected(k - len(chosen), step, chosen)
        dealt = self._put(chosen, step)
        self._milliseconds += 1e3 * (perf_counter() - start)
        return dealt

    def deal_these(self, indices: Iterable[int], *, step: int | None = None) -> list[Dealt]:
        """Deal these prompts, by their positions, whatever the selector says.

        Raises:
            ArgumentError: a position outside the pool or a step that is past; nothing was dealt.
        """
        step = self._step(step)
        chosen = [whole("indices", index, 0, len(self.pool) - 1) for index in indices]
        return self._put(chosen, step)

    def report(
        self,
        group: int,
        rewards: Any,
        *,
        first: int = 0,
        of: int | None = None,
        perplexity: Any = None,
        entropy: Any = None,
        completions: Sequence[str] | None = None,
    ) -> None:
        """Say what came of a group: all of its rollouts, or some; late, or twice.

        Args:
            group: its id.
            rewards: numbers, one for each rollout; None or NaN for an answer that could not be
                scored: it leaves no trace in the beliefs.
            first: number of the first of these rollouts within the group.
            of: rollouts of the whole group; None: these are the last.
            perplexity, entropy: of each of these rollouts, see `Group`; for the log of answers.
            completions: the answers' texts, to have some of them kept for people to look at.

        Raises:
            ObservationError: a group that was never dealt, rollouts outside their group, another
                group size than said before, rewards that are no numbers or infinite; nothing was
                taken in.
        """
        self.report_all([GroupResult(group, rewards, first, of, perplexity, entropy, completions)])

    def report_all(self, results: Iterable[GroupResult]) -> None:
        """`report` of many groups at once; of several results with one wrong, none is taken in."""
        alone = self.ranks.size == 1
        plain = self._flights.receive(results) if alone else self._flights.checked(results)
        for result in plain:
            at = self._flights.prompt_of(result.group)
            if at is not None:
                self.history.note_answer(self.step, self.pool[at], result)
        if not alone:
            self._reported += [result._replace(completions=None) for result in plain]

    def observe(self, index: int, rewards: Any) -> None:
        """Say what came of a prompt that the loop did not deal, by its position in the pool.

        Raises:
            ObservationError: a position outside the pool, no rewards, rewards as in `report`.
        """
        try:
            index = whole("index", index, 0, len(self.pool) - 1)
        except ArgumentError as error:
            raise ObservationError(
                f"{error}: not a position in the pool; nothing was taken in"
            ) from error
        where = f"prompt {self.pool[index].id!r}"
        numbers = as_rewards(where, rewards)
        if not numbers:
            raise ObservationError(
                f"{where}: expected a reward for each rollout, got none; nothing was taken in"
            )
        self._others.append((index, numbers))
        if self.ranks.size == 1:
            self._take_in_others([self._others])

    def group_of(self, index: int) -> int | None:
        """The oldest group of this prompt of which rollouts are missing; None if there is none.

        For trainers that know of a result which prompt it belongs to, and not which group.

        Cost: one pass over the groups in flight.
        """
        return self._flights.oldest(index)

    def expect(self, groups: int) -> None:
        """Say how many groups the whole run will deal; warns where that is too few to learn from.

        A belief about one prompt helps from the prompt's second visit on. A strategy that has
        features or a prior knows more than that, and one that keeps an order needs no beliefs.
        """
        visits = groups / len(self.pool)
        if visits < BLIND and relies_on_visits(self.selector):
            warnings.warn(
                f"a run of {groups:,} groups visits each of {len(self.pool):,} prompts "
                f"{visits:.2g} times: per-prompt beliefs are blind here; give features or a prior, "
                "such as selector_options={'prior': 'meta:FIELD'}, train longer, or on fewer "
                "prompts",
                stacklevel=2,
            )

    def exchange(self, work: Callable[[], object] | None = None) -> None:
        """Let every process know what the others reported; `end_step` begins with this.

        All processes have to call. A trainer that saves in the middle of a step calls it first.

        Args:
            work: reports what is left to report; where it fails on one process, it raises on all.
        """

        def own() -> tuple[
            list[GroupResult], list[tuple[int, tuple[float, ...]]], dict[str, Sample]
        ]:
            if work is not None:
                work()
            return self._reported, self._others, self.history.answered

        everyone = self.ranks.all_or_none(own)
        if self.ranks.size > 1:
            self._flights.receive([result for results, _, _ in everyone for result in results])
            self._take_in_others([others for _, others, _ in everyone])
            for *_, answered in everyone:
                self.history.answered = answered | self.history.answered
        self._reported = []

    def end_step(
        self, work: Callable[[], object] | None = None, *, look: bool | None = None
    ) -> dict[str, float]:
        """Take in what came back, and go on to the next step.

        Groups that are still incomplete `max_staleness` steps after their own are closed with what
        came of them.

        Args:
            work: see `exchange`.
            look: whether to say how much of the pool is learnable, which costs a pass over it;
                None: after the first step and after every `history_every` steps.

        Returns:
            What there is to log, by the names of `insight_ext.runs.layout.Metric`.
        """
        self.exchange(work)
        groups = self._flights.take(before=self.step - self.max_staleness + 1)
        scored = [group for group in groups if group.scored]
        totals = self._totals.add(groups, self.history.choose_samples())
        lost = self._totals.lose(self._predicted(self._flights.lost).tolist())
        start = perf_counter()
        predicted = self._observe(scored)
        observing = 1e3 * (perf_counter() - start)
        if not self.ranks.rank:
            self.history.add_step(
                self.step, self.pool, scored, self.threshold, predicted, self.selector
            )
        metrics = {
            **group_metrics(groups, self.threshold, predicted, self.step, self.partial_credit),
            **self.selector.metrics(),
            Metric.SELECTION_MS.value: self._milliseconds,
            Metric.OBSERVATION_MS.value: observing,
            **totals,
            Metric.VISITS.value: self._totals.groups / len(self.pool),
            **self._occupied(self.history.looks_after(self.step) if look is None else look),
            **lost,
            Metric.IN_FLIGHT.value: float(len(self._flights)),
            Metric.INCOMPLETE.value: float(self._flights.incomplete),
            Metric.DUPLICATE.value: float(self._flights.duplicates),
        }
        self._milliseconds = 0.0
        self.history.answered = {}
        self.step += 1
        self.filter = self.filter  # hears of the threshold
        return metrics

    def flush(self) -> None:
        """Write the history so far; call it before a checkpoint counts as written."""
        self.history.flush()

    def record(
        self, folder: str | Path, every: int = 50, *, answers: bool = False, keep_samples: int = 4
    ) -> None:
        """Write the history there from the present step on; `every` is `history_every`.

        Raises:
            ArgumentError: an argument outside its domain, or another loop writes this folder.
        """
        self.history.close()
        self.history = History(folder, every, answers, keep_samples)
        if not self.ranks.rank:
            self.history.open(self.step)

    def close(self, *, finished: bool = True) -> None:
        """Write the rest of the history and leave the folder to others.

        Args:
            finished: the run ends here, so the beliefs are looked at once more.
        """
        self.history.close(self.selector if finished else None)

    # What is saved

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on, as tensors and primitives, with a digest of it.

        Raises:
            ArgumentError: something reported is unknown to the other processes (see `exchange`).
        """
        unknown = len(self._reported) + len(self._others)
        if unknown:
            raise ArgumentError(
                "loop: expected `exchange` on all processes before a checkpoint in the middle of a "
                f"step, got {unknown} reports that the others do not know of"
            )
        self.flush()
        state = super().state_dict()
        made = self.selector.made if _is_plain(self.selector.made) else None
        state |= {
            "format": FORMAT,
            "pool": self.pool.state_dict(),
            "told": self._told(),
            "made": made,
        }
        return {**state, "digest": digest(state)}

    def load_state_dict(
        self, state: Mapping[str, Any], *, in_flight: Literal["again", "wait"] = "again"
    ) -> None:
        """Restore what `state_dict` saved.

        A pool that gained, lost, moved or rewrote prompts is the same pool: beliefs go with the
        prompts' ids, and a warning says what changed.

        Args:
            state: stays as it is.
            in_flight: rollouts that were in flight died with the run that dealt them, so their
                prompts are dealt "again", before all others; or "wait" for them, where the engine
                still has them.

        Raises:
            CheckpointError: damaged, or of another format, pool, strategy, filter or setting;
                nothing was changed.
            ArgumentError: another word as `in_flight`.
        """
        if in_flight not in ("again", "wait"):
            raise ArgumentError(f"in_flight: expected again or wait, got {in_flight!r:.80}")
        fitting, change = self._fitting(state)
        if change is not None:
            warnings.warn(f"the pool changed since the checkpoint: {change}", stacklevel=2)
        self._say_what_differs(state["told"])
        self._apply(fitting)
        self.filter = self.filter
        self._agreed = False
        self.close(finished=False)
        if in_flight == "again":
            lost = [flight for flight in self._flights if not flight.is_whole]
            for flight in lost:
                self._flights.remove(flight)
            prompts = dict.fromkeys([*self._again.tolist(), *(flight.prompt for flight in lost)])
            self._again = torch.tensor(list(prompts), dtype=torch.int64)

    def check_state(self, state: Mapping[str, Any]) -> None:
        """See that `load_state_dict` will succeed; see there. Nothing changes."""
        self._fitting(state)

    def save(self, path: str | Path) -> None:
        """Write the state to a file, whole or not at all.

        Raises:
            CheckpointError: the file cannot be written; the one before it is as it was.
        """
        write_file(path, self.state_dict())

    def load(self, path: str | Path, *, in_flight: Literal["again", "wait"] = "again") -> None:
        """Restore what `save` wrote; see `load_state_dict`.

        Raises:
            CheckpointError: a file that is missing, truncated or of another kind, and see there.
        """
        state = read_file(path)
        try:
            self.load_state_dict(state, in_flight=in_flight)
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from error

    def agree(self) -> None:
        """See that all processes have the same pool, strategy, settings and beliefs.

        Raises:
            ArgumentError: they have not; on all of them.
        """
        if self.ranks.size > 1:
            self._same("pool", f"{self.pool.fingerprint} ({len(self.pool)} prompts)")
            self._same("strategy and beliefs", digest(super().state_dict()))
        self._agreed = True

    # How it works

    def _step(self, step: int | None) -> int:
        """The step that something is dealt for: the present one, or the later one that is named."""
        return whole("step", self.step if step is None else step, self.step, 2**31)

    def _same(self, name: str, own: str) -> None:
        everyone = self.ranks.gathered(own)
        if len(set(everyone)) > 1:
            listed = "; ".join(f"rank {rank}: {each}" for rank, each in enumerate(everyone))
            raise ArgumentError(
                f"{name}: expected the same on all {self.ranks.size} processes, got {listed}; "
                "give each of them the same files and settings"
            )

    def _first_again(self, k: int) -> list[int]:
        """Up to k of the prompts that come before all others."""
        if not len(self._again):
            return []
        waiting = [p for p in self._again.tolist() if not self._flights.holds(p)]
        self._again = torch.tensor(waiting[k:], dtype=torch.int64)
        return waiting[:k]

    def _selected(self, k: int, step: int, before: Sequence[int]) -> list[int]:
        """Up to k prompts of the selector's, beside those that are dealt before."""
        n = len(self.pool)
        exclude = self._flights.left_out(n - k, step, before)
        k = min(k, n - len(exclude))
        if not k:
            return []

        def is_excluded(index: int) -> bool:
            return (self._flights.holds(index) or index in before) and index in exclude

        found = self.selector.select(k, step=step, exclude=exclude)
        return checked_choice(self.selector, found, k, n, is_excluded)

    def _put(self, chosen: Iterable[int], step: int) -> list[Dealt]:
        add, pool, version = self._flights.add, self.pool, self.step
        return [Dealt(add(index, step, version), index, pool) for index in chosen]

    def _take_in_others(self, everyone: Sequence[Sequence[tuple[int, tuple[float, ...]]]]) -> None:
        for index, numbers in chain.from_iterable(everyone):
            group = self._flights.add(index, self.step, self.step)
            self._flights.receive([GroupResult(group, numbers)])
        self._others = []

    def _predicted(self, prompts: Sequence[int]) -> Tensor:
        """The success rate that is believed of each, or NaN where the selector believes none."""
        if prompts and isinstance(self.selector, BeliefSelector):
            return self.selector.predict(torch.tensor(prompts))
        return torch.full((len(prompts),), torch.nan)

    def _occupied(self, look: bool) -> dict[str, float]:
        """The pool's occupancy, where it is looked at and the strategy keeps beliefs."""
        if look and isinstance(self.selector, BeliefSelector):
            return occupancy(self.selector.posterior, self.rollouts)
        return {}

    def _observe(self, groups: Sequence[Group]) -> Tensor:
        """Move the beliefs by these groups; returns what had been predicted of each, or NaN."""
        predicted = self._predicted([group.prompt for group in groups])
        if not groups:
            return predicted
        counted = Group.credit if self.partial_credit else Group.successes
        sums: dict[int, tuple[float, int]] = {}
        for group in groups:
            successes, rollouts = sums.get(group.prompt, (0, 0))
            successes += counted(group, self.threshold)
            sums[group.prompt] = successes, rollouts + len(group.scored)
        columns = (torch.tensor(each) for each in zip(*sums.values(), strict=True))
        self.selector.observe(torch.tensor(list(sums)), *columns, step=self.step)
        return predicted

    def _told(self) -> dict[str, Any]:
        """Settings that may change between a checkpoint and the run that goes on from it."""
        told: dict[str, Any] = plain({"max_staleness": self.max_staleness, **self.told})
        return told

    def _say_what_differs(self, told: Mapping[str, Any]) -> None:
        for name, value in self._told().items():
            before = told.get(name, value)
            if not equal(before, value):
                warnings.warn(
                    f"{name}: {before!r:.80} in the checkpoint, {value!r:.80} from here on",
                    stacklevel=3,
                )

    def _fitting(self, state: Mapping[str, Any]) -> tuple[Mapping[str, Any], PoolChange | None]:
        """The state as one of the present pool, checked; and how the pool changed, if it did."""
        check_saved(state)
        fitting, change = state, None
        if state["pool"].get("fingerprint") != self.pool.fingerprint:
            change = PoolChange(state["pool"], self.pool)
            fitting = carried(state, super().state_dict(), change)
        super().check_state(fitting)
        return fitting, change


def _is_plain(value: Any) -> bool:
    """Whether it is text, numbers, lists and dicts of them: what a checkpoint can tell anybody."""
    if isinstance(value, Mapping):
        return all(isinstance(name, str) and _is_plain(each) for name, each in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return isinstance(value, (str, int, float, type(None)))
