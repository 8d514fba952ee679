"""The data module: the pool, the strategy that chooses from it, and the loaders of both loops."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from insight_ext import ArgumentError, PromptPool, SelectionLoop, Selector
from insight_ext.beliefs.group import Threshold
from insight_ext.distributed.ranks import Ranks
from insight_ext.filters import Filter
from insight_ext.loop.choice import take_over
from insight_ext.plugins import whole
from insight_ext.selectors import given_selector
from lightning_integration.loaders import PromptBatches, PromptLoader, check_epoch
from lightning_integration.trainer import (
    LightningDataModule,
    is_rehearsal,
    rank_zero_warn,
    ranks_of,
)


class PromptDataModule(LightningDataModule):
    """The pool of prompts, the strategy that chooses from it, and the held-out prompts.

    Args:
        pool: a `PromptPool`, or the path of its file, folder or pattern (docs/data.md).
        selector: the name of a strategy in `insight_ext.selectors.SELECTORS`, the import path of
            your own (`package.module:Class`), or a `Selector`.
        selector_options: the strategy's settings, where `selector` is a name or a path.
        prompts_per_step: prompts in a training step, of all processes together, in [1, len(pool)].
        steps_per_epoch: training steps in an epoch; None: as many as deal the pool's size once.
        validation: held-out prompts, like `pool`.
        validation_batch_size: held-out prompts in a validation step of each process.
        seed: of the strategy's draws, where `selector` is a name or a path.
        fields: the fields of both files that hold the `id`, the `prompt` and the `answer`, where
            they have other names than those known: `{"prompt": "task.text"}`.
        max_staleness: steps after its own in which a group's results may still come; above 0,
            `training_step` may return `results` (`PromptSelectionCallback`).

    Raises:
        PoolError: a file that cannot be read as prompts (file and line named).
        ArgumentError: an unknown strategy, or a number outside its domain.

    Warns:
        UserWarning: held-out prompts that are in the pool, too.

    Examples:
        >>> from insight_ext import Prompt
        >>> pool = PromptPool(Prompt(str(i), f"{i}+1=", str(i + 1)) for i in range(100))
        >>> data = PromptDataModule(pool, "insight", prompts_per_step=4)
        >>> len(data.train_dataloader())
        25
    """

    def __init__(
        self,
        pool: PromptPool | str | Path,
        selector: Selector | str = "insight",
        selector_options: dict[str, Any] | None = None,
        prompts_per_step: int = 16,
        steps_per_epoch: int | None = None,
        validation: PromptPool | str | Path | None = None,
        validation_batch_size: int = 64,
        seed: int = 0,
        max_staleness: int = 0,
        fields: dict[str, str | None] | None = None,
    ) -> None:
        super().__init__()
        self.pool = _pool(pool, fields)
        check_epoch(len(self.pool), prompts_per_step, steps_per_epoch)
        if steps_per_epoch is None:
            steps_per_epoch = -(-len(self.pool) // prompts_per_step)
        max_staleness = whole("max_staleness", max_staleness, 0)
        self.selector = given_selector(selector, selector_options, self.pool, seed)
        self.prompts_per_step, self.steps_per_epoch = prompts_per_step, steps_per_epoch
        self.max_staleness = max_staleness
        self.loop: SelectionLoop | None = None
        if validation is None:
            # Lightning then knows that there is nothing to validate; an empty loader makes it warn.
            self.val_dataloader = super().val_dataloader
        else:
            held_out = _pool(validation, fields)
            _warn_of_shared(self.pool, held_out)
            self.validation = PromptBatches(held_out, validation_batch_size)

    def begin(
        self,
        rollouts: int | None = None,
        success_threshold: Threshold = 1.0,
        partial_credit: bool = False,
        filter: Filter | None = None,
        ranks: Ranks | None = None,
    ) -> SelectionLoop:
        """The loop of this data: made by the first call, and the same one afterwards.

        Args:
            rollouts: K; None: the selector's, else 8.
            success_threshold, partial_credit, filter, ranks: see `SelectionLoop`.

        Raises:
            ArgumentError: other settings than the loop has, or a filter where results come late.
        """
        if filter is not None and self.max_staleness:
            raise ArgumentError(
                "max_staleness: expected 0 beside a filter, which decides within the step, got "
                f"{self.max_staleness}"
            )
        rollouts = rollouts or self.selector.rollouts or 8
        if self.loop is None:
            self.loop = SelectionLoop(
                self.pool,
                self.selector,
                rollouts=rollouts,
                success_threshold=success_threshold,
                partial_credit=partial_credit,
                filter=filter,
                max_staleness=self.max_staleness,
            )
        take_over("loop", self.loop, "rollouts", rollouts)
        take_over("loop", self.loop, "success_threshold", success_threshold)
        take_over("loop", self.loop, "partial_credit", partial_credit)
        self.loop.filter = filter
        self.loop.ranks = ranks or Ranks()
        self.loop.told = {"prompts_per_step": self.prompts_per_step}
        return self.loop

    def train_dataloader(self) -> PromptLoader:
        """The stream of batches; a rehearsal (see `is_rehearsal`) gets one without memory."""
        ranks = self._ranks("prompts_per_step", self.prompts_per_step)
        if self.loop is None and self.trainer is not None:
            rank_zero_warn(
                "PromptDataModule: expected a PromptSelectionCallback among the trainer's "
                "callbacks, found none; without it nothing is learned about the prompts"
            )
        loop = self.loop or self.begin(ranks=ranks)
        rehearsal = self.trainer is not None and is_rehearsal(self.trainer)
        return PromptLoader(loop, self.prompts_per_step, self.steps_per_epoch, rehearsal=rehearsal)

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
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        """Move `indices`; Lightning's own transfer refuses frozen objects such as `Prompt`."""
        if not isinstance(batch, Mapping):
            return super().transfer_batch_to_device(batch, device, dataloader_idx)
        if "indices" in batch and "prompts" in batch:
            return {**batch, "indices": batch["indices"].to(device)}
        return {  # of a dict of loaders
            name: self.transfer_batch_to_device(part, device, dataloader_idx)
            for name, part in batch.items()
        }


def data_of(trainer: Any) -> PromptDataModule:
    """The data module that a trainer was given.

    Raises:
        ArgumentError: it is another one.
    """
    data = getattr(trainer, "datamodule", None)
    if not isinstance(data, PromptDataModule):
        raise ArgumentError(
            "PromptSelectionCallback: expected trainer.fit(..., datamodule=PromptDataModule(...)), "
            f"got datamodule={type(data).__name__}"
        )
    return data


def _pool(pool: PromptPool | str | Path, fields: dict[str, str | None] | None) -> PromptPool:
    return pool if isinstance(pool, PromptPool) else PromptPool.from_file(pool, fields=fields)


def _warn_of_shared(pool: PromptPool, held_out: PromptPool) -> None:
    """Held-out prompts that are trained on tell nothing about others."""
    texts = {prompt.id: prompt.prompt for prompt in held_out}
    places = [at for at, name in enumerate(pool.ids) if name in texts]
    shared = [pool[at].id for at in places if pool[at].prompt == texts[pool[at].id]]
    if shared:
        rank_zero_warn(
            f"validation: {len(shared):,} of {len(held_out):,} prompts are in the pool, too, such "
            f"as {shared[0]!r}; the model is trained on them, so their accuracy tells nothing "
            "about other prompts; leave them out of one of the two"
        )
