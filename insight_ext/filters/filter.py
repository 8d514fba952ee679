"""The contract of every filter, and what all filters share."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from insight_ext.beliefs.pool_change import PoolChange
from insight_ext.errors import ArgumentError, CheckpointError, ObservationError

FORMAT = 1


@dataclass(frozen=True)
class Groups:
    """Finished groups of one generation batch: K answers to each of G prompts, on the CPU.

    Args:
        indices: int64 of shape (G,), the prompts' positions in the pool.
        rewards: float of shape (G, K), finite.
        uncertainty: float of shape (G, K), positive: the perplexity of each answer, or its mean
            entropy; only some filters need it.
        abandoned: rollouts spent on prompts that screening gave up, which are not among these.

    Raises:
        ObservationError: other shapes, or values outside the above.
    """

    indices: Tensor
    rewards: Tensor
    uncertainty: Tensor | None = None
    abandoned: int = 0

    def __post_init__(self) -> None:
        shape = tuple(self.rewards.shape)
        if len(shape) != 2 or self.indices.shape != shape[:1]:
            raise ObservationError(
                "groups: expected indices of shape (G,) and rewards of shape (G, K), got "
                f"{tuple(self.indices.shape)} and {shape}"
            )
        if not torch.isfinite(self.rewards).all():
            raise ObservationError("groups: expected finite rewards, got NaN or infinity")
        if self.uncertainty is not None:
            if self.uncertainty.shape != self.rewards.shape:
                raise ObservationError(
                    f"groups: expected uncertainty of the rewards' shape {shape}, got "
                    f"{tuple(self.uncertainty.shape)}"
                )
            if not ((self.uncertainty > 0) & torch.isfinite(self.uncertainty)).all():
                raise ObservationError("groups: expected positive finite uncertainties")

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def rollouts(self) -> int:
        """What these groups cost."""
        return self.rewards.numel() + self.abandoned


@dataclass(frozen=True)
class Verdict:
    """What to do after a generation batch: train, or roll out more first.

    Attributes:
        train: int64, positions among the step's groups in the order they were generated; distinct,
            and so are their prompts.
        wanted: how many further prompts to roll out before training; 0 for none.
        recall: int64, positions in the pool of prompts to roll out before training.
    """

    train: Tensor
    wanted: int = 0
    recall: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))

    @property
    def settled(self) -> bool:
        """Whether the step can train."""
        return self.wanted == 0 and len(self.recall) == 0


class Filter(ABC):
    """Chooses among finished groups those to train on.

    A training step rolls out a batch and asks `judge`; while the verdict is not settled it rolls
    out what the verdict wants and asks again, with all generation batches of the step so far.
    Nothing changes in a filter before the verdict is settled, so checkpoints between steps hold
    everything.

    A filter that refills and still has too few groups warns and trains on what there is. If no
    group passes, those whose rewards vary are trained on instead, with a warning; if none varies
    either, the verdict is empty and the step has nothing to learn from.

    Attributes:
        needs_uncertainty: whether `Groups.uncertainty` has to be there.
        refills: whether the filter rolls out until it has as many groups as the step wants.
        screening: rollouts after which `passes` decides about a prompt; None: all at once.
        steps, rollouts: settled steps and all the rollouts they cost, since the beginning.
    """

    needs_uncertainty: ClassVar[bool] = False
    refills: ClassVar[bool] = False
    screening: int | None = None

    def __init__(self) -> None:
        self.steps = 0
        self.rollouts = 0
        self._metrics: dict[str, float] = {}

    def passes(self, rewards: Tensor) -> Tensor:
        """Which screened prompts, rewards of shape (G, screening), get the rest of their rollouts.

        Returns:
            bool of shape (G,).
        """
        return torch.ones(len(rewards), dtype=torch.bool)

    def judge(self, batches: Sequence[Groups], target: int, *, refillable: bool = True) -> Verdict:
        """Decide about the groups of one step.

        Args:
            batches: the step's generation batches so far, at least one. A prompt that comes twice
                is trained on once, with its first group.
            target: groups that the step would like to train on, at least 1.
            refillable: False if no further prompts can be had; the verdict is then settled.

        Raises:
            ArgumentError: no batch, target below 1, or no uncertainty where it is needed.

        Cost: a few passes over the rewards.
        """
        if not batches or target < 1:
            raise ArgumentError(
                f"judge: expected at least one batch and a target of at least 1, got "
                f"{len(batches)} and {target}"
            )
        if self.needs_uncertainty and any(b.uncertainty is None for b in batches if len(b)):
            raise ArgumentError(
                f"{type(self).__name__}: expected Groups with uncertainty, such as "
                "perplexity(logprobs, mask); got none"
            )
        groups = joined_groups(batches)
        candidates = first_visits(groups.indices)
        verdict = self._judge(groups, candidates, target, len(batches))
        if refillable and not verdict.settled:
            return verdict
        train = verdict.train
        if not len(train):
            train = (candidates & has_spread(groups.rewards)).nonzero().flatten()[:target]
            self._warn(
                f"none of the step's {len(groups)} groups passes; training on "
                + ("those whose rewards vary" if len(train) else "none, since no rewards vary")
            )
        elif self.refills and len(train) < target:
            self._warn(
                f"{len(batches)} generation batches gave {len(train)} of {target} groups to train "
                "on; training on these"
            )
        self._settle(groups)
        self._metrics = {
            "generation_batches": float(len(batches)),
            "groups_generated": float(len(groups)),
            "groups_trained": float(len(train)),
            "filter_rollouts": float(groups.rollouts),
            "filter_passed": float(len(verdict.train)),
        }
        return Verdict(train)

    @abstractmethod
    def _judge(self, groups: Groups, candidates: Tensor, target: int, batches: int) -> Verdict:
        """The strategy; `candidates`, bool of shape (G,), excludes a prompt's second group."""

    def _settle(self, groups: Groups) -> None:
        """Remember a settled step."""
        self.steps += 1
        self.rollouts += groups.rollouts

    def _warn(self, message: str) -> None:
        warnings.warn(f"{type(self).__name__}: {message}", stacklevel=3)

    def metrics(self) -> dict[str, float]:
        """About the latest settled step: batches and groups generated, groups that passed, groups
        trained on, rollouts."""
        return dict(self._metrics)

    def settings(self) -> dict[str, Any]:
        """What has to be the same in a run that goes on from a state."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on, as tensors and primitives."""
        return {
            "format": FORMAT,
            "filter": type(self).__name__,
            "settings": self.settings(),
            "steps": self.steps,
            "rollouts": self.rollouts,
        }

    def carried(self, state: dict[str, Any], change: PoolChange) -> dict[str, Any]:
        """What `state_dict` saved in a run on an earlier pool, as a state for the present pool."""
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` saved.

        Raises:
            CheckpointError: another format, filter or setting; nothing was changed.
        """
        own = {"format": FORMAT, "filter": type(self).__name__, "settings": self.settings()}
        for key, value in own.items():
            if state.get(key) != value:
                raise CheckpointError(
                    f"filter: expected {key} {value}, the checkpoint has {state.get(key)}; "
                    "resume with the settings of the run that wrote it"
                )
        self.steps = int(state["steps"])
        self.rollouts = int(state["rollouts"])


def joined_groups(batches: Sequence[Groups]) -> Groups:
    """All groups of a step, in the order they were generated; batches without groups add cost."""
    full = [batch for batch in batches if len(batch)] or list(batches[:1])
    abandoned = sum(batch.abandoned for batch in batches)
    uncertainty = None
    if all(batch.uncertainty is not None for batch in full):
        uncertainty = torch.cat([b.uncertainty for b in full if b.uncertainty is not None])
    return Groups(
        torch.cat([batch.indices for batch in full]),
        torch.cat([batch.rewards for batch in full]),
        uncertainty,
        abandoned,
    )


def first_visits(indices: Tensor) -> Tensor:
    """Which entries hold a prompt for the first time, bool of shape (G,).

    Example:
        >>> first_visits(torch.tensor([3, 1, 3])).tolist()
        [True, True, False]
    """
    _, position = torch.unique(indices, return_inverse=True)
    at = torch.arange(len(indices))
    first = torch.full((len(indices),), len(indices)).scatter_reduce(0, position, at, "amin")
    return first[position] == at


def has_spread(rewards: Tensor) -> Tensor:
    """Which groups have rewards that vary, bool of shape (G,); the others give no gradient.

    Example:
        >>> has_spread(torch.tensor([[0.1, 0.1], [0.0, 1.0]])).tolist()
        [False, True]
    """
    return (rewards != rewards[:, :1]).any(dim=1)


def success_rate(rewards: Tensor, threshold: float) -> Tensor:
    """The share of rewards that reach the threshold, float64 of shape (G,)."""
    return (rewards >= threshold).double().mean(dim=1)


def largest(values: Tensor, candidates: Tensor, count: int) -> Tensor:
    """Positions of the `count` largest values among the candidates, in the order of generation.

    Of equal values the earlier ones are taken.
    """
    positions = candidates.nonzero().flatten()
    order = torch.sort(values[positions], descending=True, stable=True).indices
    return positions[order[:count]].sort().values


def checked_share(name: str, share: float) -> float:
    """ArgumentError unless the share is in (0, 1]."""
    if not 0.0 < share <= 1.0:
        raise ArgumentError(f"{name}: expected a share in (0, 1], got {share}")
    return share
