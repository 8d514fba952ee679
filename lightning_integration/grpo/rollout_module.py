"""What a module asks of the engine and of the rewards: answers, their worth, and validation."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from insight_ext import ArgumentError, Prompt, SelectionLoop
from insight_ext.beliefs.group import is_success
from insight_ext.plugins import need
from lightning_integration.grpo.filtering import (
    tells_entropy,
)
from lightning_integration.loaders import PromptBatch
from lightning_integration.rollouts import (
    Asked,
    Rollouts,
    Sampling,
    VLLMServer,
    check_rollouts,
)
from lightning_integration.rollouts.engine import no_rollouts
from lightning_integration.trainer import (
    DDPStrategy,
    LightningModule,
    ranks_of,
)


class RolloutModule(LightningModule):
    """What `GRPOModule` trains on, and what it is validated by."""

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


def _mix(seed: int, step: int, call: int = 0, rank: int = 0) -> int:
    """A seed in [0, 2^62) for this process's call of the engine in this step of the run."""
    path = f"{seed}/{step}/{call}" if call else f"{seed}/{step}"
    path += f"/rank{rank}" if rank else ""
    return random.Random(path).getrandbits(62)
