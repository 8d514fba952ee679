"""The prompts of each step, chosen at the moment the trainer asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from time import perf_counter
from typing import Any, NamedTuple, TypedDict

import torch
from torch import Tensor

from insight_ext import ArgumentError, GroupLedger, Prompt, PromptPool
from insight_ext.distributed.ranks import Ranks
from insight_ext.selectors import BeliefSelector, Selector


class Draw(NamedTuple):
    """How a batch came about: its step, the beliefs it rests on, what it cost."""

    step: int
    """Batches drawn before this one; of a run with one batch a step, the number of the step."""
    observed: int
    """Batches whose results the beliefs had taken in when this one was drawn."""
    milliseconds: float
    """Time of the selection."""
    metrics: dict[str, float]
    """What the selector had to say about the selection."""


class PromptBatch(TypedDict):
    """One step's prompts: `indices` int64 of shape (B,), into the pool, and the prompts.

    `groups`, int64 of shape (B,), are the ids of their rollout groups, distinct within a run. Of
    several processes each gets its own part of the step's prompts.
    """

    indices: Tensor
    groups: Tensor
    prompts: list[Prompt]
    draw: Draw


class PromptLoader:
    """Draws one batch a step, on demand, from a selector that learns between the draws.

    It is a plain iterable and not a `DataLoader`: Lightning prefetches from the latter, so that a
    selection would rest on beliefs several steps old.

    Args:
        pool: the prompts.
        selector: chooses among them.
        prompts_per_step: prompts in a batch, in [1, len(pool)].
        steps: batches in an epoch, at least 1.
        max_staleness: steps after its own in which a group's results may still come; 0 if all come
            with the step. A `BeliefSelector` then keeps as many selections in flight.

    Attributes:
        drawn, observed: batches dealt, and batches whose results came back, since the beginning.
        dealt: rollout groups dealt, which number them.
        ledger: of the groups that are out; None if results come with the step.
        ranks: this process among those that train together. Each has the same beliefs, so each
            draws the same batch, and deals its own part of it.

    Raises:
        ArgumentError: prompts_per_step or steps outside its domain.

    Example:
        >>> from insight_ext.selectors import Uniform
        >>> pool = PromptPool(Prompt(str(i), f"{i}+1=", str(i + 1)) for i in range(4))
        >>> loader = PromptLoader(pool, Uniform(4), prompts_per_step=2, steps=2)
        >>> [len(batch["prompts"]) for batch in loader], loader.drawn
        ([2, 2], 2)
    """

    def __init__(
        self,
        pool: PromptPool,
        selector: Selector,
        prompts_per_step: int,
        steps: int,
        max_staleness: int = 0,
    ) -> None:
        if not 1 <= prompts_per_step <= len(pool):
            raise ArgumentError(
                f"prompts_per_step: expected an integer in [1, {len(pool)}], the size of the pool, "
                f"got {prompts_per_step}"
            )
        if steps < 1:
            raise ArgumentError(f"steps_per_epoch: expected at least 1, got {steps}")
        self.pool = pool
        self.selector = selector
        self.prompts_per_step = prompts_per_step
        self.steps = steps
        self.drawn = 0
        self.observed = 0
        self.dealt = 0
        self.ranks = Ranks()
        self.ledger = GroupLedger(max_staleness) if max_staleness != 0 else None
        if self.ledger is not None and isinstance(selector, BeliefSelector):
            selector.in_flight = max(selector.in_flight, max_staleness + 1)

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[PromptBatch]:
        # A resumed epoch is cut short by Lightning, which counts the epoch's batches itself.
        for _ in range(self.steps):
            yield self._draw()

    def _draw(self) -> PromptBatch:
        start = perf_counter()
        indices = self.selector.select(self.prompts_per_step)
        milliseconds = 1e3 * (perf_counter() - start)
        draw = Draw(self.drawn, self.observed, milliseconds, self.selector.metrics())
        groups = torch.arange(self.dealt, self.dealt + len(indices))
        self.dealt += len(indices)
        if self.ledger is not None:
            self.ledger.deal(groups.tolist(), indices.tolist(), self.drawn, self.observed)
        self.drawn += 1
        indices = self.ranks.share(indices)
        return {
            "indices": indices,
            "groups": self.ranks.share(groups),
            "prompts": [self.pool[i] for i in indices.tolist()],
            "draw": draw,
        }

    def more(self, k: int, dealt: Tensor) -> Tensor:
        """Up to `k` further prompts for the step whose batch was drawn last.

        Args:
            k: how many are wanted.
            dealt: int64, the prompts that the step has already; none of them comes again.

        Returns:
            int64 indices into the pool, fewer than `k` where the pool has no more.

        Example:
            >>> from insight_ext.selectors import Uniform
            >>> pool = PromptPool(Prompt(str(i), f"{i}+1=", str(i + 1)) for i in range(4))
            >>> loader = PromptLoader(pool, Uniform(4), prompts_per_step=3, steps=1)
            >>> (batch,) = loader
            >>> len(loader.more(2, dealt=batch["indices"])), loader.drawn
            (1, 1)
        """
        k = min(k, len(self.pool) - len(dealt))
        if k < 1:
            return dealt[:0]
        indices = self.selector.more(k, dealt)
        return indices[~torch.isin(indices, dealt)]

    def observe(self, indices: Tensor, successes: Tensor, rollouts: Tensor) -> None:
        """Hand one step's results to the selector."""
        self.selector.observe(indices, successes, rollouts)
        self.observed += 1

    def state_dict(self) -> dict[str, int]:
        """The position. Beliefs and groups that are out are the callback's to save."""
        return {"drawn": self.drawn, "observed": self.observed, "dealt": self.dealt}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Restore what `state_dict` saved."""
        self.drawn, self.observed = state["drawn"], state["observed"]
        self.dealt = state["dealt"]


class RehearsalLoader(PromptLoader):
    """Deals the same batches every epoch, from a copy of the selector: nothing is learned."""

    def __init__(self, loader: PromptLoader) -> None:
        super().__init__(loader.pool, loader.selector, loader.prompts_per_step, loader.steps)
        self.ranks = loader.ranks
        self._original = loader.selector

    def __iter__(self) -> Iterator[PromptBatch]:
        self.selector = deepcopy(self._original)
        yield from super().__iter__()


class PromptBatches:
    """All prompts of a pool in order, `size` at a time: the validation loop's loader.

    Of several processes each gets its own part of every batch; the parts hold `size` prompts or so,
    none is empty, and all processes see the same number of batches.
    """

    def __init__(self, pool: PromptPool, size: int) -> None:
        if size < 1:
            raise ArgumentError(f"validation_batch_size: expected at least 1, got {size}")
        self.pool = pool
        self.size = size
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
