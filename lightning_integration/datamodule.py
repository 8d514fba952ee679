"""The data module: the pool, the strategy that chooses from it, and the loaders of both loops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from insight_ext import ArgumentError, PromptPool
from insight_ext.distributed.ranks import Ranks
from insight_ext.selectors import Selector, make_selector
from lightning_integration.loader import PromptBatches, PromptLoader, RehearsalLoader
from lightning_integration.trainer import LightningDataModule, Trainer, rank_zero_warn


class PromptDataModule(LightningDataModule):
    """The pool of prompts, the strategy that chooses from it, and the held-out prompts.

    Args:
        pool: a `PromptPool`, or the path of a `.jsonl` or `.parquet` file with `id`, `prompt` and
            `answer`.
        selector: the name of a strategy in `insight_ext.selectors.SELECTORS`, the import path of
            an own one (`package.module:Class`), or a `Selector`.
        selector_options: the strategy's settings, where `selector` is a name or a path.
        prompts_per_step: prompts in a training step, of all processes together, in [1, len(pool)].
        steps_per_epoch: training steps in an epoch; None: as many as deal the pool's size once.
        validation: held-out prompts, like `pool`.
        validation_batch_size: held-out prompts in a validation step of each process.
        seed: of the strategy's draws, where `selector` is a name or a path.
        max_staleness: steps after its own in which a group's results may still come; above 0,
            `training_step` returns `results` (`PromptSelectionCallback`).

    Raises:
        PoolError: a file that cannot be read as prompts (file and line named).
        ArgumentError: an unknown strategy, or a number outside its domain.

    Example:
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
    ) -> None:
        super().__init__()
        self.pool = _pool(pool)
        self.selector = _selector(selector, selector_options, self.pool, seed)
        if steps_per_epoch is None:
            steps_per_epoch = -(-len(self.pool) // max(prompts_per_step, 1))
        self.loader = PromptLoader(
            self.pool, self.selector, prompts_per_step, steps_per_epoch, max_staleness
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
        """Warn if nobody is there to tell the selector what came of its prompts."""
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


def _selector(
    selector: Selector | str, options: dict[str, Any] | None, pool: PromptPool, seed: int
) -> Selector:
    pool_size = len(pool)
    if isinstance(selector, str):
        return make_selector(selector, pool_size, pool=pool, **{"seed": seed, **(options or {})})
    if options:
        raise ArgumentError(
            f"selector_options: expected none beside a selector object, got {options}; "
            "give them to the object"
        )
    size = getattr(selector, "pool_size", pool_size)
    if size != pool_size:
        raise ArgumentError(
            f"selector: expected one for the {pool_size} prompts of the pool, got one for {size}"
        )
    return selector
