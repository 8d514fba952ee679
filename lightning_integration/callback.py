"""The callback that turns a training step's rewards into beliefs, metrics and history."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from insight_ext import ArgumentError, CheckpointError, ObservationError
from insight_ext.proposers import BeliefProposer
from lightning_integration.datamodule import PromptBatch, PromptDataModule, is_rehearsal
from lightning_integration.history import MetricsFile, RunHistory
from lightning_integration.pl import Callback, LightningModule, Trainer

FORMAT = 1


class PromptSelectionCallback(Callback):
    """Closes the loop between a training step and the next selection.

    After every training batch it reads `rewards` from what `training_step` returned, counts the
    rollouts that reach `success_threshold` as successes, hands them to the data module's proposer,
    and logs. It saves the proposer's state in checkpoints; a run resumed from one selects what the
    uninterrupted run would have selected.

    Train with `PromptDataModule`. `training_step` returns a dict with

    * `rewards`: float tensor of shape (B, K), K rollouts for each of the batch's B prompts in the
      batch's order, finite;
    * `loss`, if the optimisation is automatic.

    Nothing is learned in `fast_dev_run` and `overfit_batches`.

    Args:
        success_threshold: the smallest reward of a success. Graded rewards are made binary for the
            beliefs by it; the policy's advantages are not touched.
        history_every: steps between two looks at the beliefs of the whole pool, and between two
            writes of `groups.parquet` and `beliefs.parquet` into the first logger's folder; 0
            writes no history. A checkpoint writes them too.

    Raises:
        ArgumentError: an argument outside its domain, another data module, several processes.
        ObservationError: no rewards, of the wrong shape, or not finite; no belief was changed.
        CheckpointError: a checkpoint of another pool, of another format, or without beliefs;
            model, beliefs and run folder are as before.

    Example:
        >>> callback = PromptSelectionCallback(success_threshold=0.5)
    """

    def __init__(self, success_threshold: float = 1.0, history_every: int = 50) -> None:
        super().__init__()
        if history_every < 0:
            raise ArgumentError(f"history_every: expected 0 or more, got {history_every}")
        self.success_threshold = success_threshold
        self.history_every = history_every
        self._data: PromptDataModule | None = None
        self._history: RunHistory | None = None
        self._rollouts = 0
        self._seconds = 0.0
        self._step_started = 0.0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the proposer; see to it that a wrong checkpoint is refused before it is used."""
        if stage != "fit":
            self._data = None
            return
        data = getattr(trainer, "datamodule", None)
        if not isinstance(data, PromptDataModule):
            raise ArgumentError(
                "PromptSelectionCallback: expected trainer.fit(..., datamodule=PromptDataModule"
                f"(...)), got datamodule={type(data).__name__}"
            )
        if trainer.world_size > 1:
            raise ArgumentError(
                "PromptSelectionCallback: expected one process, got "
                f"{trainer.world_size}; set Trainer(devices=1, num_nodes=1)"
            )
        self._data = data
        # Lightning restores the model before the callbacks; only the module's own hook comes first.
        own_hook = pl_module.on_load_checkpoint

        def check_first(checkpoint: dict[str, Any]) -> None:
            self._check(checkpoint.get("callbacks", {}).get(self.state_key))
            own_hook(checkpoint)

        pl_module.on_load_checkpoint = check_first

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give the module its own hook back."""
        vars(pl_module).pop("on_load_checkpoint", None)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the history beyond the checkpoint: those steps will be trained again."""
        self._history = None
        if is_rehearsal(trainer):
            return
        step = self._fitted.loader.drawn
        for logger in trainer.loggers:
            if isinstance(logger, MetricsFile):
                logger.start_training(resumed=step > 0)
        if self.history_every and trainer.loggers:
            self._history = RunHistory(Path(trainer.log_dir or trainer.default_root_dir))
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
        rewards = _rewards(outputs, batch)
        successes = (rewards >= self.success_threshold).sum(dim=1)
        learned: dict[str, float] = {}
        if not is_rehearsal(trainer):
            learned = self._observe(batch, successes, torch.full_like(successes, rewards.shape[1]))
            self._rollouts += rewards.numel()
        draw = batch["draw"]
        seconds = perf_counter() - self._step_started + 1e-3 * draw.milliseconds
        self._seconds += seconds
        if not will_log(trainer):
            return
        metrics = group_metrics(rewards, successes) | draw.metrics | learned
        metrics |= {
            "selection_ms": draw.milliseconds,
            "step_ms": 1e3 * seconds,
            "train_seconds": self._seconds,
            "rollouts_generated": float(self._rollouts),
        }
        shown = {name: metrics.pop(name) for name in ("reward_mean", "frac_mixed")}
        pl_module.log_dict(shown, prog_bar=True, batch_size=len(rewards))
        pl_module.log_dict(metrics, batch_size=len(rewards))

    def _observe(self, batch: PromptBatch, successes: Tensor, rollouts: Tensor) -> dict[str, float]:
        loader, proposer = self._fitted.loader, self._fitted.proposer
        indices, step = batch["indices"].cpu(), batch["draw"].step
        metrics = {"selection_lag": float(loader.observed - batch["draw"].observed)}
        predicted = torch.full(successes.shape, torch.nan)
        if isinstance(proposer, BeliefProposer):
            predicted, observed = proposer.predict(indices), successes / rollouts
            metrics["calibration"] = float((predicted - observed).abs().mean())
            metrics["success_predicted"] = float(predicted.mean())
            metrics["success_observed"] = float(observed.mean())
        started = perf_counter()
        loader.observe(indices, successes, rollouts)
        metrics["observation_ms"] = 1e3 * (perf_counter() - started)

        if self._history is not None:
            self._history.add_groups(
                step, batch["prompts"], indices, successes, rollouts, predicted
            )
            if step % self.history_every == 0:
                if isinstance(proposer, BeliefProposer):
                    self._history.add_beliefs(step, proposer.posterior)
                self._history.flush()
        return metrics

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """A resumed run repeats no step before the checkpoint, so their history must be on disk."""
        self._flush()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the rest of the history."""
        self._flush()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Write the rest of the history."""
        self._flush()

    def _flush(self) -> None:
        if self._history is not None:
            self._history.flush()

    def state_dict(self) -> dict[str, Any]:
        """The proposer's state, the pool that it belongs to, the position, the run's totals."""
        if self._data is None:
            return {}
        return {
            "format": FORMAT,
            "pool": self._data.pool.fingerprint,
            "proposer": self._data.proposer.state_dict(),
            "loader": self._data.loader.state_dict(),
            "rollouts_generated": self._rollouts,
            "train_seconds": self._seconds,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` saved, if this is a resumed training."""
        if self._data is None:
            return
        self._data.proposer.load_state_dict(state["proposer"])
        # Lightning restores the loader too, but not if a data module wraps it.
        self._data.loader.load_state_dict(state["loader"])
        self._rollouts = state["rollouts_generated"]
        self._seconds = state["train_seconds"]

    def _check(self, state: Mapping[str, Any] | None) -> None:
        if not state:
            raise CheckpointError(
                "the checkpoint holds no beliefs: expected one written with "
                "PromptSelectionCallback; to start from its weights alone, load them into the "
                "model and fit without ckpt_path"
            )
        if state["format"] != FORMAT:
            raise CheckpointError(
                f"the checkpoint's beliefs have format {state['format']}: expected {FORMAT}; "
                "resume with the version that wrote it"
            )
        if state["pool"] != self._fitted.pool.fingerprint:
            raise CheckpointError(
                "the checkpoint belongs to another pool: expected fingerprint "
                f"{self._fitted.pool.fingerprint}, the checkpoint has {state['pool']}; "
                "resume with the prompts of the run that wrote it"
            )
        deepcopy(self._fitted.proposer).load_state_dict(state["proposer"])

    @property
    def _fitted(self) -> PromptDataModule:
        assert self._data is not None, "Lightning calls setup before any other hook"
        return self._data


def will_log(trainer: Trainer) -> bool:
    """Whether the loggers take in the present training batch.

    `LightningModule.log` costs a large part of a millisecond for each metric, also on the steps
    that the trainer then does not pass on to its loggers.
    """
    every = trainer.log_every_n_steps
    if trainer.accumulate_grad_batches > 1:
        return every > 0  # Lightning counts optimiser steps then, and offers no count of them
    return every > 0 and (trainer.fit_loop.total_batch_idx + 1) % every == 0


def group_metrics(rewards: Tensor, successes: Tensor) -> dict[str, float]:
    """What one batch of groups looks like.

    Args:
        rewards: (B, K), the raw rewards.
        successes: (B,), how many of a group's rewards count as a success.

    Returns:
        Shares of groups in [0, 1] and the mean reward. A group without reward spread gives no
        gradient; with graded rewards that is not the same as all solved or all failed.

    Example:
        >>> rewards = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
        >>> group_metrics(rewards, torch.tensor([1, 2]))["frac_mixed"]
        0.5
    """
    solved, failed = successes == rewards.shape[1], successes == 0
    flat = (rewards == rewards[:, :1]).all(dim=1)
    shares = {
        "frac_all_solved": solved,
        "frac_all_failed": failed,
        "frac_mixed": ~(solved | failed),
        "frac_reward_zero_std": flat,
    }
    metrics = {name: float(groups.float().mean()) for name, groups in shares.items()}
    return metrics | {"reward_mean": float(rewards.mean())}


def _rewards(outputs: Any, batch: PromptBatch) -> Tensor:
    prompts = len(batch["prompts"])
    outputs = outputs if isinstance(outputs, Mapping) else {}
    rewards = outputs.get("rewards")
    fits = isinstance(rewards, Tensor) and rewards.ndim == 2 and rewards.shape[0] == prompts
    if not fits or not rewards.numel():
        got = f"the keys {sorted(outputs)}"
        if "rewards" in outputs:
            shape = f" of shape {tuple(rewards.shape)}" if isinstance(rewards, Tensor) else ""
            got = f"'rewards', a {type(rewards).__name__}{shape}"
        raise ObservationError(
            "expected training_step to return a dict with 'rewards', a float tensor of shape "
            f"({prompts}, K): K rollouts for each prompt, in the batch's order (and 'loss', if the "
            f"optimisation is automatic); got {got}; no belief was changed"
        )
    rewards = rewards.detach().float().cpu()
    bad = (~torch.isfinite(rewards)).nonzero()
    if len(bad):
        row, column = bad[0].tolist()
        raise ObservationError(
            f"rewards[{row}, {column}], prompt {batch['prompts'][row].id!r}: expected a finite "
            f"number, got {float(rewards[row, column])}; no belief was changed"
        )
    return rewards
