"""What a module asks of the engine and of the rewards: answers, their worth, and validation."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from insight_ext import ArgumentError, Prompt, SelectionLoop
from insight_ext.beliefs.group import Threshold, check_threshold, is_success
from insight_ext.filters import Filter, given_filter
from insight_ext.plugins import check_above_0, check_at_least, need, whole
from lightning_integration.demo.model import load_model
from lightning_integration.grpo.filtering import (
    check_filter,
    collect,
    length_metrics,
    tells_entropy,
    uncertainties,
)
from lightning_integration.grpo.reward_sum import RewardSum
from lightning_integration.grpo.rewards import Reward
from lightning_integration.loaders import PromptBatch, loop_at_work
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
from lightning_integration.trainer import LightningModule, is_rehearsal, ranks_of


class Drawn(NamedTuple):
    """The rollouts of a step.

    Attributes:
        rollouts: the completions to train on, K of each of G prompts; G may be 0.
        scores: of these by F rewards, the outcome's first, shape (G, K, F).
        outputs: what `training_step` is to return for `PromptSelectionCallback`.
        metrics: what to log.
    """

    rollouts: Rollouts
    scores: Tensor
    outputs: dict[str, Any]
    metrics: dict[str, Any]


class RolloutModule(LightningModule):
    """Asks an engine for answers and rewards for their worth, in training and in validation.

    What is learned from them is the matter of a subclass, such as `GRPOModule`: its `training_step`
    calls `roll_out` and, when the weights have moved, `sync`.

    Args:
        model: a Hugging Face model folder, or a model (then give its tokenizer).
        tokenizer: of a model given as an object.
        engine: draws the rollouts: a name in `rollouts.ENGINES` ("vllm", "vllm_server"), an import
            path, or an engine; the model itself, by transformers, if None.
        engine_options: the engine's settings, where `engine` is a name.
        lora: train adapters only, by the settings of `peft.LoraConfig`, such as `{"r": 16}`; extra
            `lora`. An export has them merged.
        share_prompts: read each prompt once for all its rollouts, in drawing and in the update;
            turn it off for models whose cache cannot be repeated, or under gradient checkpointing.
        reward: a name in `rewards.REWARDS`, an import path (`package.module:function`), or a
            function of prompt and completion; or several of these, whose sum is trained on.
        reward_weights: of each reward in the sum; 1 if None.
        outcome: the reward that says whether an answer is correct, and so what beliefs, filters and
            validation count: as it stands in `reward`, or its function's name. Needed where there
            are several.
        reward_workers, reward_seconds: see `rewards.score_completions`.
        max_failed: share of the latest 1,000 completions on which the reward may fail.
        rollouts: completions of each prompt, at least 2.
        max_new_tokens, temperature: of the rollouts; at least 1, and more than 0.
        filter: chooses among the finished groups those to train on: a name in
            `insight_ext.filters.FILTERS`, a `Filter`, or None for all of them. The callback keeps
            its state in checkpoints. A step whose groups are all filtered out has gradient zero.
        filter_options: the filter's settings, where `filter` is a name.
        success_threshold: smallest reward that counts as solved in validation; "auto" takes that
            of the training so far.
        validation_temperature: 0 is greedy.
        seed: of the rollouts; that of step i depends on seed and i alone, so that a resumed run
            draws what the uninterrupted one would have.

    Logs in validation `val_accuracy` over all held-out prompts and `val_accuracy/KIND` by
    `meta["kind"]`.

    Raises:
        ArgumentError: an argument outside its domain, or a folder that cannot be loaded.
    """

    def __init__(
        self,
        model: str | Path | PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase | None = None,
        engine: RolloutEngine | str | None = None,
        *,
        engine_options: dict[str, Any] | None = None,
        lora: dict[str, Any] | None = None,
        share_prompts: bool = True,
        reward: list[str | Reward] | str | Reward = "exact_match",
        reward_weights: list[float] | None = None,
        outcome: str | Reward | None = None,
        reward_workers: int = 1,
        reward_seconds: float = 60.0,
        max_failed: float = 0.1,
        rollouts: int = 8,
        max_new_tokens: int = 256,
        temperature: float = 1.0,
        filter: Filter | str | None = None,
        filter_options: dict[str, Any] | None = None,
        success_threshold: Threshold = 1.0,
        validation_temperature: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        rollouts = whole("rollouts", rollouts, 2)
        max_new_tokens = whole("max_new_tokens", max_new_tokens, 1)
        reward_workers, seed = whole("reward_workers", reward_workers, 1), whole("seed", seed, 0)
        check_at_least(0, validation_temperature=validation_temperature)
        check_above_0(temperature=temperature)
        self.success_threshold = check_threshold(success_threshold)
        self.rewards = RewardSum(reward, reward_weights, outcome, max_failed)
        self.reward_workers, self.reward_seconds = reward_workers, reward_seconds
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
        if engine in (None, "transformers"):
            engine, options = "transformers", {"share_prompts": share_prompts, **options}
        if isinstance(engine, str):
            engine = make_engine(engine, model, tokenizer, **options)
        elif options:
            raise ArgumentError("engine_options: expected none beside an engine that is an object")
        check_filter(self.filter, rollouts, engine)
        self.model, self.tokenizer, self.engine = model.train(), tokenizer, engine
        self.share_prompts = share_prompts
        self.rollouts, self.max_new_tokens = rollouts, max_new_tokens
        self.temperature, self.validation_temperature = temperature, validation_temperature
        self.seed = seed
        self.register_buffer("batches_seen", torch.tensor(0))
        self._synced = False
        self._solved: dict[str, list[bool]] = defaultdict(list)

    def setup(self, stage: str) -> None:
        """Expect other weights than in the stage before.

        Raises:
            ArgumentError: several processes that would share one server.
        """
        self._synced = False
        if self.trainer.world_size > 1 and isinstance(self.engine, VLLMServer):
            raise ArgumentError(
                "engine: expected one process beside vllm_server, which takes the weights and the "
                f"questions of one trainer, got {self.trainer.world_size}; take engine: vllm"
            )

    def roll_out(self, batch: PromptBatch) -> Drawn:
        """The rollouts of a step: of the batch, or of what a filter makes of it."""
        draw = partial(self._draw, int(self.batches_seen))
        self.batches_seen += 1
        outputs: dict[str, Any]
        if self.filter is None:
            rollouts, scores = draw(batch["prompts"], self.rollouts)
            answers = iter(rollouts.texts)
            texts = [[next(answers) for _ in range(self.rollouts)] for _ in batch["prompts"]]
            outputs = {"rewards": scores[..., 0], "completions": texts}
            outputs["perplexity"], outputs["entropy"] = uncertainties(rollouts, scores[..., 0])
            metrics = length_metrics([rollouts])
        else:
            loop = loop_at_work(self.trainer)
            if loop is None:
                raise ArgumentError(
                    "filter: expected the trainer's data loader to be PromptDataModule's own, "
                    "which deals further prompts, found none; train without a "
                    "filter, or with datamodule=PromptDataModule(...)"
                )
            # A rehearsal must leave nothing behind, in the filter neither.
            chosen = deepcopy(self.filter) if is_rehearsal(self.trainer) else self.filter
            collected = collect(chosen, draw, batch, loop, self.rollouts)
            rollouts, scores = collected.rollouts, collected.scores
            outputs, metrics = {"results": collected.results}, collected.metrics
        return Drawn(rollouts, scores, outputs, metrics | self._means(scores))

    def _draw(
        self, step: int, prompts: Sequence[Prompt], n: int, call: int = 0
    ) -> tuple[Rollouts, Tensor]:
        """n completions of each prompt and their scores, (prompts, n, F); see `RollOut`."""
        shape = (len(prompts), n, len(self.rewards.names))
        if not prompts:  # an engine cannot be asked about none
            return no_rollouts(self.device), torch.empty(shape, device=self.device)
        seed = _mix(self.seed, step, call, ranks_of(self.trainer).rank)
        entropy = self.filter is not None and self.filter.needs_uncertainty == "entropy"
        if self._loop is not None and self._loop.history.answers:
            entropy = entropy or tells_entropy(self.engine)
        sampling = Sampling(self.max_new_tokens, self.temperature, seed=seed, entropy=entropy)
        rollouts = self._generate(prompts, n, sampling)
        scores = self._scores([prompt for prompt in prompts for _ in range(n)], rollouts.texts)
        return rollouts, scores.to(self.device).view(shape)

    def _generate(self, prompts: Sequence[Prompt], n: int, sampling: Sampling) -> Rollouts:
        """n completions of each prompt, by the present weights."""
        if not self._synced:
            self.sync()
        rollouts = self.engine.generate([p.messages or p.prompt for p in prompts], n, sampling)
        most, vocabulary = sampling.max_new_tokens, self.model.get_input_embeddings().num_embeddings
        asked = Asked(type(self.engine).__name__, len(prompts), n, most, vocabulary)
        return check_rollouts(rollouts, asked)

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

    def sync(self) -> Mapping[str, float]:
        """Have the engine take over the weights; returns what it says of it."""
        metrics = self.engine.sync(self.model)
        self._synced = True
        return metrics or {}

    def rest(self) -> None:
        """Let the engine free its memory, if it can: its weights are about to be outdated."""
        self._synced = False
        getattr(self.engine, "sleep", lambda: None)()

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

    @property
    def _loop(self) -> SelectionLoop | None:
        """That of the data module, where this trains with one."""
        return getattr(getattr(self.trainer, "datamodule", None), "loop", None)


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


def _mix(seed: int, step: int, call: int = 0, rank: int = 0) -> int:
    """A seed in [0, 2^62) for this process's call of the engine in this step of the run."""
    path = f"{seed}/{step}/{call}" if call else f"{seed}/{step}"
    path += f"/rank{rank}" if rank else ""
    return random.Random(path).getrandbits(62)
