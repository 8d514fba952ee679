"""Group relative policy optimisation (GRPO) as a Lightning module."""

from __future__ import annotations

import math
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import Parameter
from transformers import PreTrainedModel, PreTrainedTokenizerBase, get_scheduler

from insight_ext import ArgumentError, ObservationError
from insight_ext.plugins import check_above_0, check_at_least, whole
from insight_ext.runs.layout import Metric, logged
from lightning_integration.checkpoint import check_weights
from lightning_integration.export import MODEL_FILES, model_files
from lightning_integration.grpo.loss import (
    clipped_policy_loss,
    completion_logprobs,
    group_advantages,
    kl_to_reference,
)
from lightning_integration.grpo.rollout_module import RolloutModule
from lightning_integration.loaders import PromptBatch
from lightning_integration.rollouts import RolloutEngine, Rollouts
from lightning_integration.trainer import DDPStrategy, ranks_of, will_log


class GRPOModule(RolloutModule):
    """A reference trainer: GRPO, to read, to test against and to start from.

    It is not made for models whose weights need more than one GPU, for the last per cent of speed,
    for tools and several turns, or for every variant of the algorithm: for those take TRL, verl or
    the like, in which prompts are chosen as well (docs/trainers.md).

    It trains a causal language model on the prompts that `PromptDataModule` deals. A step draws
    `rollouts` completions a prompt, rewards them, and makes `updates_per_batch` gradient steps on
    them. It returns `rewards`, from which `PromptSelectionCallback` learns.
    A filter trains on some of the groups only and may roll out more; the step then returns
    `results`, all that were rolled out, so that beliefs, history and costs miss none.
    Without a reference policy, groups whose rewards are all equal have gradient zero, and are left
    out of the backward pass; the loss still counts their tokens in its mean.

    Args:
        model, tokenizer, engine: see `RolloutModule`.
        learning_rate, betas, weight_decay: of AdamW.
        schedule: of the learning rate after `warmup` gradient steps in which it rises: "constant",
            "linear" or "cosine" down to 0 at the end of the run.
        gradient_checkpointing: compute activations again in the backward pass, which saves memory;
            needs `share_prompts` off.
        updates_per_batch: gradient steps on each batch of rollouts.
        groups_per_pass: prompts whose rollouts share one forward and backward pass; bounds memory.
        old_logprobs: importance ratios compare the updated policy with the log-probabilities that
            the "engine" reported, or with those "recomputed" by the model before the first update,
            which costs a forward pass and leaves the engine's rounding out of the ratios.
        clip_low, clip_high: the probability ratio counts from 1 - clip_low, in (0, 1], to
            1 + clip_high, more than 0.
        standardize: divide advantages by the group's standard deviation.
        loss_mean: the loss is a mean over "tokens", or a sum over them divided by what there would
            be if all answers were "longest" (max_new_tokens): then long answers weigh no less, as
            in Dr. GRPO (arXiv 2503.20783), which goes with `standardize` off.
        mask_truncated: leave answers that ran out of room out of the gradient (DAPO, arXiv
            2503.14476, overlong filtering); their rewards count in their group's mean.
        importance_cap: largest weight of a token for how much likelier it is under the model than
            under the engine, more than 0 (truncated importance sampling); None gives none. Needs
            old_logprobs "recomputed".
        kl_coefficient: weight of the KL divergence to the initial policy; 0 keeps no copy of it.
        gradient_clip: largest gradient norm, more than 0; `.inf` (in YAML) for any.
        rolling: of the rollouts, their rewards and the validation, see `RolloutModule`.

    Logs `loss`, `gradient_norm`, `clip_fraction`, `completion_length`, `frac_truncated`, and of
    several rewards the mean of each as `reward/NAME`.
    `sync_ms`, `check_ms` and `logprob_difference` are what the engine says of taking over the
    weights, `rollout_logprob_difference` (nats, a mean over tokens) how far the engine's
    log-probabilities are from the recomputed ones.
    With a filter also what it reports (docs/metrics.md).

    Raises:
        ArgumentError: an argument outside its domain, or a folder that cannot be loaded.

    Examples:
        >>> from lightning_integration.demo.model import make_model, make_tokenizer
        >>> tokenizer = make_tokenizer("0123456789+=")
        >>> module = GRPOModule(make_model(tokenizer, layers=1), tokenizer, max_new_tokens=4)
        >>> module.rollouts, module.temperature
        (8, 1.0)
    """

    def __init__(
        self,
        model: str | Path | PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase | None = None,
        engine: RolloutEngine | str | None = None,
        *,
        learning_rate: float = 1e-6,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        schedule: Literal["constant", "linear", "cosine"] = "constant",
        warmup: int = 0,
        gradient_checkpointing: bool = False,
        updates_per_batch: int = 1,
        groups_per_pass: int = 8,
        old_logprobs: Literal["engine", "recomputed"] = "engine",
        clip_low: float = 0.2,
        clip_high: float = 0.28,
        standardize: bool = True,
        loss_mean: Literal["tokens", "longest"] = "tokens",
        mask_truncated: bool = False,
        importance_cap: float | None = None,
        kl_coefficient: float = 0.0,
        gradient_clip: float = 1.0,
        **rolling: Any,
    ) -> None:
        updates_per_batch = whole("updates_per_batch", updates_per_batch, 1)
        groups_per_pass = whole("groups_per_pass", groups_per_pass, 1)
        warmup = whole("warmup", warmup, 0)
        check_at_least(0, kl_coefficient=kl_coefficient, learning_rate=learning_rate)
        check_at_least(0, weight_decay=weight_decay)
        if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
            raise ArgumentError(f"betas: expected two numbers in [0, 1), got {betas}")
        check_above_0(gradient_clip=gradient_clip, clip_low=clip_low, clip_high=clip_high)
        if clip_low > 1:
            # A ratio of probabilities is never negative.
            raise ArgumentError(f"clip_low: expected at most 1, got {clip_low}")
        for name, choice, choices in (
            ("old_logprobs", old_logprobs, ("engine", "recomputed")),
            ("schedule", schedule, ("constant", "linear", "cosine")),
            ("loss_mean", loss_mean, ("tokens", "longest")),
        ):
            if choice not in choices:
                raise ArgumentError(f"{name}: expected {' or '.join(choices)}, got {choice!r}")
        if importance_cap is not None and not (importance_cap > 0 and old_logprobs == "recomputed"):
            raise ArgumentError(
                "importance_cap: expected more than 0 and old_logprobs recomputed, got "
                f"{importance_cap} and {old_logprobs}"
            )
        if gradient_checkpointing and rolling.get("share_prompts", True):
            raise ArgumentError(
                "gradient_checkpointing: expected share_prompts false, which needs a cache that "
                "checkpointing does not keep"
            )
        super().__init__(model, tokenizer, engine, **rolling)
        if gradient_checkpointing:
            self.model.gradient_checkpointing_enable({"use_reentrant": False})
        self.automatic_optimization = False
        self.learning_rate, self.betas, self.weight_decay = learning_rate, betas, weight_decay
        self.schedule, self.warmup = schedule, warmup
        self.updates_per_batch, self.groups_per_pass = updates_per_batch, groups_per_pass
        self.old_logprobs, self.importance_cap = old_logprobs, importance_cap
        self.clip_low, self.clip_high = clip_low, clip_high
        self.standardize = standardize
        self.loss_mean, self.mask_truncated = loss_mean, mask_truncated
        self.kl_coefficient = kl_coefficient
        self.gradient_clip = gradient_clip
        self.reference = None
        if kl_coefficient:
            self.reference = deepcopy(self.model).requires_grad_(False).eval()
        self._files: dict[str, Tensor] = {}

    def setup(self, stage: str) -> None:
        """Refuse a strategy that splits the model.

        Raises:
            ArgumentError: several processes without DDP.
        """
        super().setup(stage)
        strategy = self.trainer.strategy
        if self.trainer.world_size > 1 and not isinstance(strategy, DDPStrategy):
            raise ArgumentError(
                "GRPOModule: expected one process or strategy=ddp, got "
                f"{type(strategy).__name__}; docs/production.md tells how to train a model that "
                "does not fit into one GPU"
            )

    def configure_optimizers(self) -> Any:
        """AdamW over the policy's trainable parameters, and the schedule of its learning rate."""
        optimizer = torch.optim.AdamW(
            self._trainable(),
            self.learning_rate,
            betas=tuple(self.betas),
            weight_decay=self.weight_decay,
        )
        if self.schedule == "constant" and not self.warmup:
            return optimizer
        batches = self.trainer.estimated_stepping_batches
        if not (self.schedule == "constant" or math.isfinite(batches)):
            raise ArgumentError(
                f"schedule: expected a run of known length for {self.schedule}, got none; set "
                "max_epochs"
            )
        name = "constant_with_warmup" if self.schedule == "constant" else self.schedule
        steps = int(batches) * self.updates_per_batch if math.isfinite(batches) else None
        return [optimizer], [get_scheduler(name, optimizer, self.warmup, steps)]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add configuration and tokenizer, so that the checkpoint alone can be exported."""
        if not self._files:
            self._files = model_files(self.model, self.tokenizer)
        checkpoint[MODEL_FILES] = self._files

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """CheckpointError where it holds another model, such as one with adapters."""
        check_weights(self, checkpoint)

    def _trainable(self) -> list[Parameter]:
        """Frozen parameters take no part in a step: not even weight decay may move them."""
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def training_step(self, batch: PromptBatch, batch_idx: int) -> dict[str, Any]:
        """Roll out, reward, update.

        Returns:
            The last `loss`, `rewards` of shape (B, K) by the outcome, the `completions`, their
            `perplexity` and, where the filter or the log of answers needs it, their `entropy`; with
            a filter `results` instead, see `collect`. A reward is NaN where an answer could not be
            scored: it is in no gradient.
        """
        rollouts, scores, outputs, metrics = self.roll_out(batch)
        rewards = self.rewards.total(scores)
        advantages = group_advantages(rewards, self.standardize)
        metrics[logged(Metric.WASTED_TOKENS)] = wasted_tokens(rollouts, advantages)
        scored = ~rewards.flatten().isnan().to(rollouts.completion_mask.device)
        if self.mask_truncated:
            stopped = [reason != "length" for reason in rollouts.stop_reasons]
            kept = torch.tensor(stopped, dtype=torch.bool, device=advantages.device)
            advantages = advantages * kept.view_as(advantages)
            scored &= kept.to(scored.device)
        rollouts = replace(rollouts, completion_mask=rollouts.completion_mask & scored[:, None])
        self.rest()
        weights = torch.ones_like(rollouts.logprobs)
        if self.old_logprobs == "recomputed":
            of_engine = rollouts.logprobs
            rollouts, of_rollouts = self._recomputed(rollouts)
            metrics |= of_rollouts
            if self.importance_cap is not None:
                weights = (rollouts.logprobs - of_engine).exp().clamp(max=self.importance_cap)
        for _ in range(self.updates_per_batch):
            loss, of_update = self._update(rollouts, advantages, weights)
            if self.trainer.lr_scheduler_configs:
                self.lr_schedulers().step()
        metrics |= self.sync()
        if will_log(self.trainer):
            values = {"loss": loss, **of_update, **metrics}
            several = self.trainer.world_size > 1
            self.log_dict(values, batch_size=len(batch["prompts"]), sync_dist=several)
        return {"loss": loss, **outputs}

    @torch.no_grad()
    def _recomputed(self, rollouts: Rollouts) -> tuple[Rollouts, dict[str, Tensor]]:
        """The rollouts with the model's own log-probabilities; how far off the engine's were."""
        rows = torch.arange(len(rollouts), device=rollouts.logprobs.device)
        mask = rollouts.completion_mask
        parts = [
            completion_logprobs(
                self.model,
                rollouts.prompt_ids[part],
                rollouts.prompt_mask[part],
                rollouts.completion_ids[part],
                mask[part],
                self.temperature,
                self.rollouts if self.share_prompts else 1,
            )
            for part in (rows.split(self.groups_per_pass * self.rollouts) if len(rows) else ())
        ]
        logprobs = torch.cat([rollouts.logprobs[:0], *parts]) * mask
        difference = (logprobs - rollouts.logprobs).abs().sum() / mask.sum().clamp(min=1)
        return replace(rollouts, logprobs=logprobs), {"rollout_logprob_difference": difference}

    def _update(
        self, rollouts: Rollouts, advantages: Tensor, weights: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """One gradient step; returns the loss, see `loss_mean`, and what to log.

        `advantages` has shape (B, K), `weights`, of the tokens, (B * K, T). Tokens, loss and
        gradient are those of all processes.
        """
        optimizer = self.optimizers()
        optimizer.zero_grad()
        ranks = ranks_of(self.trainer)
        tokens = rollouts.completion_mask.sum()
        whole = torch.tensor(len(rollouts) * self.max_new_tokens, device=tokens.device)
        ranks.sum_([tokens, whole])
        over = tokens if self.loss_mean == "tokens" else whole
        rows = torch.arange(advantages.numel(), device=advantages.device).view_as(advantages)
        if self.reference is None:
            rows = rows[(advantages != 0).any(dim=1)]
        loss = torch.zeros((), device=advantages.device)
        clipped = torch.zeros((), device=advantages.device)
        # The number of passes differs between processes, so none may wait for another within them.
        with self.trainer.strategy.block_backward_sync() if ranks.size > 1 else nullcontext():
            for part in rows.split(self.groups_per_pass) if len(rows) else ():
                part_loss, part_clipped = self._loss(
                    rollouts, advantages.flatten(), weights, part.flatten()
                )
                self.manual_backward(part_loss / over)
                loss += part_loss.detach() / over
                clipped += part_clipped / tokens
        parameters = self._trainable()
        for parameter in parameters:
            # A batch without any signal is a step with gradient zero, not a skipped step.
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        ranks.sum_([loss, clipped, *(parameter.grad for parameter in parameters)])
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.gradient_clip)
        # With scaled gradients (16-mixed) infinite ones are expected, and their step is skipped.
        is_scaled = getattr(self.trainer.precision_plugin, "scaler", None) is not None
        if not (loss.isfinite() and (is_scaled or norm.isfinite())):
            raise ObservationError(
                f"GRPOModule: expected a finite loss and gradient, got {loss:g} and one of norm "
                f"{norm:g}, from advantages of {advantages.min():g} to {advantages.max():g}; no "
                "weight was changed; scale the rewards down, or look for the token that is to blame"
            )
        optimizer.step()
        return loss, {"gradient_norm": norm, "clip_fraction": clipped}

    def _loss(
        self, rollouts: Rollouts, advantages: Tensor, weights: Tensor, rows: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Summed over the tokens of these completions: the loss, and how many were clipped."""
        mask = rollouts.completion_mask[rows]
        length = max(int(mask.sum(dim=1).max()), 1)
        mask = mask[:, :length]
        texts = (
            rollouts.prompt_ids[rows],
            rollouts.prompt_mask[rows],
            rollouts.completion_ids[rows, :length],
            mask,
        )
        old = rollouts.logprobs[rows, :length]
        samples = self.rollouts if self.share_prompts else 1
        logprobs = completion_logprobs(self.model, *texts, self.temperature, samples)
        loss = clipped_policy_loss(
            logprobs, old, advantages[rows, None], self.clip_low, self.clip_high
        )
        loss = loss * weights[rows, :length]
        ratio = (logprobs.detach() - old).exp()
        outside = (ratio < 1 - self.clip_low) | (ratio > 1 + self.clip_high)
        if self.reference is not None:
            with torch.no_grad():
                reference = completion_logprobs(self.reference, *texts, self.temperature, samples)
            loss = loss + self.kl_coefficient * kl_to_reference(logprobs, reference)
        return (loss * mask).sum(), (outside & mask).sum()


def wasted_tokens(rollouts: Rollouts, advantages: Tensor) -> Tensor:
    """Tokens of the groups without a gradient; `advantages` has shape (B, K)."""
    lengths = rollouts.completion_mask.sum(dim=1).to(advantages.device).view_as(advantages)
    return lengths[(advantages == 0).all(dim=1)].sum().float()
