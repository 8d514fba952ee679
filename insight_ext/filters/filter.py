"""The contract of every filter, and what all filters share."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from insight_ext.beliefs.group import Group, Threshold
from insight_ext.errors import ArgumentError, ObservationError
from insight_ext.state import Names, Stateful


@dataclass(frozen=True)
class RolledOut:
    """What a step has rolled out when a filter is asked to decide.

    Attributes:
        groups: those that can be trained on: every prompt once, each with a scored answer.
        target: groups that the step would like to train on.
        batches: generation batches so far.
        batch_of: for each of the groups, in which of these it was generated, from 0.
        prompts: all that were rolled out so far, whether they can be trained on or not: positions
            in the pool, in the order of generation, those given up last.
        abandoned: groups of the prompts that screening gave up, with the answers they cost.
    """

    groups: Sequence[Group]
    target: int
    batches: int
    batch_of: Sequence[int]
    prompts: Sequence[int]
    abandoned: Sequence[Group] = ()


@dataclass(frozen=True)
class Verdict:
    """What to do after a generation batch: train, or roll out more first.

    Attributes:
        train: positions among the groups, ascending.
        wanted: how many further prompts to roll out before training; 0 for none.
        recall: positions in the pool of prompts to roll out before training.
    """

    train: list[int]
    wanted: int = 0
    recall: list[int] = field(default_factory=list)

    @property
    def settled(self) -> bool:
        """Whether the step can train."""
        return self.wanted == 0 and not self.recall


class Filter(Stateful, ABC):
    """Chooses among finished groups those to train on.

    A training step rolls out a batch and asks `judge`; while the verdict is not settled it rolls
    out what the verdict wants and asks again, with all generation batches of the step so far.
    Nothing changes in a filter before the verdict is settled, so checkpoints between steps hold
    everything.

    A filter that refills and still has too few groups warns and trains on what there is. If no
    group passes, those whose rewards vary are trained on instead, with a warning; if none varies
    either, the verdict is empty and the step has nothing to learn from.

    Your own filter derives from this class and is passed as an object, or by import path
    (`package.module:Class`) in a configuration. `decide` is all that it must have. What it learns
    goes into attributes that the class names as its state (see `Stateful`).

    Args:
        success_threshold: the smallest reward of a success; None takes the loop's, which may be
            "auto".
        oversample: prompts in the first generation batch for each group that the step trains on,
            at least 1.

    Attributes:
        needs_uncertainty: which of them groups have to come with; None: neither.
        refills: whether the filter rolls out until it has as many groups as the step wants.
        screening: answers after which `passes` decides about a prompt; None: all at once.
        found_threshold: where `success_threshold` is "auto", what the loop has found so far.
        steps: settled ones, since the beginning.
        rollouts_spent: all that these steps cost.

    Examples:
        >>> class Hardest(Filter):
        ...     def decide(self, rolled):
        ...         order = sorted(
        ...             range(len(rolled.groups)), key=lambda i: self.pass_rate(rolled.groups[i])
        ...         )
        ...         return Verdict(sorted(order[:rolled.target]))
        >>> own = Hardest(success_threshold=1.0)
        >>> own.judge([[Group(7, (1.0, 1.0)), Group(4, (0.0, 1.0))]], target=1).train
        [1]
    """

    what = "filter"
    settings: Names = ("success_threshold", "oversample")
    values: Names = ("steps", "rollouts_spent")

    needs_uncertainty: Literal["perplexity", "entropy"] | None = None
    refills: ClassVar[bool] = False
    screening: int | None = None
    found_threshold: float | None = None

    def __init__(self, success_threshold: Threshold | None = None, oversample: float = 1.0) -> None:
        if not isinstance(oversample, int | float) or not 1.0 <= oversample < math.inf:
            raise ArgumentError(f"oversample: expected 1 or more, got {oversample!r:.80}")
        self.success_threshold, self.oversample = success_threshold, oversample
        self.steps = 0
        self.rollouts_spent = 0
        self._metrics: dict[str, float] = {}

    def first_batch(self, target: int) -> int:
        """How many prompts the trainer rolls out first, in a step that trains on `target`."""
        return math.ceil(self.oversample * target)

    def passes(self, group: Group) -> bool:
        """Whether a prompt, `screening` answers of which are there, gets the rest of its group."""
        return True

    def judge(
        self,
        batches: Sequence[Sequence[Group]],
        target: int,
        *,
        abandoned: Sequence[Group] = (),
        refillable: bool = True,
    ) -> Verdict:
        """Decide about the groups of one step.

        Answers that could not be scored (NaN) count as cost and nowhere else. A group without
        scored answers is never trained on; a prompt that comes twice is trained on once, with the
        first of its groups that has some.

        Args:
            batches: the step's generation batches so far, at least one; groups of any size.
            target: groups that the step would like to train on, at least 1.
            abandoned: those that screening gave up, in this step so far; they are not in `batches`.
            refillable: False if no further prompts can be had; the verdict is then settled.

        Returns:
            The verdict; `train` holds positions among all groups of the batches, in the order of
            generation.

        Raises:
            ArgumentError: no batch, target below 1, no uncertainty or no threshold where it is
                needed.
            ObservationError: uncertainties that are not positive, or not one for each answer.

        Cost: a few passes over the rewards.
        """
        if not batches or target < 1:
            raise ArgumentError(
                f"judge: expected at least one batch and a target of at least 1, got "
                f"{len(batches)} and {target}"
            )
        every = [group for batch in batches for group in batch]
        if self.needs_uncertainty:
            self._check_uncertainty(every)
        batch_of = [at for at, batch in enumerate(batches) for _ in batch]
        places = _trainable(every)
        rolled = RolledOut(
            [every[place] for place in places],
            target,
            len(batches),
            [batch_of[place] for place in places],
            [group.prompt for group in (*every, *abandoned)],
            abandoned,
        )
        verdict = self.decide(rolled)
        train = verdict.train
        if verdict.settled or not refillable:
            if not train:
                train = [i for i, group in enumerate(rolled.groups) if group.has_spread][:target]
                self._warn(
                    f"none of the step's {len(every)} groups passes; training on "
                    + ("those whose rewards vary" if train else "none, since no rewards vary")
                )
            elif self.refills and len(train) < target:
                self._warn(
                    f"{len(batches)} generation batches gave {len(train)} of {target} groups to "
                    "train on; training on these"
                )
            self.remember(rolled)
            spent = sum(len(group.rewards) for group in (*every, *abandoned))
            self.steps += 1
            self.rollouts_spent += spent
            self._metrics = {
                "groups_generated": float(len(every)),
                "filter_passed": float(len(verdict.train)),
                "groups_trained": float(len(train)),
                "frac_groups_kept": len(train) / max(len(set(rolled.prompts)), 1),
                "refills": float(len(batches) - 1),
                "filter_rollouts": float(spent),
            }
            verdict = Verdict(train)
        return Verdict([places[i] for i in verdict.train], verdict.wanted, verdict.recall)

    @abstractmethod
    def decide(self, rolled: RolledOut) -> Verdict:
        """The strategy; it changes nothing.

        Returns:
            The verdict; `train` holds positions in `rolled.groups`.
        """

    def remember(self, rolled: RolledOut) -> None:
        """Hook: the step is settled."""

    def metrics(self) -> dict[str, float]:
        """What to log about the latest settled step, see docs/metrics.md."""
        return dict(self._metrics)

    @property
    def threshold_now(self) -> float | None:
        """The smallest reward of a success at present; None where nobody has said it."""
        asked = self.success_threshold
        return self.found_threshold if asked == "auto" else asked

    def successes(self, group: Group) -> int:
        """How many answers of the group reach the threshold.

        Raises:
            ArgumentError: no threshold.
        """
        if self.threshold_now is None:
            raise ArgumentError(
                f"{type(self).__name__}: expected a success_threshold, got none; give it, or pass "
                "the filter to a loop, which has one"
            )
        return group.successes(self.threshold_now)

    def pass_rate(self, group: Group) -> float:
        """The share of successes among the group's scored answers; NaN if there are none.

        Raises:
            ArgumentError: no threshold.
        """
        successes, scored = self.successes(group), len(group.scored)
        return successes / scored if scored else math.nan

    def _check_uncertainty(self, groups: Sequence[Group]) -> None:
        needed = self.needs_uncertainty
        assert needed is not None
        for group in groups:
            values: tuple[float, ...] | None = getattr(group, needed)
            if values is None:
                raise ArgumentError(
                    f"{type(self).__name__}: expected groups with the {needed} of each answer, see "
                    f"insight_ext.filters.{needed}; got none for prompt {group.prompt}"
                )
            where = f"{type(self).__name__}, prompt {group.prompt}"
            if len(values) != len(group.rewards):
                raise ObservationError(
                    f"{where}: expected the {needed} of each of {len(group.rewards)} answers, got "
                    f"{len(values)}"
                )
            for at, value in enumerate(values):
                if not (value > 0.0 and math.isfinite(value)):
                    raise ObservationError(
                        f"{where}, answer {at}: expected a positive finite {needed}, got {value}"
                    )

    def _warn(self, message: str) -> None:
        warnings.warn(f"{type(self).__name__}: {message}", stacklevel=3)


def _trainable(groups: Sequence[Group]) -> list[int]:
    """Positions of the first group of each prompt that has a scored answer."""
    first: dict[int, int] = {}
    for place, group in enumerate(groups):
        if group.scored:
            first.setdefault(group.prompt, place)
    return list(first.values())


def varied_of_largest(values: Sequence[float], groups: Sequence[Group], keep: float) -> Verdict:
    """Train on this share of the groups, those of the largest values whose rewards vary.

    At least one group is kept; of equal values the earlier ones are.
    """
    varied = [i for i, group in enumerate(groups) if group.has_spread]
    best = sorted(varied, key=lambda i: -values[i])
    return Verdict(sorted(best[: max(1, round(keep * len(groups)))]))


def check_share(name: str, share: float) -> float:
    """The share, if it is in (0, 1].

    Raises:
        ArgumentError: it is not.
    """
    if not 0.0 < share <= 1.0:
        raise ArgumentError(f"{name}: expected a share in (0, 1], got {share}")
    return share
