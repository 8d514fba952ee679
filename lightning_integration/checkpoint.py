"""Saving a run so that it can be resumed exactly."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from insight_ext import CheckpointError
from insight_ext.atomic_file import unfinished, write_atomically
from insight_ext.plugins import check_at_least
from lightning_integration.trainer import LightningModule, Trainer, callbacks


def check_before_loading(module: LightningModule, check: Callable[[dict[str, Any]], None]) -> None:
    """Have a checkpoint checked before any of it is restored; `forget_check` undoes this.

    Lightning restores the model before the callbacks; only the module's own hook comes first.
    """
    own_hook = module.on_load_checkpoint

    def check_first(checkpoint: dict[str, Any]) -> None:
        check(checkpoint)
        own_hook(checkpoint)

    module.on_load_checkpoint = check_first


def forget_check(module: LightningModule) -> None:
    """Give the module its own hook back."""
    vars(module).pop("on_load_checkpoint", None)


def check_weights(module: LightningModule, checkpoint: dict[str, Any]) -> None:
    """See that a module has the weights that a checkpoint holds, before any is restored.

    Raises:
        CheckpointError: it has others, or of another shape.
    """
    saved, own = (
        {name: tuple(weight.shape) for name, weight in weights.items()}
        for weights in (checkpoint["state_dict"], module.state_dict())
    )
    other = [name for name in {**saved, **own} if saved.get(name) != own.get(name)]
    if other:
        in_checkpoint, got = (shapes.get(other[0], "none") for shapes in (saved, own))
        raise CheckpointError(
            f"model: expected the weights of the checkpoint, got others: {other[0]} has the shape "
            f"{in_checkpoint} there, {got} here; resume with model, lora and kl_coefficient of "
            "the run that wrote it, which its config.yaml has"
        )


class LastCheckpoint(callbacks.Checkpoint):
    """Keeps one checkpoint of the latest state, replaced every few steps and after each epoch.

    Lightning's `ModelCheckpoint` saves by steps or by epochs, not both, and warns of modules that
    optimise by hand. The file is written beside the old one, reaches the disk, and only then takes
    its place: a kill or a full disk leaves the old one or the new one, whole.

    Args:
        path: of the checkpoint.
        every: steps between two checkpoints within an epoch, at least 1.

    Raises:
        CheckpointError: the file cannot be written; the one before it is as it was.
    """

    def __init__(self, path: str | Path, every: int = 100) -> None:
        super().__init__()
        check_at_least(1, every=every)
        self.path = Path(path)
        self.every = every

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save if it is time; Lightning calls checkpoint callbacks after all others."""
        if (batch_idx + 1) % self.every == 0:
            self._save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save."""
        self._save(trainer)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """After Ctrl-C, say what is kept and how to go on."""
        if isinstance(exception, KeyboardInterrupt) and trainer.is_global_zero:
            kept = f"{self.path} is kept; resume with --ckpt_path last"
            if not self.path.exists():
                kept = "no checkpoint was written yet"
            done = trainer.fit_loop.epoch_loop.batch_progress.total.completed
            print(f"stopped after {done:,} steps; {kept}", file=sys.stderr)

    def _save(self, trainer: Trainer) -> None:
        if trainer.fast_dev_run:
            return
        try:
            if trainer.is_global_zero:
                write_atomically(self.path, lambda beside: _write(trainer, beside))
            else:
                _write(trainer, unfinished(self.path))
        except CheckpointError as error:
            raise CheckpointError(f"{self.path}: {error}") from error
        except OSError as error:
            kept = (
                "the checkpoint before it is whole" if self.path.exists() else "there is none yet"
            )
            raise CheckpointError(
                f"{self.path}: cannot write a checkpoint: {error.strerror or error}; {kept}; "
                "make room and resume"
            ) from error


def _write(trainer: Trainer, path: Path) -> None:
    """Let all processes save together; one of them writes the file."""
    trainer.save_checkpoint(path, weights_only=False)
    if path.is_dir():
        trainer.strategy.barrier("LastCheckpoint")
        if trainer.is_global_zero:
            shutil.rmtree(path)
        raise CheckpointError(
            "expected a strategy that writes a checkpoint as one file, got a folder; "
            "set save_distributed_checkpoint=False, or use Lightning's ModelCheckpoint"
        )
