"""The callback that turns a training step's rewards into beliefs, metrics and history."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from insight_ext import ArgumentError
from insight_ext.distributed.ranks import Ranks
from insight_ext.filters import Filter
from insight_ext.selectors import BeliefSelector
from lightning_integration.datamodule import PromptDataModule, is_rehearsal, ranks_of
from lightning_integration.history import MetricsFile, RunHistory
from lightning_integration.loader import Draw, PromptBatch
from lightning_integration.outputs import arrived, mean_metrics, rolled_out
from lightning_integration.state import SelectionState
from lightning_integration.trainer import Callback, LightningModule, Trainer


class PromptSelectionCallback(Callback):
    """Closes the loop between a training step and the next selection.

    After every training batch it reads `rewards` from what `training_step` returned, counts the
    rollouts that reach `success_threshold` as successes, hands them to the data module's selector,
    and logs. It saves the selector's state in checkpoints; a run resumed from one selects what the
    uninterrupted run would have selected.

    Train with `PromptDataModule`. `training_step` returns a dict with

    * `rewards`: float tensor of shape (B, K), K rollouts for each of the batch's B prompts in the
      batch's order, finite;
    * `loss`, if the optimisation is automatic.

    A step that rolled out other groups than the batch's, as with a filter, returns instead of
    `rewards`

    * `groups`: everything it rolled out, each prompt once: pairs of the prompts' positions in the
      pool, int64 of shape (M,), and rewards of shape (M, n); n may differ between pairs.

    Where groups are rolled out beside the training, `PromptDataModule(max_staleness=...)` lets
    results come late. A step then returns instead of `rewards`

    * `results`: a list of `GroupResult`, of groups dealt in this step or before, in any order, in
      pieces, none at all, or `groups` for prompts that were never dealt, or both.

    What comes twice is ignored and counted. `staleness_mean` and `staleness_max` tell how many
    observed batches the beliefs had moved on since the groups were chosen.

    A `filter` of the module is saved with the selector.

    Of several processes (DDP and the like) each returns what it rolled out itself. The callback
    gathers it, so that all keep the same beliefs and choose the same next batch, of which the data
    module deals each process its part. The history is the first process's to write.

    Nothing is learned in `fast_dev_run` and `overfit_batches`.

    Args:
        success_threshold: the smallest reward of a success. Graded rewards are made binary for the
            beliefs by it; the policy's advantages are not touched.
        history_every: steps between two looks at the beliefs of the whole pool (one more comes at
            the training's end), and between two writes of `groups.parquet` and `beliefs.parquet`
            into the first logger's folder; 0 writes no history. With a checkpoint, too, what is
            recorded is written.

    Raises:
        ArgumentError: an argument outside its domain, another data module, processes that disagree
            on the pool or on the strategy (each named).
        ObservationError: no rewards, of the wrong shape, or not finite; no belief was changed, on
            no process.
        CheckpointError: a checkpoint of another pool, filter or format, or without beliefs; model,
            beliefs and run folder are as before. A pool that gained, lost, moved or rewrote prompts
            is the same pool: beliefs are restored by the prompts' ids, with a warning that says
            what changed.

    Example:
        >>> callback = PromptSelectionCallback(success_threshold=0.5)
    """

    def __init__(self, success_threshold: float = 1.0, history_every: int = 50) -> None:
        super().__init__()
        if history_every < 0:
            raise ArgumentError(f"history_every: expected 0 or more, got {history_every}")
        self.success_threshold = success_threshold
        self.history_every = history_every
        self._state: SelectionState | None = None
        self._history: RunHistory | None = None
        self._rollouts = 0
        self._seconds = 0.0
        self._step_started = 0.0
        self._unseen_step: int | None = None  # trained, but its beliefs not looked at
        self._ranks = Ranks()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the selector; see to it that a wrong checkpoint is refused before it is used."""
        if stage != "fit":
            return
        data = getattr(trainer, "datamodule", None)
        if not isinstance(data, PromptDataModule):
            raise ArgumentError(
                "PromptSelectionCallback: expected trainer.fit(..., datamodule=PromptDataModule"
                f"(...)), got datamodule={type(data).__name__}"
            )
        self._ranks = ranks_of(trainer)
        _check_one_copy_each(trainer)
        self._agree("pool", f"{data.pool.fingerprint} ({len(data.pool)} prompts)")
        chosen = getattr(pl_module, "filter", None)
        state = SelectionState(data, chosen if isinstance(chosen, Filter) else None)
        if state.filter is not None and data.loader.ledger is not None:
            raise ArgumentError(
                "max_staleness: expected 0 beside a filter, which decides within the step, got "
                f"{data.loader.ledger.max_staleness}"
            )
        self._state = state
        # Lightning restores the model before the callbacks; only the module's own hook comes first.
        own_hook = pl_module.on_load_checkpoint

        def check_first(checkpoint: dict[str, Any]) -> None:
            state.check(checkpoint.get("callbacks", {}).get(self.state_key))
            own_hook(checkpoint)

        pl_module.on_load_checkpoint = check_first

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give the module its own hook back."""
        _unwrap(pl_module)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the history beyond the checkpoint: those steps will be trained again."""
        self._history = None
        self._unseen_step = None
        if is_rehearsal(trainer):
            return
        if self._ranks.size > 1:
            self._agree("strategy and beliefs", self._fitted.digest())
        step = self._fitted.loader.drawn
        for logger in trainer.loggers:
            if isinstance(logger, MetricsFile):
                logger.start_training(resumed=step > 0)
        if self.history_every and trainer.loggers:
            folder = trainer.log_dir  # asked of all processes at once
            if trainer.is_global_zero:
                self._history = RunHistory(Path(folder or trainer.default_root_dir))
                self._history.rewind(step)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: PromptBatch, batch_idx: int
    ) -> None:
        """Start the step's clock."""
        self._step_started = perf_counter()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: PromptBatch,
        batch_idx: int,
    ) -> None:
        """Observe, record and, if it is time, log one step."""
        loader = self._fitted.loader
        learned: dict[str, float] = {}
        if is_rehearsal(trainer):
            known = loader.ledger is None
            groups = rolled_out(outputs, batch, loader.pool) if known else []
        else:
            groups, versions = arrived(outputs, batch, loader)
            learned = self._waited(versions)
        parts = [(rewards, (rewards >= self.success_threshold).sum(dim=1)) for _, rewards in groups]
        if groups and not is_rehearsal(trainer):
            indices = torch.cat([indices for indices, _ in groups])
            successes = torch.cat([successes for _, successes in parts])
            rollouts = torch.cat([torch.full_like(s, rewards.shape[1]) for rewards, s in parts])
            learned |= self._observe(batch["draw"], indices, successes, rollouts)
            self._rollouts += int(rollouts.sum())
        draw = batch["draw"]
        seconds = perf_counter() - self._step_started + 1e-3 * draw.milliseconds
        self._seconds += seconds
        if not will_log(trainer):
            return
        metrics = mean_metrics(parts) | draw.metrics | learned
        metrics |= {
            "selection_ms": draw.milliseconds,
            "step_ms": 1e3 * seconds,
            "train_seconds": self._seconds,
            "rollouts_generated": float(self._rollouts),
        }
        shown = {n: metrics.pop(n) for n in ("reward_mean", "frac_mixed") if n in metrics}
        pl_module.log_dict(shown, prog_bar=True, batch_size=len(batch["prompts"]))
        pl_module.log_dict(metrics, batch_size=len(batch["prompts"]))

    def _waited(self, versions: Tensor) -> dict[str, float]:
        """How old the beliefs were on which the groups rest that came in, and what is still out."""
        ledger = self._fitted.loader.ledger
        if ledger is None:
            return {}
        metrics = {
            "groups_out": float(len(ledger)),
            "groups_incomplete": float(ledger.incomplete),
            "rollouts_duplicate": float(ledger.duplicates),
        }
        if len(versions):
            staleness = (self._fitted.loader.observed - versions).float()
            metrics["staleness_mean"] = float(staleness.mean())
            metrics["staleness_max"] = float(staleness.max())
        return metrics

    def _observe(
        self, draw: Draw, indices: Tensor, successes: Tensor, rollouts: Tensor
    ) -> dict[str, float]:
        loader, selector, step = self._fitted.loader, self._fitted.selector, draw.step
        metrics = {"selection_lag": float(loader.observed - draw.observed)}
        predicted = torch.full(successes.shape, torch.nan)
        if isinstance(selector, BeliefSelector):
            predicted, observed = selector.predict(indices), successes / rollouts
            metrics["calibration"] = float((predicted - observed).abs().mean())
            metrics["success_predicted"] = float(predicted.mean())
            metrics["success_observed"] = float(observed.mean())
        started = perf_counter()
        loader.observe(indices, successes, rollouts)
        metrics["observation_ms"] = 1e3 * (perf_counter() - started)

        if self._history is not None:
            prompts = [loader.pool[i] for i in indices.tolist()]
            self._history.add_groups(step, prompts, indices, successes, rollouts, predicted)
            self._unseen_step = step
            if step % self.history_every == 0:
                self._look(step)
                self._history.flush()
        return metrics

    def _look(self, step: int) -> None:
        """Record the beliefs after this step."""
        selector = self._fitted.selector
        if self._history is not None and isinstance(selector, BeliefSelector):
            self._history.add_beliefs(step, selector.posterior)
        self._unseen_step = None

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """A resumed run repeats no step before the checkpoint, so their history must be on disk.

        Raises:
            ArgumentError: the beliefs of the processes differ; the checkpoint is not written.
        """
        if self._ranks.size > 1 and self._state is not None:
            self._agree("strategy and beliefs", self._state.digest())
        self._flush()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the beliefs once more, and write the rest of the history."""
        if self._unseen_step is not None:
            self._look(self._unseen_step)
        self._flush()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Write the rest of the history; Lightning calls no `teardown` now."""
        _unwrap(pl_module)
        self._flush()

    def _agree(self, name: str, own: str) -> None:
        """ArgumentError on every process unless all have the same."""
        everyone = self._ranks.gathered(own)
        if len(set(everyone)) > 1:
            listed = "; ".join(f"rank {rank}: {each}" for rank, each in enumerate(everyone))
            raise ArgumentError(
                f"{name}: expected the same on all {self._ranks.size} processes, got {listed}; "
                "give each of them the same files and settings"
            )

    def _flush(self) -> None:
        if self._history is not None:
            self._history.flush()

    def state_dict(self) -> dict[str, Any]:
        """The selection's state (`SelectionState`), and the run's totals."""
        if self._state is None:
            return {}
        totals = {"rollouts_generated": self._rollouts, "train_seconds": self._seconds}
        return self._state.save() | totals

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` saved, if this is a resumed training."""
        if self._state is None:
            return
        self._state.load(state)
        self._rollouts = state["rollouts_generated"]
        self._seconds = state["train_seconds"]

    @property
    def _fitted(self) -> SelectionState:
        assert self._state is not None, "Lightning calls setup before any other hook"
        return self._state


def _unwrap(pl_module: LightningModule) -> None:
    """Take away the hook that `setup` put before the module's own."""
    vars(pl_module).pop("on_load_checkpoint", None)


def _check_one_copy_each(trainer: Trainer) -> None:
    """ArgumentError where several processes share a copy of the model, and so want one batch."""
    kwargs = getattr(trainer.strategy, "distributed_sampler_kwargs", None) or {}
    copies = kwargs.get("num_replicas", trainer.world_size)
    if copies != trainer.world_size:
        raise ArgumentError(
            f"PromptSelectionCallback: expected a batch for each of {trainer.world_size} "
            f"processes, got a strategy with {copies} copies of the model; set "
            "tensor_parallel_size=1"
        )


def will_log(trainer: Trainer) -> bool:
    """Whether the loggers take in the present training batch.

    `LightningModule.log` costs a large part of a millisecond for each metric, also on the steps
    that the trainer then does not pass on to its loggers.
    """
    every = trainer.log_every_n_steps
    if trainer.accumulate_grad_batches > 1:
        return every > 0  # Lightning counts optimiser steps then, and offers no count of them
    return every > 0 and (trainer.fit_loop.total_batch_idx + 1) % every == 0
