"""From the token lists of an inference engine to `Rollouts`, and what its requests say."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from insight_ext import ArgumentError, EngineError
from lightning_integration.rollouts.checks import Asked, check_completions
from lightning_integration.rollouts.engine import Completion, Rollouts, Sampling
from lightning_integration.rollouts.prompts import Messages, PromptFormat
from lightning_integration.rollouts.weight_sync import LogprobCheck


class TokenEngine(ABC):
    """What the engines share that send tokens to a vLLM and sync its weights with the policy's."""

    route: str
    _name: str  # of the engine, for messages
    _program: str  # what runs the weights, for messages
    _dtype: torch.dtype  # of the engine's weights
    _missing: str  # what `generate` expects before the first sync, and what it got

    # Not the constructor, whose options a class that hands keywords on would be taken to have.
    def _set_up(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        tolerance: float | None,
        transfer_options: dict[str, Any] | None,
        prompt_format: PromptFormat | Mapping[str, Any] | None,
    ) -> None:
        self.tokenizer = tokenizer
        self.prompt_format = PromptFormat.of(prompt_format)
        self._tolerance, self._transfer_options = tolerance, transfer_options or {}
        self._stop, self._vocabulary = stop_tokens(model, tokenizer), vocabulary(model)
        self._device = model.device
        self._check: LogprobCheck | None = None  # once it has started
        self._transfer: Any = None
        self._ready = False

    def generate(self, prompts: Sequence[str | Messages], n: int, sampling: Sampling) -> Rollouts:
        """n completions of each prompt, in one request each; see `RolloutEngine`.

        Raises:
            ArgumentError: no prompt, n < 1, or a prompt too long for `max_model_len` or refused by
                `prompt_format`.
            EngineError: no `sync` since the engine was made or put to sleep, other completions than
                those asked for (`check_completions`), a server that cannot be reached or refuses.
        """
        if not self._ready:
            raise EngineError(f"generate: expected {self._missing}; call sync(model) first")
        ids = tokenized(prompts, n, sampling, self.tokenizer, self.prompt_format, self._room)
        answers = self._answers(ids, n, sampling, self._stop)
        return collate(ids, answers, n, self.tokenizer, self._device)

    # Lightning validates in inference mode, whose tensors could not be written to later.
    @torch.inference_mode(False)
    @torch.no_grad()
    def sync(self, model: PreTrainedModel) -> dict[str, float]:
        """Take over the model's weights, empty the caches, and check it.

        Returns:
            `sync_ms`, `check_ms` and `logprob_difference`, see `LogprobCheck`.

        Raises:
            EngineError: vLLM cannot run the model, be reached, or has no such way to take weights;
                a sync failed; the check found other log-probabilities.
        """
        self._ready = False
        self._device = model.device
        if self._check is None:
            self._room = self._start(model)
            self._check = LogprobCheck.of(model, self.tokenizer, self._room, self._tolerance)
        started = perf_counter()
        told = f"route {self.route}, {self._program}"
        self._send(model, told)
        sync_ms = 1e3 * (perf_counter() - started)
        metrics = self._check.run(model, self._dtype, self._probe, told)
        self._ready = True
        return {"sync_ms": sync_ms, **metrics}

    def _probe(self, prompts: list[list[int]], sampling: Sampling) -> list[Completion]:
        return [group[0] for group in self._answers(prompts, 1, sampling, stop=())]

    def _answers(
        self, prompts: list[list[int]], n: int, sampling: Sampling, stop: Sequence[int]
    ) -> list[list[Completion]]:
        asked = asked_of_vllm(self._name, len(prompts), n, sampling, self._vocabulary, stop)
        groups = self._ask(prompts, requests(asked, sampling))
        check_completions(groups, asked)
        return groups

    @abstractmethod
    def _start(self, model: PreTrainedModel) -> int:
        """Get ready for the first sync; returns the tokens that prompt and completion may have."""

    @abstractmethod
    def _send(self, model: PreTrainedModel, told: str) -> None:
        """Send the weights; `told` says which way, for messages."""

    @abstractmethod
    def _ask(
        self, prompts: list[list[int]], parameters: list[dict[str, Any]]
    ) -> list[list[Completion]]:
        """The completions of each prompt by its sampling parameters, not checked yet."""


def stop_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokens that end a completion, ascending: the model's and the tokenizer's."""
    named = (
        model.generation_config.eos_token_id,
        getattr(model.config, "eos_token_id", None),
        tokenizer.eos_token_id,
    )
    stop = {token for each in named for token in (each if isinstance(each, list) else [each])}
    return sorted(stop - {None})


def vocabulary(model: PreTrainedModel) -> int:
    """Token ids are below this."""
    return model.get_input_embeddings().num_embeddings


def tokenized(
    prompts: Sequence[str | Messages],
    n: int,
    sampling: Sampling,
    tokenizer: PreTrainedTokenizerBase,
    prompt_format: PromptFormat,
    max_model_len: int | None = None,
) -> list[list[int]]:
    """The tokens of each prompt.

    Raises:
        ArgumentError: no prompt, n < 1, a prompt that leaves no room for `max_new_tokens`, or what
            `PromptFormat.tokens` refuses.
    """
    if not prompts or n < 1:
        raise ArgumentError(
            f"generate: expected a prompt and n >= 1, got {len(prompts)} prompts and n = {n}"
        )
    ids = prompt_format.tokens(tokenizer, prompts)
    longest = max(map(len, ids))
    if max_model_len is not None and longest + sampling.max_new_tokens > max_model_len:
        raise ArgumentError(
            f"max_model_len: expected room for a prompt of {longest} tokens and max_new_tokens = "
            f"{sampling.max_new_tokens}, got {max_model_len}; set max_model_len in engine_options "
            "(or when the server starts), or leave out long prompts"
        )
    return ids


def asked_of_vllm(
    engine: str, prompts: int, n: int, sampling: Sampling, vocabulary: int, stop: Sequence[int]
) -> Asked:
    """A call of vLLM, which makes one sample where all n would be equal; `collate` repeats it."""
    n = n if sampling.temperature else 1
    return Asked(engine, prompts, n, sampling.max_new_tokens, vocabulary, frozenset(stop))


def requests(asked: Asked, sampling: Sampling) -> list[dict[str, Any]]:
    """vLLM's sampling parameters of each prompt's request.

    Sample j of a request is drawn with its seed plus j, so prompts get seeds far from each other.

    Raises:
        ArgumentError: the entropy is asked for, which vLLM does not tell.
    """
    if sampling.entropy:
        raise ArgumentError(
            "entropy: expected an engine that tells the probabilities of all tokens, got vLLM, "
            "which tells those of the drawn ones; use the perplexity, or engine: transformers"
        )
    shared = {
        "n": asked.n,
        "temperature": sampling.temperature,
        "top_k": sampling.top_k,
        "top_p": sampling.top_p,
        "max_tokens": asked.max_new_tokens,
        "stop_token_ids": sorted(asked.stop or ()),
        "ignore_eos": not asked.stop,
        "logprobs": 0,  # of the sampled token alone
    }
    seeds = [random.Random(f"{sampling.seed}/{i}").getrandbits(62) for i in range(asked.prompts)]
    return [{**shared, "seed": seed} for seed in seeds]


def collate(
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[Completion]],
    n: int,
    tokenizer: PreTrainedTokenizerBase,
    device: torch.device | str = "cpu",
) -> Rollouts:
    """Pad prompts on the left, completions on the right, prompt-major.

    Args:
        prompts: the tokens of G prompts.
        completions: of each prompt n in any order, or one that stands for n equal ones; checked.
        n: completions of each prompt.
        tokenizer: writes the texts; its padding token fills the gaps.
        device: of the tensors.

    Examples:
        >>> from lightning_integration.demo.model import make_tokenizer
        >>> tokenizer = make_tokenizer("12")
        >>> first = Completion([3, 1], [-0.5, -0.1], "stop", index=0)
        >>> second = Completion([2], [-0.7], "length", index=1)
        >>> rollouts = collate([[2, 3]], [[second, first]], 2, tokenizer)
        >>> rollouts.completion_ids.tolist(), rollouts.texts, rollouts.stop_reasons
        ([[3, 1], [2, 0]], ['2', '1'], ['stop', 'length'])
    """
    in_order = [sorted(group, key=lambda each: each.index) for group in completions]
    groups = [group * (n // len(group)) for group in in_order]
    rows = [completion for group in groups for completion in group]
    pad = tokenizer.pad_token_id
    prompt_ids, prompt_mask = padded_prompts(prompts, pad)
    parts = (
        prompt_ids.repeat_interleave(n, dim=0),
        prompt_mask.repeat_interleave(n, dim=0),
        _padded([row.ids for row in rows], pad, torch.int64),
        _padded([[True] * len(row.ids) for row in rows], False, torch.bool),
        _padded([row.logprobs for row in rows], 0.0, torch.float32),
    )
    return Rollouts(
        *(part.to(device) for part in parts),
        texts=tokenizer.batch_decode([row.ids for row in rows], skip_special_tokens=True),
        stop_reasons=[row.stop_reason for row in rows],
    )


def padded_prompts(prompts: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Ids and mask of the prompts, padded on the left."""
    masks = [[True] * len(ids) for ids in prompts]
    return (
        _padded(prompts, pad, torch.int64, left=True),
        _padded(masks, False, torch.bool, left=True),
    )


def _padded(
    rows: Sequence[Sequence[Any]], fill: Any, dtype: torch.dtype, *, left: bool = False
) -> Tensor:
    width = max(map(len, rows))
    gaps = [[fill] * (width - len(row)) for row in rows]
    filled = [[*g, *row] if left else [*row, *g] for row, g in zip(rows, gaps, strict=True)]
    return torch.tensor(filled, dtype=dtype)
