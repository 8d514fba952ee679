"""Group relative policy optimisation (GRPO) as a Lightning module."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import Parameter
from transformers import PreTrainedModel, PreTrainedTokenizerBase, get_scheduler

from insight_ext import ArgumentError, ObservationError, Prompt, SelectionLoop
from insight_ext.beliefs.group import Threshold, check_threshold, is_success
from insight_ext.filters import Filter, given_filter
from insight_ext.plugins import need, whole
from insight_ext.runs.layout import Metric, logged
from lightning_integration.demo.model import load_model
from lightning_integration.export import MODEL_FILES, model_files
from lightning_integration.grpo.filtering import (
    check_filter,
    collect,
    length_metrics,
    tells_entropy,
    uncertainties,
)
from lightning_integration.grpo.loss import (
    clipped_policy_loss,
    completion_logprobs,
    group_advantages,
    kl_to_reference,
)
from lightning_integration.grpo.reward_sum import RewardSum
from lightning_integration.grpo.rewards import Reward
from lightning_integration.loaders import PromptBatch, prompt_loader
from lightning_integration.rollouts import (
    Asked,
    RolloutEngine,
    Rollouts,
    Sampling,
    VLLMServer,
    check_rollouts,
    find_engine,
    make_engine,
)
from lightning_integration.rollouts.engine import no_rollouts
from lightning_integration.trainer import (
    DDPStrategy,
    LightningModule,
    is_rehearsal,
    ranks_of,
    will_log,
)


class GRPOModule(LightningModule):
    """A reference trainer: GRPO in one file, to read, to test against and to start from.

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
        model: a Hugging Face model folder, or a model (then give its tokenizer).
        tokenizer: of a model given as an object.
        engine: draws the rollouts: a name in `rollouts.ENGINES` ("vllm", "vllm_server"), an import
            path, or an engine; the model itself, by transformers, if None.
        engine_options: the engine's settings, where `engine` is a name.
        old_logprobs: importance ratios compare the updated policy with the log-probabilities that
            the "engine" reported, or with those "recomputed" by the model before the first update,
            which costs a forward pass and leaves the engine's rounding out of the ratios.
        reward: a name in `rewards.REWARDS`, an import path (`package.module:function`), or a
            function of prompt and completion; or several of these, whose sum is trained on.
        reward_weights: of each reward in the sum; 1 if None.
        outcome: the reward that says whether an answer is correct, and so what beliefs, filters and
            validation count: as it stands in `reward`, or its function's name. Needed where there
            are several.
        rollouts: completions of each prompt, at least 2.
        max_new_tokens, temperature: of the rollouts; at least 1, and more than 0.
        learning_rate, betas, weight_decay: of AdamW.
        schedule: of the learning rate after `warmup` gradient steps in which it rises: "constant",
            "linear" or "cosine" down to 0 at the end of the run.
        lora: train adapters only, by the settings of `peft.LoraConfig`, such as `{"r": 16}`; extra
            `lora`. An export has them merged.
        gradient_checkpointing: compute activations again in the backward pass, which saves memory;
            needs `share_prompts` off.
        updates_per_batch: gradient steps on each batch of rollouts.
        groups_per_pass: prompts whose rollouts share one forward and backward pass; bounds memory.
        share_prompts: read each prompt once for all its rollouts, in drawing and in the update;
            turn it off for models whose cache cannot be repeated, or under gradient checkpointing.
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
        success_threshold: smallest reward that counts as solved in validation; "auto" takes that
            of the training so far.
        validation_temperature: 0 is greedy.
        seed: of the rollouts; that of step i depends on seed and i alone, so that a resumed run
            draws what the uninterrupted one would have.
        filter: chooses among the finished groups those to train on: a name in
            `insight_ext.filters.FILTERS`, a `Filter`, or None for all of them. The callback keeps
            its state in checkpoints. A step whose groups are all filtered out has gradient zero.
        filter_options: the filter's settings, where `filter` is a name.
        reward_workers, reward_seconds: see `rewards.score_completions`.
        max_failed: share of the latest 1,000 completions on which the reward may fail.

    Logs `loss`, `gradient_norm`, `clip_fraction`, `completion_length`, `frac_truncated`, of several
    rewards the mean of each as `reward/NAME`, and in
    validation `val_accuracy` over all held-out prompts and `val_accuracy/KIND` by `meta["kind"]`.
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
        reward: list[str | Reward] | str | Reward = "exact_match",
        rollouts: int = 8,
        max_new_tokens: int = 256,
        temperature: float = 1.0,
        learning_rate: float = 1e-6,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        updates_per_batch: int = 1,
        groups_per_pass: int = 8,
        share_prompts: bool = True,
        clip_low: float = 0.2,
        clip_high: float = 0.28,
        standardize: bool = True,
        kl_coefficient: float = 0.0,
        gradient_clip: float = 1.0,
        success_threshold: Threshold = 1.0,
        validation_temperature: float = 0.0,
        seed: int = 0,
        filter: Filter | str | None = None,
        filter_options: dict[str, Any] | None = None,
        engine_options: dict[str, Any] | None = None,
        old_logprobs: Literal["engine", "recomputed"] = "engine",
        reward_workers: int = 1,
        reward_seconds: float = 60.0,
        max_failed: float = 0.1,
        schedule: Literal["constant", "linear", "cosine"] = "constant",
        warmup: int = 0,
        lora: dict[str, Any] | None = None,
        gradient_checkpointing: bool = False,
        loss_mean: Literal["tokens", "longest"] = "tokens",
        mask_truncated: bool = False,
        importance_cap: float | None = None,
        reward_weights: list[float] | None = None,
        outcome: str | Reward | None = None,
    ) -> None:
        super().__init__()
        rollouts = whole("rollouts", rollouts, 2)
        updates_per_batch = whole("updates_per_batch", updates_per_batch, 1)
        groups_per_pass = whole("groups_per_pass", groups_per_pass, 1)
        max_new_tokens = whole("max_new_tokens", max_new_tokens, 1)
        warmup, seed = whole("warmup", warmup, 0), whole("seed", seed, 0)
        reward_workers = whole("reward_workers", reward_workers, 1)
        for name, value in (
            ("kl_coefficient", kl_coefficient),
            ("learning_rate", learning_rate),
            ("validation_temperature", validation_temperature),
            ("weight_decay", weight_decay),
        ):
            if not 0 <= value < math.inf:
                raise ArgumentError(f"{name}: expected a number of at least 0, got {value}")
        if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
            raise ArgumentError(f"betas: expected two numbers in [0, 1), got {betas}")
        for name, value in (
            ("temperature", temperature),
            ("gradient_clip", gradient_clip),
            ("clip_low", clip_low),
            ("clip_high", clip_high),
        ):
            if not value > 0:
                raise ArgumentError(f"{name}: expected more than 0 in training, got {value}")
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
        if gradient_checkpointing and share_prompts:
            raise ArgumentError(
                "gradient_checkpointing: expected share_prompts false, which needs a cache that "
                "checkpointing does not keep"
            )
        self.success_threshold = check_threshold(success_threshold)
        self.rewards = RewardSum(reward, reward_weights, outcome, max_failed)
        self.filter = given_filter(filter, filter_options)
        options = engine_options or {}
        if isinstance(engine, str):
            find_engine(engine, options)
        # What is wrong with names and numbers was said by now: from here on it takes time.
        if isinstance(model, (str, Path)):
            model, tokenizer = load_model(model)
        if tokenizer is None:
            raise ArgumentError("tokenizer: expected one beside a model that is not a folder")
        if lora is not None:
            model = with_adapters(model, lora, engine)
        if gradient_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        self.automatic_optimization = False
        self.model = model.train()
        self.tokenizer = tokenizer
        if engine in (None, "transformers"):
            engine, options = "transformers", {"share_prompts": share_prompts, **options}
        if isinstance(engine, str):
            engine = make_engine(engine, model, tokenizer, **options)
        elif options:
            raise ArgumentError("engine_options: expected none beside an engine that is an object")
        self.engine = engine
        self.old_logprobs = old_logprobs
        self._synced = False
        self._files: dict[str, Tensor] = {}
        self.reward_workers, self.reward_seconds = reward_workers, reward_seconds
        self.rollouts = rollouts
        self.max_new_tokens = max_new_tokens
        self.temperature = temperature
        self.learning_rate = learning_rate
        self.betas = betas
        self.weight_decay = weight_decay
        self.updates_per_batch = updates_per_batch
        self.groups_per_pass = groups_per_pass
        self.share_prompts = share_prompts
        self.schedule, self.warmup = schedule, warmup
        self.loss_mean, self.mask_truncated = loss_mean, mask_truncated
        self.importance_cap = importance_cap
        self.clip_low = clip_low
        self.clip_high = clip_high
        self.standardize = standardize
        self.kl_coefficient = kl_coefficient
        self.gradient_clip = gradient_clip
        self.validation_temperature = validation_temperature
        self.seed = seed
        check_filter(self.filter, rollouts, self.engine)
        self.register_buffer("batches_seen", torch.tensor(0))
        self.reference = None
        if kl_coefficient:
            self.reference = deepcopy(model).requires_grad_(False).eval()
        self._solved: dict[str, list[bool]] = defaultdict(list)

    def setup(self, stage: str) -> None:
        """Refuse a strategy that splits the model; expect other weights than in the stage before.

        Raises:
            ArgumentError: several processes without DDP.
        """
        self._synced = False
        strategy = self.trainer.strategy
        if self.trainer.world_size > 1 and isinstance(self.engine, VLLMServer):
            raise ArgumentError(
                "engine: expected one process beside vllm_server, which takes the weights and the "
                f"questions of one trainer, got {self.trainer.world_size}; take engine: vllm"
            )
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
        roll_out = partial(self._roll_out, int(self.batches_seen))
        self.batches_seen += 1
        outputs: dict[str, Any]
        if self.filter is None:
            rollouts, scores = roll_out(batch["prompts"], self.rollouts)
            answers = iter(rollouts.texts)
            texts = [[next(answers) for _ in range(self.rollouts)] for _ in batch["prompts"]]
            outputs = {"rewards": scores[..., 0], "completions": texts}
            metrics = length_metrics([rollouts])
            outputs["perplexity"], outputs["entropy"] = uncertainties(rollouts, scores[..., 0])
        else:
            loader = prompt_loader(self.trainer.train_dataloader)
            if loader is None:
                raise ArgumentError(
                    "filter: expected the trainer's data loader to be PromptDataModule's own, "
                    "which deals further prompts, found none; train without a "
                    "filter, or with datamodule=PromptDataModule(...)"
                )
            # A rehearsal must leave nothing behind, in the filter neither.
            chosen = deepcopy(self.filter) if is_rehearsal(self.trainer) else self.filter
            collected = collect(chosen, roll_out, batch, loader.loop, self.rollouts)
            rollouts, scores = collected.rollouts, collected.scores
            outputs, metrics = {"results": collected.results}, collected.metrics
        metrics |= self._means(scores)
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
        self._rest()
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
        metrics |= self._sync()
        if will_log(self.trainer):
            values = {"loss": loss, **of_update, **metrics}
            several = self.trainer.world_size > 1
            self.log_dict(values, batch_size=len(batch["prompts"]), sync_dist=several)
        return {"loss": loss, **outputs}

    def _sync(self) -> Mapping[str, float]:
        """Have the engine take over the weights; returns what it says of it."""
        metrics = self.engine.sync(self.model)
        self._synced = True
        return metrics or {}

    def _rest(self) -> None:
        """Let the engine free its memory, if it can: its weights are about to be outdated."""
        self._synced = False
        getattr(self.engine, "sleep", lambda: None)()

    def _generate(self, prompts: Sequence[Prompt], n: int, sampling: Sampling) -> Rollouts:
        """n completions of each prompt, by the present weights."""
        if not self._synced:
            self._sync()
        rollouts = self.engine.generate([p.messages or p.prompt for p in prompts], n, sampling)
        most, vocabulary = sampling.max_new_tokens, self.model.get_input_embeddings().num_embeddings
        asked = Asked(type(self.engine).__name__, len(prompts), n, most, vocabulary)
        return check_rollouts(rollouts, asked)

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

    def _roll_out(
        self, step: int, prompts: Sequence[Prompt], n: int, call: int = 0
    ) -> tuple[Rollouts, Tensor]:
        """n completions of each prompt and their scores, (prompts, n, F); see `RollOut`."""
        shape = (len(prompts), n, len(self.rewards.names))
        if not prompts:  # an engine cannot be asked about none
            return no_rollouts(self.device), torch.empty(shape, device=self.device)
        seed = _mix(self.seed, step, call, ranks_of(self.trainer).rank)
        needed = self.filter is not None and self.filter.needs_uncertainty == "entropy"
        recorded = self._loop is not None and self._loop.history.answers
        wanted = recorded and tells_entropy(self.engine)
        sampling = Sampling(
            self.max_new_tokens, self.temperature, seed=seed, entropy=needed or wanted
        )
        rollouts = self._generate(prompts, n, sampling)
        scores = self._scores([prompt for prompt in prompts for _ in range(n)], rollouts.texts)
        return rollouts, scores.to(self.device).view(shape)

    @property
    def _loop(self) -> SelectionLoop | None:
        """That of the data module, where this trains with one."""
        return getattr(getattr(self.trainer, "datamodule", None), "loop", None)

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

    def _scores(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> Tensor:
        """Each reward of each completion, see `RewardSum.score`."""
        return self.rewards.score(
            prompts, completions, workers=self.reward_workers, seconds=self.reward_seconds
        )

    def _means(self, scores: Tensor) -> dict[str, Tensor]:
        """Of several rewards the mean of each over what is trained on, of all processes."""
        if len(self.rewards.names) == 1:
            return {}
        sums, counts = scores.nansum(dim=(0, 1)), (~scores.isnan()).sum(dim=(0, 1))
        ranks_of(self.trainer).sum_([sums, counts])
        means = sums / counts
        return {
            f"reward/{name}": mean for name, mean in zip(self.rewards.names, means, strict=True)
        }

    @property
    def _threshold(self) -> float:
        if self.success_threshold != "auto":
            return self.success_threshold
        if self._loop is None:
            raise ArgumentError(
                "success_threshold: expected a number where nothing is trained, got auto, which "
                "follows from the rewards in training"
            )
        return self._loop.threshold

    def validation_step(self, batch: PromptBatch, batch_idx: int) -> None:
        """One completion of each held-out prompt."""
        sampling = Sampling(
            self.max_new_tokens, self.validation_temperature, seed=_mix(self.seed, -1 - batch_idx)
        )
        prompts = batch["prompts"]
        texts = self._generate(prompts, 1, sampling).texts
        for prompt, outcome in zip(
            prompts, self._scores(prompts, texts)[:, 0].tolist(), strict=True
        ):
            solved = is_success(outcome, self._threshold)
            self._solved[str(prompt.meta.get("kind", ""))].append(solved)

    def on_validation_epoch_end(self) -> None:
        """Log the shares of held-out prompts solved, those of all processes."""
        by_kind: dict[str, list[bool]] = defaultdict(list)
        for solved_here in ranks_of(self.trainer).gathered(dict(self._solved)):
            for kind, solved in solved_here.items():
                by_kind[kind] += solved
        everything = [solved for kind in by_kind.values() for solved in kind]
        # Every process has the same figures; the mean over them is what Lightning asks for.
        several = self.trainer.world_size > 1
        share = sum(everything) / len(everything)
        self.log("val_accuracy", share, prog_bar=True, sync_dist=several)
        for kind, solved in sorted(by_kind.items()):
            if kind:
                self.log(f"val_accuracy/{kind}", sum(solved) / len(solved), sync_dist=several)
        self._solved.clear()


def with_adapters(model: Any, options: dict[str, Any], engine: Any) -> Any:
    """The model with low-rank adapters, which alone are trained.

    Raises:
        ArgumentError: an option that `peft.LoraConfig` does not take, or an engine that takes whole
            models.
        InsightError: peft is missing.
    """
    if engine not in (None, "transformers"):
        raise ArgumentError(
            f"lora: expected the engine transformers, got {engine!r}, which takes over whole models"
        )
    need("lora", "peft")
    from peft import LoraConfig, get_peft_model

    try:
        config = LoraConfig(**{"target_modules": "all-linear", **options}, task_type="CAUSAL_LM")
        return get_peft_model(model, config)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"lora: {error}") from error


def wasted_tokens(rollouts: Rollouts, advantages: Tensor) -> Tensor:
    """Tokens of the groups without a gradient; `advantages` has shape (B, K)."""
    lengths = rollouts.completion_mask.sum(dim=1).to(advantages.device).view_as(advantages)
    return lengths[(advantages == 0).all(dim=1)].sum().float()


def _mix(seed: int, step: int, call: int = 0, rank: int = 0) -> int:
    """A seed in [0, 2^62) for this process's call of the engine in this step of the run."""
    path = f"{seed}/{step}/{call}" if call else f"{seed}/{step}"
    path += f"/rank{rank}" if rank else ""
    return random.Random(path).getrandbits(62)
