"""The prompts of each step, chosen at the moment the trainer asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple, TypedDict

import torch
from torch import Tensor

from insight_ext import ArgumentError, GroupLedger, Prompt, PromptPool
from insight_ext.proposers import BeliefProposer, Proposer, make_proposer
from insight_ext.ranks import Ranks
from lightning_integration.pl import LightningDataModule, Trainer, rank_zero_warn


class Draw(NamedTuple):
    """How a batch came about: its step, the beliefs it rests on, what it cost."""

    step: int
    """Batches drawn before this one; of a run with one batch a step, the number of the step."""
    observed: int
    """Batches whose results the beliefs had taken in when this one was drawn."""
    milliseconds: float
    """Time of the selection."""
    metrics: dict[str, float]
    """What the proposer had to say about the selection."""


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
    """Draws one batch a step, on demand, from a proposer that learns between the draws.

    It is a plain iterable and not a `DataLoader`: Lightning prefetches from the latter, so that a
    selection would rest on beliefs several steps old.

    Args:
        pool: the prompts.
        proposer: chooses among them.
        prompts_per_step: prompts in a batch, in [1, len(pool)].
        steps: batches in an epoch, at least 1.
        max_staleness: steps after its own in which a group's results may still come; 0 if all come
            with the step. A `BeliefProposer` then keeps as many selections in flight.

    Attributes:
        drawn, observed: batches dealt, and batches whose results came back, since the beginning.
        dealt: rollout groups dealt, which number them.
        ledger: of the groups that are out; None if results come with the step.
        ranks: this process among those that train together. Each has the same beliefs, so each
            draws the same batch, and deals its own part of it.

    Raises:
        ArgumentError: prompts_per_step or steps outside its domain.

    Example:
        >>> from insight_ext.proposers import Uniform
        >>> pool = PromptPool(Prompt(str(i), f"{i}+1=", str(i + 1)) for i in range(4))
        >>> loader = PromptLoader(pool, Uniform(4), prompts_per_step=2, steps=2)
        >>> [len(batch["prompts"]) for batch in loader], loader.drawn
        ([2, 2], 2)
    """

    def __init__(
        self,
        pool: PromptPool,
        proposer: Proposer,
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
        self.proposer = proposer
        self.prompts_per_step = prompts_per_step
        self.steps = steps
        self.drawn = 0
        self.observed = 0
        self.dealt = 0
        self.ranks = Ranks()
        self.ledger = GroupLedger(max_staleness) if max_staleness != 0 else None
        if self.ledger is not None and isinstance(proposer, BeliefProposer):
            proposer.in_flight = max(proposer.in_flight, max_staleness + 1)

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[PromptBatch]:
        # A resumed epoch is cut short by Lightning, which counts the epoch's batches itself.
        for _ in range(self.steps):
            yield self._draw()

    def _draw(self) -> PromptBatch:
        start = perf_counter()
        indices = self.proposer.select(self.prompts_per_step)
        milliseconds = 1e3 * (perf_counter() - start)
        draw = Draw(self.drawn, self.observed, milliseconds, self.proposer.metrics())
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
            >>> from insight_ext.proposers import Uniform
            >>> pool = PromptPool(Prompt(str(i), f"{i}+1=", str(i + 1)) for i in range(4))
            >>> loader = PromptLoader(pool, Uniform(4), prompts_per_step=3, steps=1)
            >>> (batch,) = loader
            >>> len(loader.more(2, dealt=batch["indices"])), loader.drawn
            (1, 1)
        """
        k = min(k, len(self.pool) - len(dealt))
        if k < 1:
            return dealt[:0]
        indices = self.proposer.more(k, dealt)
        return indices[~torch.isin(indices, dealt)]

    def observe(self, indices: Tensor, successes: Tensor, rollouts: Tensor) -> None:
        """Hand one step's results to the proposer."""
        self.proposer.observe(indices, successes, rollouts)
        self.observed += 1

    def state_dict(self) -> dict[str, int]:
        """The position. Beliefs and groups that are out are the callback's to save."""
        return {"drawn": self.drawn, "observed": self.observed, "dealt": self.dealt}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Restore what `state_dict` saved."""
        self.drawn, self.observed = state["drawn"], state["observed"]
        self.dealt = state["dealt"]


class RehearsalLoader(PromptLoader):
    """Deals the same batches every epoch, from a copy of the proposer: nothing is learned."""

    def __init__(self, loader: PromptLoader) -> None:
        super().__init__(loader.pool, loader.proposer, loader.prompts_per_step, loader.steps)
        self.ranks = loader.ranks
        self._original = loader.proposer

    def __iter__(self) -> Iterator[PromptBatch]:
        self.proposer = deepcopy(self._original)
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


class PromptDataModule(LightningDataModule):
    """The pool of prompts, the strategy that chooses from it, and the held-out prompts.

    Args:
        pool: a `PromptPool`, or the path of a `.jsonl` or `.parquet` file with `id`, `prompt` and
            `answer`.
        proposer: the name of a strategy in `insight_ext.proposers.PROPOSERS`, the import path of
            an own one (`package.module:Class`), or a `Proposer`.
        proposer_options: the strategy's settings, where `proposer` is a name or a path.
        prompts_per_step: prompts in a training step, of all processes together, in [1, len(pool)].
        steps_per_epoch: training steps in an epoch; None: as many as deal the pool's size once.
        validation: held-out prompts, like `pool`.
        validation_batch_size: held-out prompts in a validation step of each process.
        seed: of the strategy's draws, where `proposer` is a name or a path.
        max_staleness: steps after its own in which a group's results may still come; above 0,
            `training_step` returns `results` (`PromptSelectionCallback`).

    Raises:
        PoolError: a file that cannot be read as prompts (file and line named).
        ArgumentError: an unknown strategy, or a number outside its domain.

    Example:
        >>> pool = PromptPool(Prompt(str(i), f"{i}+1=", str(i + 1)) for i in range(100))
        >>> data = PromptDataModule(pool, "insight", prompts_per_step=4)
        >>> len(data.train_dataloader())
        25
    """

    def __init__(
        self,
        pool: PromptPool | str | Path,
        proposer: Proposer | str = "insight",
        proposer_options: dict[str, Any] | None = None,
        prompts_per_step: int = 16,
        steps_per_epoch: int | None = None,
        validation: PromptPool | str | Path | None = None,
        validation_batch_size: int = 64,
        seed: int = 0,
        max_staleness: int = 0,
    ) -> None:
        super().__init__()
        self.pool = _pool(pool)
        self.proposer = _proposer(proposer, proposer_options, self.pool, seed)
        if steps_per_epoch is None:
            steps_per_epoch = -(-len(self.pool) // max(prompts_per_step, 1))
        self.loader = PromptLoader(
            self.pool, self.proposer, prompts_per_step, steps_per_epoch, max_staleness
        )
        if validation is None:
            # Lightning then knows that there is nothing to validate; an empty loader makes it warn.
            self.val_dataloader = super().val_dataloader
        else:
            self.validation = PromptBatches(_pool(validation), validation_batch_size)

    def train_dataloader(self) -> PromptLoader:
        """The stream of batches; a rehearsal (see `is_rehearsal`) gets one without memory."""
        self.loader.ranks = self._ranks("prompts_per_step", self.loader.prompts_per_step)
        self._expect_a_callback()
        if self.trainer is not None and is_rehearsal(self.trainer):
            return RehearsalLoader(self.loader)
        return self.loader

    def _expect_a_callback(self) -> None:
        """Warn if nobody is there to tell the proposer what came of its prompts."""
        from lightning_integration.callback import PromptSelectionCallback  # which imports this

        callbacks = [] if self.trainer is None else self.trainer.callbacks
        if self.trainer is not None and not any(
            isinstance(callback, PromptSelectionCallback) for callback in callbacks
        ):
            rank_zero_warn(
                "PromptDataModule: expected a PromptSelectionCallback among the trainer's "
                "callbacks, found none; without it nothing is learned about the prompts"
            )

    def val_dataloader(self) -> PromptBatches:
        """The held-out prompts in order."""
        self.validation.ranks = self._ranks("validation", len(self.validation.pool))
        return self.validation

    def _ranks(self, name: str, prompts: int) -> Ranks:
        """This process among the trainer's, each of which has to get one of `prompts` at least."""
        if self.trainer is None:
            return Ranks()
        ranks = ranks_of(self.trainer)
        if prompts < ranks.size:
            raise ArgumentError(
                f"{name}: expected at least one prompt for each of {ranks.size} processes, "
                f"got {prompts}"
            )
        return ranks

    def transfer_batch_to_device(
        self, batch: dict[str, Any], device: torch.device, dataloader_idx: int
    ) -> dict[str, Any]:
        """Move `indices`; Lightning's own transfer refuses frozen objects such as `Prompt`."""
        return {**batch, "indices": batch["indices"].to(device)}


def ranks_of(trainer: Trainer) -> Ranks:
    """This process among the trainer's."""
    return Ranks(trainer.global_rank, trainer.world_size, trainer.strategy.root_device)


def is_rehearsal(trainer: Trainer) -> bool:
    """Whether the trainer only tries itself out, so that nothing may be learned about prompts."""
    return bool(trainer.fast_dev_run) or trainer.overfit_batches > 0


def _pool(pool: PromptPool | str | Path) -> PromptPool:
    return pool if isinstance(pool, PromptPool) else PromptPool.from_file(pool)


def _proposer(
    proposer: Proposer | str, options: dict[str, Any] | None, pool: PromptPool, seed: int
) -> Proposer:
    pool_size = len(pool)
    if isinstance(proposer, str):
        return make_proposer(proposer, pool_size, pool=pool, **{"seed": seed, **(options or {})})
    if options:
        raise ArgumentError(
            f"proposer_options: expected none beside a proposer object, got {options}; "
            "give them to the object"
        )
    size = getattr(proposer, "pool_size", pool_size)
    if size != pool_size:
        raise ArgumentError(
            f"proposer: expected one for the {pool_size} prompts of the pool, got one for {size}"
        )
    return proposer
