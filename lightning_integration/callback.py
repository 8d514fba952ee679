"""The callback that closes the loop between a training step and the next choice of prompts."""

from __future__ import annotations

from time import perf_counter
from typing import Any, Literal

from insight_ext import SelectionLoop
from insight_ext.beliefs.group import Threshold
from insight_ext.filters import Filter
from insight_ext.plugins import whole
from insight_ext.runs.layout import Metric, logged
from lightning_integration.checkpoint import check_before_loading, forget_check
from lightning_integration.datamodule import data_of
from lightning_integration.loaders import loop_at_work, with_prompts
from lightning_integration.metrics_file import start_files
from lightning_integration.outputs import report
from lightning_integration.tables import log_tables
from lightning_integration.trainer import (
    Callback,
    LightningModule,
    Trainer,
    check_trainer,
    is_rehearsal,
    ranks_of,
    will_log,
)

SHOWN = (Metric.REWARD, Metric.MIXED)  # in the progress bar


class PromptSelectionCallback(Callback):
    """Closes the loop between a training step and the next selection.

    After every training batch it reports what `training_step` returned to the data module's
    `SelectionLoop`, ends the loop's step, and logs. It saves the loop in checkpoints; a run resumed
    from one selects what the uninterrupted run would have selected.

    Train with `PromptDataModule`; its loader may be one of several (a dict of loaders).
    `training_step` returns a dict with

    * `rewards`: float tensor of shape (B, K), K rollouts for each of the batch's B prompts in the
      batch's order; NaN for an answer that could not be scored;
    * `perplexity` and `entropy` of each of them (`Group`), if they are to be in the log of answers;
    * `completions`: for each prompt a list of its K answers, if some are to be kept for people to
      look at; they go into `samples.jsonl` and the loggers;
    * `loss`, if the optimisation is automatic.

    A step that rolled out other groups than the batch's, or whose groups come later
    (`PromptDataModule(max_staleness=...)`), returns instead of `rewards`

    * `results`: a list of `GroupResult`, of groups dealt in this step or before, in any order, in
      pieces, none at all; and, or,
    * `groups`: a list of `Group` for prompts that were never dealt.

    Of several processes (DDP and the like) each returns what it rolled out itself.

    A module's `rollouts` (K) and `filter` are the loop's; a filter is saved with it. Nothing is
    learned in `fast_dev_run` and `overfit_batches`.

    Args:
        success_threshold, partial_credit: how the beliefs count graded rewards, see
            `SelectionLoop`; the policy's advantages are not touched.
        history_every: steps between two looks at the beliefs of the whole pool, and two writes of
            `groups.parquet`, `beliefs.parquet` and `samples.jsonl` into the first logger's folder;
            0 writes none.
        answers: whether to write `answers.parquet` beside them, with a row for each answer, its
            perplexity and, where the engine tells it, its entropy.
        keep_samples: answers kept of every step, see `SelectionLoop`.
        in_flight: see `SelectionLoop.load_state_dict`.

    Raises:
        ArgumentError: an argument outside its domain, another data module, processes that disagree.
        ObservationError: no rewards, of the wrong shape, or infinite; no belief was changed, on no
            process.
        CheckpointError: see `SelectionLoop.load_state_dict`; model, beliefs and run folder are as
            before.

    Examples:
        >>> callback = PromptSelectionCallback(success_threshold=0.5)
    """

    def __init__(
        self,
        success_threshold: Threshold = 1.0,
        history_every: int = 50,
        answers: bool = False,
        in_flight: Literal["again", "wait"] = "again",
        partial_credit: bool = False,
        keep_samples: int = 4,
    ) -> None:
        super().__init__()
        self.success_threshold, self.partial_credit = success_threshold, partial_credit
        self.history_every = whole("history_every", history_every, 0)
        self.answers, self.keep_samples = answers, keep_samples
        self.in_flight: Literal["again", "wait"] = in_flight
        self._loop: SelectionLoop | None = None
        self._seconds, self._step_started = 0.0, 0.0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Make the loop; see to it that a wrong checkpoint is refused before it is used."""
        if stage != "fit":
            return
        check_trainer(trainer)
        chosen = getattr(pl_module, "filter", None)
        self._loop = data_of(trainer).begin(
            rollouts=getattr(pl_module, "rollouts", None),
            success_threshold=self.success_threshold,
            partial_credit=self.partial_credit,
            filter=chosen if isinstance(chosen, Filter) else None,
            ranks=ranks_of(trainer),
        )
        self._loop.agree()
        check_before_loading(pl_module, self._check)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give the module its own hook back."""
        forget_check(pl_module)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Choose the run's folder; steps beyond the checkpoint will be trained again."""
        if is_rehearsal(trainer):
            return
        self._fitted.agree()
        batches, epochs = trainer.num_training_batches, trainer.max_epochs or -1
        if epochs > 0 and isinstance(batches, int):
            self._fitted.expect(epochs * batches * trainer.datamodule.prompts_per_step)
        if self.history_every and trainer.loggers:
            self._fitted.record(
                trainer.log_dir or trainer.default_root_dir,  # asked of all processes at once
                self.history_every,
                answers=self.answers,
                keep_samples=self.keep_samples,
            )
        start_files(trainer.loggers, resumed=self._fitted.step > 0)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Start the step's clock."""
        self._step_started = perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Report, end the step and, if it is time, log it."""
        loop, batch = loop_at_work(trainer) or self._fitted, with_prompts(batch)
        if is_rehearsal(trainer):
            report(outputs, batch, loop)
            return
        logs = will_log(trainer)
        metrics = loop.end_step(lambda: report(outputs, batch, loop), look=logs)
        seconds = perf_counter() - self._step_started + 1e-3 * metrics[Metric.SELECTION_MS.value]
        self._seconds += seconds
        if logs:
            metrics[Metric.STEP_MS.value] = 1e3 * seconds
            metrics[Metric.TRAIN_SECONDS.value] = self._seconds
            for name, value in metrics.items():
                bar, n = name in SHOWN, len(batch["prompts"])
                pl_module.log(logged(name), value, prog_bar=bar, batch_size=n)
        if self.history_every and loop.step % self.history_every == 0:
            log_tables(trainer.loggers, loop)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the beliefs once more, and write the rest of the history."""
        self._fitted.close()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Write the rest of the history; Lightning calls no `teardown` now."""
        self.teardown(trainer, pl_module, "fit")
        if self._loop is not None:
            self._loop.close(finished=False)

    def state_dict(self) -> dict[str, Any]:
        """The loop's state, if all processes agree on it, and the seconds trained."""
        if self._loop is None:
            return {}
        self._loop.agree()
        return {"loop": self._loop.state_dict(), "train_seconds": self._seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` saved, if this is a resumed training."""
        if self._loop is not None:
            self._loop.load_state_dict(_saved(state), in_flight=self.in_flight)
            self._seconds = state["train_seconds"]

    def _check(self, checkpoint: dict[str, Any]) -> None:
        self._fitted.check_state(_saved(checkpoint.get("callbacks", {}).get(self.state_key)))

    @property
    def _fitted(self) -> SelectionLoop:
        assert self._loop is not None, "Lightning calls setup before any other hook"
        return self._loop


def _saved(state: Any) -> Any:
    """The loop's part of what the callback saved; what has none is refused as it is."""
    return state.get("loop", state) if isinstance(state, dict) else state
