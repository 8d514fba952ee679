"""The batches of both loops: prompts dealt the moment the trainer asks, and held-out ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import Any, TypedDict

import torch
from torch import Tensor

from insight_ext import Prompt, PromptPool, SelectionLoop
from insight_ext.distributed.ranks import Ranks
from insight_ext.plugins import whole

PARTS = {"indices", "groups", "prompts", "step"}


class PromptBatch(TypedDict):
    """One step's prompts: their places in the pool, the ids of their groups, and they themselves.

    `indices` and `groups` are int64 of shape (B,). Of several processes each gets its own part of
    the step's prompts. `step` is the step's number, counted over the whole run.
    """

    indices: Tensor
    groups: Tensor
    prompts: list[Prompt]
    step: int


def with_prompts(batch: Any) -> Any:
    """The part with prompts of what a dict of loaders deals; it may lie as deep as it likes.

    Examples:
        >>> batch = {"indices": [], "groups": [], "prompts": [], "step": 3}
        >>> with_prompts({"supervised": [1.0], "chosen": batch})["step"]
        3
    """
    return _first(batch, lambda part: isinstance(part, Mapping) and part.keys() >= PARTS) or batch


def loop_at_work(trainer: Any) -> SelectionLoop | None:
    """The loop that deals a trainer's batches; in a rehearsal it is a copy."""
    loader = _first(trainer.train_dataloader, lambda part: isinstance(part, PromptLoader))
    return None if loader is None else loader.loop


def _first(parts: Any, fits: Callable[[Any], bool]) -> Any:
    if fits(parts):
        return parts
    if isinstance(parts, Mapping):
        parts = list(parts.values())
    if not isinstance(parts, (list, tuple)):
        return None
    return next((found for part in parts if (found := _first(part, fits)) is not None), None)


class PromptLoader:
    """Deals one batch a step, on demand, from a loop that learns between the steps.

    It is a plain iterable and not a `DataLoader`: Lightning prefetches from the latter, so that a
    choice would rest on beliefs several steps old.

    Args:
        loop: deals the prompts.
        prompts_per_step: prompts in a batch, of all processes together, in [1, len(pool)].
        steps: batches in an epoch, at least 1.
        rehearsal: deal from a copy of the loop, the same batches every epoch.

    Raises:
        ArgumentError: prompts_per_step or steps outside its domain.

    Examples:
        >>> pool = PromptPool(Prompt(str(i), f"{i}+1=", str(i + 1)) for i in range(4))
        >>> loader = PromptLoader(SelectionLoop(pool, "uniform"), prompts_per_step=2, steps=2)
        >>> [len(batch["prompts"]) for batch in loader]
        [2, 2]
    """

    def __init__(
        self, loop: SelectionLoop, prompts_per_step: int, steps: int, *, rehearsal: bool = False
    ) -> None:
        check_epoch(len(loop.pool), prompts_per_step, steps)
        self.loop = loop
        self.prompts_per_step = prompts_per_step
        self.steps = steps
        self.rehearsal = rehearsal
        self._original = loop
        self._next = 0  # step of the next batch; ahead of the loop's where a trainer prefetches

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the loop's state is in the checkpoint already, so Lightning need not warn."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing, see `state_dict`."""

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[PromptBatch]:
        if self.rehearsal:
            shared = (self._original.pool, self._original.ranks)
            memo = {id(part): part for part in shared}
            self.loop, self._next = deepcopy(self._original, memo), 0
        # A resumed epoch is cut short by Lightning, which counts the epoch's batches itself.
        for _ in range(self.steps):
            yield self._batch()
            if self.rehearsal:
                self.loop.end_step()

    def _batch(self) -> PromptBatch:
        step = max(self._next, self.loop.step)
        self._next = step + 1
        dealt = self.loop.deal(self.prompts_per_step, step=step)
        mine = [dealt[i] for i in self.loop.ranks.share(torch.arange(len(dealt))).tolist()]
        return {
            "indices": torch.tensor([each.position for each in mine], dtype=torch.int64),
            "groups": torch.tensor([each.group for each in mine], dtype=torch.int64),
            "prompts": [each.prompt for each in mine],
            "step": step,
        }


def check_epoch(pool_size: int, prompts_per_step: int, steps: int | None) -> None:
    """ArgumentError unless an epoch has a step and a step a batch; None leaves the steps open."""
    name = f"prompts_per_step (the pool has {pool_size:,} prompts)"
    whole(name, prompts_per_step, 1, pool_size)
    if steps is not None:
        whole("steps_per_epoch", steps, 1)


class PromptBatches:
    """All prompts of a pool in order, `size` at a time: the validation loop's loader.

    Of several processes each gets its own part of every batch; the parts hold `size` prompts or so,
    none is empty, and all processes see the same number of batches.
    """

    def __init__(self, pool: PromptPool, size: int) -> None:
        self.pool = pool
        self.size = whole("validation_batch_size", size, 1)
        self.ranks = Ranks()

    def __len__(self) -> int:
        return len(self._batches())

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for batch in self._batches():
            indices = self.ranks.share(batch)
            yield {"indices": indices, "prompts": [self.pool[i] for i in indices.tolist()]}

    def _batches(self) -> list[Tensor]:
        batches = list(torch.arange(len(self.pool)).split(self.size * self.ranks.size))
        if len(batches) > 1 and len(batches[-1]) < self.ranks.size:
            batches[-2:] = [torch.cat(batches[-2:])]
        return batches
