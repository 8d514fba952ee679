"""Rolling out until a filter is content: the groups of a step to train on, and all that it cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from insight_ext import ArgumentError, Prompt
from insight_ext.filters import Filter, Groups, Verdict, joined_groups, make_filter, perplexity
from lightning_integration.loader import PromptBatch, PromptLoader
from lightning_integration.rollouts.engine import Rollouts, joined, no_rollouts

RollOut = Callable[[Sequence[Prompt], int, int], tuple[Rollouts, Tensor]]
"""`roll_out(prompts, n, call)` answers each prompt n times: the completions, and their rewards of
shape (prompts, n). `call` numbers the calls of a step, so that each has random numbers of its own.
"""


@dataclass(frozen=True)
class Collected:
    """The groups of a step.

    Attributes:
        rollouts: the completions to train on, K of each of G prompts; G may be 0.
        rewards: their rewards, shape (G, K).
        groups: everything that was rolled out, each prompt once: pairs of int64 positions in the
            pool, shape (M,), and rewards, shape (M, n). n is less than K for prompts that screening
            gave up.
        metrics: what to log.
    """

    rollouts: Rollouts
    rewards: Tensor
    groups: list[tuple[Tensor, Tensor]]
    metrics: dict[str, float]


def collect(
    chosen: Filter, roll_out: RollOut, batch: PromptBatch, loader: PromptLoader, n: int
) -> Collected:
    """Roll out a batch, and what the filter wants beyond it, until the filter is content.

    Further prompts come from the loader, remembered ones from the filter; no prompt is rolled out
    twice in a step. If the pool has no further prompts, the filter decides about those there are.
    Of several processes each rolls out its part of everything; all see all groups before the filter
    decides, decide alike, and train on those of their own groups that it takes.

    Args:
        chosen: the filter; its state moves on by one step.
        roll_out: see `RollOut`.
        batch: this process's prompts of the step; the filter is asked for as many groups as all
            processes have prompts.
        loader: where further prompts come from.
        n: rollouts of a group.

    Raises:
        ArgumentError: a loader that cannot deal further prompts; nothing was rolled out.
        ObservationError: rewards that are not finite.
    """
    if not isinstance(loader, PromptLoader):
        raise ArgumentError(
            "filter: expected the trainer's data loader to be PromptDataModule's own, which deals "
            f"further prompts, got a {type(loader).__name__}; train without a filter, or with "
            "datamodule=PromptDataModule(...)"
        )
    rolling = _Rolling(chosen, roll_out, loader, n, batch["indices"].device)
    rolling.add(batch["indices"].cpu())
    dealt = torch.cat(loader.ranks.gathered(batch["indices"].cpu()))
    target = len(dealt)
    milliseconds = 0.0
    while True:
        verdict = chosen.judge(rolling.judged, target)
        if verdict.settled:
            break
        start = perf_counter()
        indices = _further(verdict, loader, dealt)
        milliseconds += 1e3 * (perf_counter() - start)
        if not len(indices):
            verdict = chosen.judge(rolling.judged, target, refillable=False)
            break
        rolling.add(loader.ranks.share(indices))
        dealt = torch.cat((dealt, indices))
    kept = _joined(rolling.finished).pick(rolling.own(verdict.train))
    return Collected(
        kept.rollouts,
        kept.rewards,
        [(part.indices, part.rewards) for part in rolling.finished + rolling.given_up if len(part)],
        {
            **chosen.metrics(),
            "frac_groups_kept": len(verdict.train) / len(dealt),
            "refills": float(len(rolling.judged) - 1),
            "refill_selection_ms": milliseconds,
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


def given_filter(
    chosen: Filter | str | None, options: dict[str, Any] | None, rollouts: int
) -> Filter | None:
    """The filter that a user asked for: a name in `FILTERS` with its options, an object, or none.

    Raises:
        ArgumentError: an unknown name, options that the filter does not take or that come without
            a name, or a screening that leaves no rollouts to a group.

    Example:
        >>> type(given_filter("vcrl", {"warmup": 5}, rollouts=8)).__name__
        'VCRL'
    """
    if isinstance(chosen, str):
        chosen = make_filter(chosen, **(options or {}))
    elif options:
        raise ArgumentError(
            f"filter_options: expected none unless filter is a name, got {options}; "
            "name the filter, or give them to the object"
        )
    screening = None if chosen is None else chosen.screening
    if screening is not None and screening >= rollouts:
        raise ArgumentError(
            f"screening: expected fewer than the {rollouts} rollouts of a group, got {screening}; "
            "screen with fewer, or raise rollouts"
        )
    return chosen


@dataclass(frozen=True)
class _Part:
    """G prompts with the same number of rollouts each; `indices` and the choices are on the CPU."""

    indices: Tensor
    rewards: Tensor
    rollouts: Rollouts

    def __len__(self) -> int:
        return len(self.indices)

    def pick(self, groups: Tensor) -> _Part:
        """These of the groups."""
        rows = torch.arange(len(self.rollouts)).view(self.rewards.shape)[groups].flatten()
        return _Part(self.indices[groups], self.rewards[groups], self.rollouts.rows(rows))


def _joined(parts: Sequence[_Part]) -> _Part:
    """All groups, one part after another."""
    return _Part(
        torch.cat([part.indices for part in parts]),
        torch.cat([part.rewards for part in parts]),
        joined([part.rollouts for part in parts]),
    )


def _completed(first: _Part, rest: _Part) -> _Part:
    """The same prompts with the rollouts of both parts, those of a prompt side by side."""
    rows = torch.arange(len(first.rollouts) + len(rest.rollouts))
    early, late = rows.tensor_split([len(first.rollouts)])
    order = torch.cat((early.view(first.rewards.shape), late.view(rest.rewards.shape)), dim=1)
    return _Part(
        first.indices,
        torch.cat((first.rewards, rest.rewards), dim=1),
        joined([first.rollouts, rest.rollouts]).rows(order.flatten()),
    )


class _Rolling:
    """What a step has rolled out so far: this process, and in `judged` all of them."""

    def __init__(
        self,
        chosen: Filter,
        roll_out: RollOut,
        loader: PromptLoader,
        n: int,
        device: torch.device,
    ) -> None:
        self.chosen, self.roll_out, self.pool, self.n = chosen, roll_out, loader.pool, n
        self.ranks, self.device = loader.ranks, device
        self.calls: list[Rollouts] = []
        self.finished: list[_Part] = []
        self.given_up: list[_Part] = []
        self.judged: list[Groups] = []
        self._places: list[Tensor] = []

    def own(self, train: Tensor) -> Tensor:
        """Positions among this process's finished groups of those `train` among everybody's."""
        return torch.isin(torch.cat(self._places), train).nonzero().flatten()

    def add(self, indices: Tensor) -> None:
        """Roll out this process's part of one generation batch, and hear of the others'."""
        everyone = self.ranks.all_or_none(lambda: self._rolled(indices))
        before = [*self.judged, *everyone[: self.ranks.rank]]
        self._places.append(sum(map(len, before)) + torch.arange(len(self.finished[-1])))
        self.judged.append(joined_groups(everyone))

    def _rolled(self, indices: Tensor) -> Groups:
        """The groups of these prompts; their rollouts are kept here."""
        abandoned = 0
        part = self._call(indices, self.chosen.screening or self.n)
        if self.chosen.screening is not None:
            passes = self.chosen.passes(part.rewards.cpu())
            self.given_up.append(part.pick(~passes))
            abandoned = self.given_up[-1].rewards.numel()
            part = self._complete(part.pick(passes))
        self.finished.append(part)
        return Groups(part.indices, part.rewards.cpu(), self._uncertainty(part), abandoned)

    def _complete(self, part: _Part) -> _Part:
        if not len(part):
            # An engine cannot be asked about no prompts; the shape has to fit all the same.
            return _Part(part.indices, part.rewards.new_empty(0, self.n), part.rollouts)
        return _completed(part, self._call(part.indices, self.n - part.rewards.shape[1]))

    def _call(self, indices: Tensor, n: int) -> _Part:
        if not len(indices):
            nothing = no_rollouts(self.device)
            return _Part(indices, torch.empty(0, n, device=self.device), nothing)
        prompts = [self.pool[i] for i in indices.tolist()]
        rollouts, rewards = self.roll_out(prompts, n, len(self.calls))
        self.calls.append(rollouts)
        return _Part(indices, rewards, rollouts)

    def _uncertainty(self, part: _Part) -> Tensor | None:
        if not self.chosen.needs_uncertainty:
            return None
        each = perplexity(part.rollouts.logprobs, part.rollouts.completion_mask)
        return each.view(part.rewards.shape).cpu()


def _further(verdict: Verdict, loader: PromptLoader, dealt: Tensor) -> Tensor:
    """The prompts that a verdict wants, without those that the step has already."""
    recalled = verdict.recall[~torch.isin(verdict.recall, dealt)]
    return torch.cat((recalled, loader.more(verdict.wanted, torch.cat((dealt, recalled)))))
