"""What an engine returned, held against what it was asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from insight_ext import EngineError
from lightning_integration.rollouts.engine import Completion, Rollouts

# Rounding may lift the log-probability of a certain token above 0 by less than this, in nats.
ROUNDING = 1e-2


@dataclass(frozen=True)
class Asked:
    """What a call asked of an engine.

    Args:
        engine: its name, for messages.
        prompts: how many.
        n: completions of each.
        max_new_tokens: the longest completion.
        vocabulary: token ids are below this.
        stop: the tokens that end a completion, none of which stands anywhere but at its end; None
            for an engine that may also stop for reasons of its own.
    """

    engine: str
    prompts: int
    n: int
    max_new_tokens: int
    vocabulary: int
    stop: frozenset[int] | None = None


def check_completions(groups: Sequence[Sequence[Completion]], asked: Asked) -> None:
    """See that these are the completions asked for, and nothing that training could choke on.

    Args:
        groups: of each prompt its completions.
        asked: what was asked.

    Raises:
        EngineError: another number of prompts or completions, an index that is missing or occurs
            twice, an empty or too long completion, a token outside the vocabulary,
            log-probabilities that are not finite, above 0 or not one a token, a stop reason other
            than stop and length or one that the tokens contradict; the prompt and the completion
            are named.

    Cost: some 10 microseconds a completion, and 20 nanoseconds a token.

    Examples:
        >>> asked = Asked("mine", prompts=1, n=1, max_new_tokens=4, vocabulary=10)
        >>> check_completions([[Completion([3, 1], [-0.5, -0.1], "stop")]], asked)
        >>> check_completions([[Completion([3, 1], [-0.5], "stop")]], asked)
        Traceback (most recent call last):
        ...
        insight_ext.errors.EngineError: engine mine: expected a log-probability of each of 2 \
tokens, got 1, in completion 0 of prompt 0; training on it would go wrong without a word
    """
    if len(groups) != asked.prompts:
        raise EngineError(
            f"engine {asked.engine}: expected the completions of {asked.prompts} prompts, "
            f"got those of {len(groups)}"
        )
    for i, group in enumerate(groups):
        indices = [completion.index for completion in group]
        whole = all(type(index) is int for index in indices)
        if not whole or sorted(indices) != list(range(asked.n)):
            shown = ", ".join(map(repr, indices[:16])) or "none"
            raise EngineError(
                f"engine {asked.engine}: expected {asked.n} completions of prompt {i}, each once, "
                f"got {len(group)} with the indices {shown}"
            )
        for completion in group:
            flaw = _flaw(completion, asked)
            if flaw:
                raise EngineError(
                    f"engine {asked.engine}: expected {flaw}, in completion {completion.index} of "
                    f"prompt {i}; training on it would go wrong without a word"
                )


def check_rollouts(rollouts: Any, asked: Asked) -> Rollouts:
    """The rollouts, once they are seen to be those asked for; see `check_completions`.

    Args:
        rollouts: what `generate` of any engine returned.
        asked: what was asked.

    Raises:
        EngineError: beside those of `check_completions`: not `Rollouts`, tensors of other shapes,
            types or devices, masks with gaps or on the wrong side, a prompt without tokens, rows
            of a prompt that differ in it.

    Cost: a copy of the tensors to the CPU, and that of `check_completions`.
    """
    flaw = _flaw_of_form(rollouts, asked)
    if flaw:
        raise EngineError(f"engine {asked.engine}: expected {flaw}; see rollouts.Rollouts")
    ids, logprobs = (
        each.detach().cpu().numpy() for each in (rollouts.completion_ids, rollouts.logprobs)
    )
    lengths = rollouts.completion_mask.sum(dim=1).tolist()
    completions = [
        Completion(ids[row, :length], logprobs[row, :length], reason, row % asked.n)
        for row, (length, reason) in enumerate(zip(lengths, rollouts.stop_reasons, strict=True))
    ]
    groups = [completions[at : at + asked.n] for at in range(0, len(completions), asked.n)]
    check_completions(groups, asked)
    if ids.min(initial=0) < 0 or ids.max(initial=0) >= asked.vocabulary:
        raise EngineError(
            f"engine {asked.engine}: expected padding of tokens from 0 to {asked.vocabulary - 1}, "
            f"got {ids.min()} to {ids.max()}; see rollouts.Rollouts"
        )
    return rollouts


def _flaw(completion: Completion, asked: Asked) -> str | None:
    """What was expected of a completion and what came instead."""
    ids, logprobs = _array(completion.ids), _array(completion.logprobs)
    if ids is not None and not len(ids):
        return "at least one token, the end token if no other, got none"
    if ids is None or ids.dtype.kind not in "iu" or ids.min() < 0 or ids.max() >= asked.vocabulary:
        return f"token ids from 0 to {asked.vocabulary - 1}, got {_odd_id(completion.ids, asked)}"
    if len(ids) > asked.max_new_tokens:
        return f"at most {asked.max_new_tokens} tokens, got {len(ids)}"
    if logprobs is None or (len(logprobs) and logprobs.dtype.kind not in "fiu"):
        return f"log-probabilities that are numbers, got {str(completion.logprobs)[:80]}"
    if len(logprobs) != len(ids):
        return f"a log-probability of each of {len(ids)} tokens, got {len(logprobs)}"
    wrong = ~(np.isfinite(logprobs) & (logprobs <= ROUNDING))
    if wrong.any():
        at = int(wrong.argmax())
        return f"finite log-probabilities of at most 0, got {logprobs[at]} at token {at}"
    return _flaw_of_end(ids, completion.stop_reason, asked)


def _flaw_of_end(ids: np.ndarray, reason: Any, asked: Asked) -> str | None:
    if reason not in ("stop", "length"):
        return f"the stop reason stop or length, got {reason!r:.80}"
    if asked.stop is None:
        return None
    ends = np.isin(ids, sorted(asked.stop))
    if ends[:-1].any():
        return f"no token after an end token, got {len(ids) - 1 - int(ends.argmax())}"
    if reason == "stop" and not ends[-1]:
        return f"an end token before the stop reason stop, got token {ids[-1]}"
    if reason == "length" and (ends[-1] or len(ids) < asked.max_new_tokens):
        got = "an end token" if ends[-1] else f"only {len(ids)} tokens"
        return f"{asked.max_new_tokens} tokens before the stop reason length, got {got}"
    return None


def _array(values: Any) -> np.ndarray | None:
    """One row of numbers, or None if it is something else."""
    try:
        array = np.asarray(values)
    except (ValueError, TypeError, OverflowError):
        return None
    return array if array.ndim == 1 else None


def _odd_id(ids: Any, asked: Asked) -> str:
    """The first of the tokens that is none, or all that came."""
    known = range(asked.vocabulary)
    odd = [token for token in ids if token not in known] if isinstance(ids, Sequence) else []
    return f"{odd[0] if odd else ids!r:.80}"


def _flaw_of_form(rollouts: Any, asked: Asked) -> str | None:
    """What was expected of the tensors and lists and what came instead."""
    if not isinstance(rollouts, Rollouts):
        return f"Rollouts, got {type(rollouts).__name__}"
    rows = asked.prompts * asked.n
    for name in ("texts", "stop_reasons"):
        own = getattr(rollouts, name)
        if not isinstance(own, Sequence) or not all(isinstance(each, str) for each in own):
            return f"{name} as a list of texts, got {own!r:.80}"
        if len(own) != rows:
            return f"{rows} {name}, {asked.n} for each of {asked.prompts} prompts, got {len(own)}"
    for name in ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask", "logprobs"):
        if not isinstance(getattr(rollouts, name), Tensor):
            return f"{name} as a tensor, got {getattr(rollouts, name)!r:.80}"
    of_prompts, of_completions = rollouts.prompt_ids, rollouts.completion_ids
    for name, like, dtype in (
        ("prompt_ids", of_prompts, torch.int64),
        ("prompt_mask", of_prompts, torch.bool),
        ("completion_ids", of_completions, torch.int64),
        ("completion_mask", of_completions, torch.bool),
        ("logprobs", of_completions, torch.float32),
    ):
        got = getattr(rollouts, name)
        width = like.shape[1] if like.ndim == 2 else "T"
        if (got.dtype, got.device, tuple(got.shape)) != (dtype, of_prompts.device, (rows, width)):
            return (
                f"{name} of shape ({rows}, {width}) in {dtype} on {of_prompts.device}, got "
                f"{tuple(got.shape)} in {got.dtype} on {got.device}"
            )
    entropy = rollouts.entropy
    if entropy is not None and not (
        isinstance(entropy, Tensor) and entropy.shape == (rows,) and bool((entropy >= 0).all())
    ):
        return f"an entropy of at least 0 for each of {rows} completions, got others"
    padded_left, padded_right = rollouts.prompt_mask.byte(), rollouts.completion_mask.byte()
    if (padded_left.diff(dim=1) == 255).any() or not padded_left[:, -1:].all():
        return "prompts padded on the left alone, got a mask with gaps"
    if (padded_right.diff(dim=1) == 1).any():
        return "completions padded on the right alone, got a mask with gaps"
    by_prompt = (of_prompts * padded_left).view(asked.prompts, asked.n, -1)
    if not padded_left.any(dim=1).all() or (by_prompt != by_prompt[:, :1]).any():
        return f"the {asked.n} completions of a prompt in adjacent rows, got rows of others there"
    if not ((of_prompts >= 0) & (of_prompts < asked.vocabulary)).all():
        return f"prompt_ids from 0 to {asked.vocabulary - 1}, got others"
    return None
