"""Rolling out until a filter is content: the groups of a step to train on, and all that it cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from insight_ext import ArgumentError, Dealt, Group, GroupResult, Prompt, SelectionLoop
from insight_ext.filters import Filter, Verdict, perplexity
from insight_ext.runs.layout import Metric, logged
from lightning_integration.loaders import PromptBatch
from lightning_integration.rollouts.engine import (
    RolloutEngine,
    Rollouts,
    joined,
)

RollOut = Callable[[Sequence[Prompt], int, int], tuple[Rollouts, Tensor]]
"""`roll_out(prompts, n, call)` answers each prompt, if there are any, n times: the completions, and
their scores of shape (prompts, n, F) by F rewards, the outcome's first, NaN where one could not be
scored. `call` numbers the calls of a step, so that each has random numbers of its own.
"""


@dataclass(frozen=True)
class Collected:
    """The groups of a step.

    Attributes:
        rollouts: the completions to train on, K of each of G prompts; G may be 0.
        scores: of these by F rewards, the outcome's first, shape (G, K, F).
        results: everything that was rolled out here, for the loop; fewer than K rewards of prompts
            that screening gave up.
        metrics: what to log.
    """

    rollouts: Rollouts
    scores: Tensor
    results: list[GroupResult]
    metrics: dict[str, float]


def collect(
    chosen: Filter, roll_out: RollOut, batch: PromptBatch, loop: SelectionLoop, n: int
) -> Collected:
    """Roll out a batch, and what the filter wants beyond it, until the filter is content.

    Further prompts come from the loop, remembered ones from the filter; no prompt is rolled out
    twice in a step. If the pool has no further prompts, the filter decides about those there are.
    Of several processes each rolls out its part of everything; all see all groups before the filter
    decides, decide alike, and train on those of their own groups that it takes.

    Args:
        chosen: the filter; its state moves on by one step.
        roll_out: see `RollOut`.
        batch: this process's prompts of the step; the filter is asked for as many groups as all
            processes have prompts.
        loop: where further prompts come from.
        n: rollouts of a group.

    Raises:
        ArgumentError, ObservationError: what the filter or `roll_out` raise, on all processes.
    """
    rolling = _Rolling(chosen, roll_out, loop, n)
    places = batch["indices"].tolist()
    prompts = dict(zip(places, batch["prompts"], strict=True))
    dealt = [Dealt(*each, prompts) for each in zip(batch["groups"].tolist(), places, strict=True)]
    target = sum(loop.ranks.gathered(len(dealt)))
    further = min(chosen.first_batch(target) - target, len(loop.pool))
    if further:
        dealt += _share(loop.deal(further, step=batch["step"]), loop)
    rolling.add(dealt)
    milliseconds = 0.0
    while True:
        verdict = chosen.judge(rolling.judged, target, abandoned=rolling.abandoned)
        if verdict.settled:
            break
        start = perf_counter()
        dealt = _further(verdict, rolling, batch["step"])
        milliseconds += 1e3 * (perf_counter() - start)
        if not dealt:
            verdict = chosen.judge(
                rolling.judged, target, abandoned=rolling.abandoned, refillable=False
            )
            break
        rolling.add(_share(dealt, loop))
    kept = _joined(rolling.finished).pick(rolling.own(verdict.train))
    return Collected(
        kept.rollouts,
        kept.scores,
        rolling.results,
        {
            **{logged(name): value for name, value in chosen.metrics().items()},
            logged(Metric.REFILL_MS): milliseconds,
            **length_metrics(rolling.calls),
        },
    )


def length_metrics(calls: Sequence[Rollouts]) -> dict[str, Any]:
    """`completion_length`, in tokens, and `frac_truncated`, over all completions of these calls."""
    lengths = torch.cat([rollouts.completion_mask.sum(dim=1) for rollouts in calls])
    truncated = sum(rollouts.stop_reasons.count("length") for rollouts in calls)
    return {
        "completion_length": lengths.float().mean(),
        "frac_truncated": truncated / len(lengths),
    }


def check_filter(chosen: Filter | None, rollouts: int, engine: RolloutEngine) -> None:
    """See that `collect` can give a filter what it needs.

    Raises:
        ArgumentError: a screening that leaves no rollouts to a group, or an entropy that the engine
            does not tell.
    """
    if chosen is None:
        return
    if chosen.screening is not None and chosen.screening >= rollouts:
        raise ArgumentError(
            f"screening: expected fewer than the {rollouts} rollouts of a group, got "
            f"{chosen.screening}; screen with fewer, or raise rollouts"
        )
    if chosen.needs_uncertainty == "entropy" and not tells_entropy(engine):
        raise ArgumentError(
            f"filter: expected one that does not need the entropy, got {type(chosen).__name__}: "
            f"{type(engine).__name__} tells the probabilities of the tokens drawn only; use the "
            "perplexity, or engine: transformers"
        )


def tells_entropy(engine: RolloutEngine) -> bool:
    """Whether an engine can tell how open the choices of its tokens were."""
    return bool(getattr(engine, "tells_entropy", False))


@dataclass(frozen=True)
class _Part:
    """G dealt prompts with the same number of rollouts each."""

    dealt: list[Dealt]
    scores: Tensor
    rollouts: Rollouts

    @property
    def outcomes(self) -> Tensor:
        """Whether answers are correct, shape (G, n): what filters judge, and the loop is told."""
        return self.scores[..., 0]

    def __len__(self) -> int:
        return len(self.dealt)

    def pick(self, at: Sequence[int]) -> _Part:
        """These of the prompts."""
        places = torch.tensor(at, dtype=torch.int64)
        rows = torch.arange(len(self.rollouts)).view(self.outcomes.shape)[places].flatten()
        dealt = [self.dealt[i] for i in at]
        return _Part(dealt, self.scores[places], self.rollouts.rows(rows))

    def completions(self) -> dict[int, list[str]]:
        """The texts of each group, by its id."""
        n = self.scores.shape[1]
        return {
            each.group: self.rollouts.texts[at * n : (at + 1) * n]
            for at, each in enumerate(self.dealt)
        }

    def groups(self) -> list[Group]:
        """One for each prompt, with the outcomes as rewards."""
        return [
            Group(each.position, tuple(outcomes), each.group, perplexity, entropy=entropy)
            for each, outcomes, perplexity, entropy in zip(
                self.dealt,
                self.outcomes.tolist(),
                *uncertainties(self.rollouts, self.outcomes),
                strict=True,
            )
        ]


def uncertainties(
    rollouts: Rollouts, rewards: Tensor
) -> tuple[Sequence[tuple[float, ...] | None], Sequence[tuple[float, ...] | None]]:
    """The perplexity and the entropy of each group's answers; None where nobody tells.

    Args:
        rollouts: of G * K answers.
        rewards: of these, shape (G, K).
    """
    unknown = [None] * len(rewards)
    if not len(rewards):
        return unknown, unknown
    known = (perplexity(rollouts.logprobs, rollouts.completion_mask), rollouts.entropy)
    perplexities, entropies = (
        unknown if each is None else [tuple(row) for row in each.view(rewards.shape).tolist()]
        for each in known
    )
    return perplexities, entropies


def _joined(parts: Sequence[_Part]) -> _Part:
    """All prompts, one part after another."""
    return _Part(
        [each for part in parts for each in part.dealt],
        torch.cat([part.scores for part in parts]),
        joined([part.rollouts for part in parts]),
    )


def _completed(first: _Part, rest: _Part) -> _Part:
    """The same prompts with the rollouts of both parts, those of a prompt side by side."""
    rows = torch.arange(len(first.rollouts) + len(rest.rollouts))
    early, late = rows.tensor_split([len(first.rollouts)])
    order = torch.cat((early.view(first.outcomes.shape), late.view(rest.outcomes.shape)), dim=1)
    return _Part(
        first.dealt,
        torch.cat((first.scores, rest.scores), dim=1),
        joined([first.rollouts, rest.rollouts]).rows(order.flatten()),
    )


class _Rolling:
    """What a step has rolled out so far: this process, and in `judged` all of them."""

    def __init__(self, chosen: Filter, roll_out: RollOut, loop: SelectionLoop, n: int) -> None:
        self.chosen, self.roll_out, self.loop, self.n = chosen, roll_out, loop, n
        self.calls: list[Rollouts] = []
        self.finished: list[_Part] = []
        self.results: list[GroupResult] = []
        self.judged: list[list[Group]] = []
        self.abandoned: list[Group] = []
        self.dealt: set[int] = set()
        self._places: list[int] = []  # of this process's finished groups among everybody's

    def own(self, train: Sequence[int]) -> list[int]:
        """Positions among this process's finished groups of those among everybody's."""
        wanted = set(train)
        return [at for at, place in enumerate(self._places) if place in wanted]

    def add(self, dealt: list[Dealt]) -> None:
        """Roll out this process's part of one generation batch, and hear of the others'."""
        everyone = self.loop.ranks.all_or_none(lambda: self._rolled(dealt))
        before = sum(map(len, self.judged))
        before += sum(len(groups) for groups, _ in everyone[: self.loop.ranks.rank])
        self._places += range(before, before + len(self.finished[-1]))
        self.judged.append([group for groups, _ in everyone for group in groups])
        abandoned = [group for _, given_up in everyone for group in given_up]
        self.abandoned += abandoned
        self.dealt |= {group.prompt for group in (*self.judged[-1], *abandoned)}

    def _rolled(self, dealt: list[Dealt]) -> tuple[list[Group], list[Group]]:
        """The groups of these prompts, and those given up; their rollouts are kept here."""
        part = self._call(dealt, self.chosen.screening or self.n)
        given_up: list[Group] = []
        dropped: dict[int, list[str]] = {}
        if self.chosen.screening is not None:
            screened, dropped = part.groups(), part.completions()
            passes = [self.chosen.passes(group) for group in screened]
            given_up = [g for g, passed in zip(screened, passes, strict=True) if not passed]
            part = self._complete(part.pick([i for i, passed in enumerate(passes) if passed]))
        self.finished.append(part)
        groups, texts = part.groups(), {**dropped, **part.completions()}
        self.results += [
            GroupResult(
                g.id,
                g.rewards,
                perplexity=g.perplexity,
                entropy=g.entropy,
                completions=texts[g.id],
            )
            for g in (*groups, *given_up)
        ]
        return groups, given_up

    def _complete(self, part: _Part) -> _Part:
        return _completed(part, self._call(part.dealt, self.n - part.scores.shape[1]))

    def _call(self, dealt: list[Dealt], n: int) -> _Part:
        rollouts, scores = self.roll_out([each.prompt for each in dealt], n, len(self.calls))
        self.calls.append(rollouts)
        return _Part(dealt, scores, rollouts)


def _share(dealt: list[Dealt], loop: SelectionLoop) -> list[Dealt]:
    """This process's part of what all were dealt."""
    return [dealt[i] for i in loop.ranks.share(torch.arange(len(dealt))).tolist()]


def _further(verdict: Verdict, rolling: _Rolling, step: int) -> list[Dealt]:
    """The prompts that a verdict wants, without those that the step has already."""
    loop = rolling.loop
    recalled = [prompt for prompt in verdict.recall if prompt not in rolling.dealt]
    dealt = loop.deal_these(recalled, step=step)
    wanted = min(verdict.wanted, len(loop.pool))
    return dealt + (loop.deal(wanted, step=step) if wanted else [])
