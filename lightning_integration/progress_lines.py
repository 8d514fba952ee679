"""How far a training is, in lines, where there is no terminal for Lightning's bar: a batch job."""

from __future__ import annotations

import math
from typing import Any

from insight_ext.progress import Progress
from insight_ext.runs.layout import Metric
from lightning_integration.trainer import Callback, LightningModule, Trainer


class ProgressLines(Callback):
    """Prints a line at the start, after every validation, every half minute, and at the end.

    It counts training batches, and prints nothing where their number is not known beforehand.
    """

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._known = ""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        total = trainer.estimated_stepping_batches
        if trainer.is_global_zero and math.isfinite(total):
            self._progress = Progress("training", int(total), before=_done(trainer))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Print a line if it is time."""
        self._tell(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print a line with the accuracy, and the step that it is of."""
        accuracy = trainer.callback_metrics.get(Metric.ACCURACY.value)
        if accuracy is not None and not trainer.sanity_checking:
            self._known = f"held-out accuracy {float(accuracy):.1%} after {_done(trainer):,}"
        self._tell(trainer)

    def _tell(self, trainer: Trainer) -> None:
        if self._progress is not None:
            self._progress.update(_done(trainer), self._known)


def _done(trainer: Trainer) -> int:
    return int(trainer.fit_loop.epoch_loop.batch_progress.total.processed)
