"""From the token lists of an inference engine to `Rollouts`, and what its requests say."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from insight_ext import ArgumentError
from lightning_integration.rollouts.engine import Rollouts, Sampling


@dataclass(frozen=True)
class Completion:
    """One answer of an engine.

    Attributes:
        ids: its tokens, the end token included if it came.
        logprobs: of each token under the distribution it was drawn from, in nats.
        stopped: whether the end token came.
    """

    ids: list[int]
    logprobs: list[float]
    stopped: bool


def stop_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokens that end a completion, ascending: the model's and the tokenizer's."""
    stop = model.generation_config.eos_token_id
    stop = {*(stop if isinstance(stop, list) else [stop]), tokenizer.eos_token_id} - {None}
    return sorted(stop)


def tokenized(
    prompts: Sequence[str],
    n: int,
    sampling: Sampling,
    tokenizer: PreTrainedTokenizerBase,
    max_model_len: int,
) -> list[list[int]]:
    """The tokens of each prompt.

    Raises:
        ArgumentError: no prompt, n < 1, or a prompt that leaves no room for `max_new_tokens`.
    """
    if not prompts or n < 1:
        raise ArgumentError(
            f"generate: expected a prompt and n >= 1, got {len(prompts)} prompts and n = {n}"
        )
    ids: list[list[int]] = tokenizer(list(prompts)).input_ids
    longest = max(map(len, ids))
    if longest + sampling.max_new_tokens > max_model_len:
        raise ArgumentError(
            f"max_model_len: expected room for a prompt of {longest} tokens and max_new_tokens = "
            f"{sampling.max_new_tokens}, got {max_model_len}; set max_model_len in engine_options "
            "(or when the server starts), or leave out long prompts"
        )
    return ids


def requests(n: int, sampling: Sampling, prompts: int, stop: Sequence[int]) -> list[dict[str, Any]]:
    """vLLM's sampling parameters of each prompt's request.

    Sample j of a request is drawn with its seed plus j, so prompts get seeds far from each other.
    A greedy request asks for one sample, since vLLM allows no more; `repeated` makes n of it.
    """
    shared = {
        "n": n if sampling.temperature else 1,
        "temperature": sampling.temperature,
        "top_k": sampling.top_k,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_new_tokens,
        "stop_token_ids": list(stop),
        "logprobs": 0,  # of the sampled token alone
    }
    seeds = [random.Random(f"{sampling.seed}/{i}").getrandbits(62) for i in range(prompts)]
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
        completions: of each prompt n, or one that stands for n equal ones.
        n: completions of each prompt.
        tokenizer: writes the texts; its padding token fills the gaps.
        device: of the tensors.

    Example:
        >>> from lightning_integration.demo.model import make_tokenizer
        >>> tokenizer = make_tokenizer("12")
        >>> two = [Completion([3, 1], [-0.5, -0.1], True), Completion([2], [-0.7], False)]
        >>> rollouts = collate([[2, 3]], [two], 2, tokenizer)
        >>> rollouts.completion_ids.tolist(), rollouts.texts, rollouts.stop_reasons
        ([[3, 1], [2, 0]], ['2', '1'], ['stop', 'length'])
    """
    groups = [list(group) * (n // len(group)) for group in completions]
    rows = [completion for group in groups for completion in group]
    pad = tokenizer.pad_token_id
    prompt_ids = _padded(prompts, pad, torch.int64, left=True)
    prompt_mask = _padded([[True] * len(ids) for ids in prompts], False, torch.bool, left=True)
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
        stop_reasons=["stop" if row.stopped else "length" for row in rows],
    )


def _padded(
    rows: Sequence[Sequence[Any]], fill: Any, dtype: torch.dtype, *, left: bool = False
) -> Tensor:
    width = max(map(len, rows))
    gaps = [[fill] * (width - len(row)) for row in rows]
    filled = [[*g, *row] if left else [*row, *g] for row, g in zip(rows, gaps, strict=True)]
    return torch.tensor(filled, dtype=dtype)
