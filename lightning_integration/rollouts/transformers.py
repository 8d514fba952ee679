"""Rollouts in the training process itself, by `generate` of transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from lightning_integration.rollouts.checks import Asked, check_rollouts
from lightning_integration.rollouts.completions import (
    padded_prompts,
    stop_tokens,
    tokenized,
    vocabulary,
)
from lightning_integration.rollouts.engine import Rollouts, Sampling
from lightning_integration.rollouts.prompts import Messages, PromptFormat


class TransformersEngine:
    """Samples with the trained model, a key-value cache, and a random stream of its own.

    All completions are drawn in one batch. A prompt is read once and its cache repeated for its n
    samples. torch's global random state is neither used nor changed. Of the model's own generation
    settings only the end tokens count: tokens come from softmax(logits / temperature), cut as
    `Sampling` says.

    Args:
        model, tokenizer: the policy; used as they are at the time of the call. The tokenizer names
            a token to pad with.
        share_prompts: read each prompt once instead of n times; turn it off for models whose cache
            cannot be repeated.
        prompt_format: how prompts become tokens: a `PromptFormat`, or its options by name.

    Raises:
        ArgumentError: an unknown option in `prompt_format`.

    Examples:
        >>> from lightning_integration.demo.model import make_model, make_tokenizer
        >>> tokenizer = make_tokenizer("0123456789+=")
        >>> engine = TransformersEngine(make_model(tokenizer, layers=1), tokenizer)
        >>> rollouts = engine.generate(["1+2=", "3="], 4, Sampling(max_new_tokens=5))
        >>> rollouts.prompt_ids.shape, rollouts.logprobs.shape[0], len(rollouts.texts)
        (torch.Size([8, 4]), 8, 8)
    """

    tells_entropy = True

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        share_prompts: bool = True,
        prompt_format: PromptFormat | Mapping[str, Any] | None = None,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.share_prompts = share_prompts
        self.prompt_format = PromptFormat.of(prompt_format)
        self._stop = stop_tokens(model, tokenizer)

    def sync(self, model: PreTrainedModel) -> None:
        """Nothing to do: the engine's model is the trained one."""

    @torch.no_grad()
    def generate(self, prompts: Sequence[str | Messages], n: int, sampling: Sampling) -> Rollouts:
        """n completions of each prompt; see `RolloutEngine`.

        Args:
            prompts: G texts or lists of messages, at least one.
            n: completions of each, at least 1.
            sampling: how they are drawn.

        Returns:
            G * n completions, those of a prompt in adjacent rows, on the model's device. Texts are
            padded to the longest prompt, and to the longest completion drawn.

        Raises:
            ArgumentError: no prompt, n < 1, or a prompt that `prompt_format` refuses.
            EngineError: the model's log-probabilities are not finite.

        Determinism: a function of the weights, the arguments and torch's kernels.
        """
        device = self.model.device
        ids = tokenized(prompts, n, sampling, self.tokenizer, self.prompt_format)
        read, read_mask = (
            part.to(device) for part in padded_prompts(ids, self.tokenizer.pad_token_id)
        )
        prompt_ids = read.repeat_interleave(n, dim=0)
        prompt_mask = read_mask.repeat_interleave(n, dim=0)
        draw = _Draw(sampling, device)
        training, settings = self.model.training, self.model.generation_config
        self.model.eval()
        # Penalties and cuts that a checkpoint ships would change the scores before they are drawn
        # from, and training knows nothing of them.
        self.model.generation_config = GenerationConfig()
        try:
            tokens = self.model.generate(
                prompt_ids,
                attention_mask=prompt_mask.long(),
                logits_processor=LogitsProcessorList([draw]),
                generation_config=GenerationConfig(
                    do_sample=False,
                    max_new_tokens=sampling.max_new_tokens,
                    eos_token_id=self._stop,
                    pad_token_id=self.tokenizer.pad_token_id,
                ),
                **self._read(read, read_mask.long(), n),
            )
        finally:
            self.model.train(training)
            self.model.generation_config = settings
        completion_ids = tokens[:, prompt_ids.shape[1] :]
        stops = torch.isin(completion_ids, torch.tensor(self._stop, device=device))
        completion_mask = (stops.cumsum(dim=1) - stops.long()) == 0
        stopped = stops.any(dim=1).tolist()
        rollouts = Rollouts(
            prompt_ids=prompt_ids,
            prompt_mask=prompt_mask,
            completion_ids=completion_ids,
            completion_mask=completion_mask,
            logprobs=torch.stack(draw.logprobs, dim=1) * completion_mask,
            texts=self._texts(completion_ids, completion_mask),
            stop_reasons=["stop" if row else "length" for row in stopped],
            entropy=draw.mean_entropy(completion_mask) if sampling.entropy else None,
        )
        stop = frozenset(self._stop)
        asked = Asked(
            "transformers", len(ids), n, sampling.max_new_tokens, vocabulary(self.model), stop
        )
        return check_rollouts(rollouts, asked)

    def _read(self, ids: Tensor, mask: Tensor, n: int) -> dict[str, object]:
        """The cache of all but each prompt's last token, repeated n times."""
        if not self.share_prompts or n == 1 or ids.shape[1] == 1:
            return {}
        ids, mask = ids[:, :-1], mask[:, :-1]
        cache = self.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions(mask),
            use_cache=True,
            logits_to_keep=1,
        ).past_key_values
        cache.batch_repeat_interleave(n)
        return {"past_key_values": cache}

    def _texts(self, ids: Tensor, mask: Tensor) -> list[str]:
        rows = [
            row[:length] for row, length in zip(ids.tolist(), mask.sum(1).tolist(), strict=True)
        ]
        return self.tokenizer.batch_decode(rows, skip_special_tokens=True)


def positions(mask: Tensor) -> Tensor:
    """Position of each token when padding on the left does not count: shape of the mask."""
    return (mask.long().cumsum(dim=1) - 1).clamp(min=0)


class _Draw(LogitsProcessor):
    """Draws each next token itself and leaves `generate` no choice.

    `generate` would draw from torch's global stream; this draws from its own (the maximum of log
    probability plus Gumbel noise is a sample) and keeps the log-probability of what it drew.
    """

    def __init__(self, sampling: Sampling, device: torch.device) -> None:
        self.logprobs: list[Tensor] = []
        self._entropies: list[Tensor] | None = [] if sampling.entropy else None
        self._greedy = sampling.temperature == 0
        self._generator = torch.Generator(device).manual_seed(sampling.seed)
        self._warpers = LogitsProcessorList()
        if sampling.temperature not in (0, 1):
            self._warpers.append(TemperatureLogitsWarper(float(sampling.temperature)))
        if sampling.top_k:
            self._warpers.append(TopKLogitsWarper(sampling.top_k))
        if sampling.top_p < 1:
            self._warpers.append(TopPLogitsWarper(sampling.top_p))

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        logprobs = self._warpers(input_ids, scores.float()).log_softmax(dim=-1)
        keys = logprobs
        if not self._greedy:
            noise = torch.empty_like(logprobs).exponential_(generator=self._generator)
            keys = logprobs - noise.log()
        drawn = keys.argmax(dim=-1, keepdim=True)
        self.logprobs.append(logprobs.gather(-1, drawn).squeeze(-1))
        if self._entropies is not None:
            self._entropies.append(torch.special.entr(logprobs.exp()).sum(dim=-1))
        return torch.full_like(scores, -torch.inf).scatter_(-1, drawn, 0.0)

    def mean_entropy(self, mask: Tensor) -> Tensor:
        """Of each completion, over its tokens, in nats; mask: bool of shape (G, T)."""
        each = torch.stack(self._entropies or [], dim=1)
        return torch.where(mask, each, 0.0).sum(dim=1) / mask.sum(dim=1)
