"""What every rollout engine takes and gives."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad

from insight_ext import ArgumentError
from insight_ext.plugins import whole
from lightning_integration.rollouts.prompts import Messages

StopReason = Literal["stop", "length"]


@dataclass(frozen=True)
class Sampling:
    """How completions are drawn.

    Args:
        max_new_tokens: the longest completion, at least 1, its end token included.
        temperature: at least 0; 0 is greedy.
        top_k: draw among this many likeliest tokens; 0 for all.
        top_p: draw among the likeliest tokens of this total probability, in (0, 1].
        seed: of the draws; equal calls with equal seeds give equal completions.
        entropy: whether to tell how open the choices were (`Rollouts.entropy`), which only engines
            with `tells_entropy` can.
    """

    max_new_tokens: int
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
    entropy: bool = False

    def __post_init__(self) -> None:
        whole("max_new_tokens", self.max_new_tokens, 1)
        if not 0 <= self.temperature < math.inf:
            raise ArgumentError(f"temperature: expected 0 or more, got {self.temperature}")
        if self.top_k < 0:
            raise ArgumentError(f"top_k: expected 0 or more, got {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise ArgumentError(f"top_p: expected a number in (0, 1], got {self.top_p}")


@dataclass(frozen=True)
class Completion:
    """One answer of an engine.

    Attributes:
        ids: its tokens, the end token included if it came.
        logprobs: of each token under the distribution it was drawn from, in nats.
        stop_reason: "stop" if the end token came, "length" if the room ran out.
        index: which of the prompt's completions it is, from 0.
    """

    ids: Sequence[int]
    logprobs: Sequence[float]
    stop_reason: StopReason
    index: int = 0


@dataclass(frozen=True)
class Rollouts:
    """Sampled completions, prompt-major: the n samples of a prompt are adjacent rows.

    Attributes:
        prompt_ids, prompt_mask: int64 and bool, shape (G, P), padded on the left.
        completion_ids, completion_mask: int64 and bool, shape (G, T), padded on the right; the
            mask includes the end token.
        logprobs: float32, shape (G, T): of each token under the distribution it was drawn from
            (greedy: under the model's own), 0 where there is no token.
        texts: the G completions without special tokens.
        stop_reasons: "stop" if the end token came, "length" if the room ran out.
        entropy: float32, shape (G,): of each completion the mean over its tokens of the entropy of
            the distribution that the token was drawn from, in nats; None where not asked for.
    """

    prompt_ids: Tensor
    prompt_mask: Tensor
    completion_ids: Tensor
    completion_mask: Tensor
    logprobs: Tensor
    texts: list[str]
    stop_reasons: list[StopReason]
    entropy: Tensor | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def rows(self, chosen: Tensor) -> Rollouts:
        """These completions in this order; `chosen` is int64 of shape (M,), on any device."""
        at = chosen.tolist()
        return Rollouts(
            self.prompt_ids[chosen],
            self.prompt_mask[chosen],
            self.completion_ids[chosen],
            self.completion_mask[chosen],
            self.logprobs[chosen],
            [self.texts[i] for i in at],
            [self.stop_reasons[i] for i in at],
            None if self.entropy is None else self.entropy[chosen],
        )


def no_rollouts(device: torch.device) -> Rollouts:
    """None at all; an engine cannot be asked about no prompts."""
    ids, mask = torch.empty(2, 0, 0, dtype=torch.int64, device=device)
    return Rollouts(ids, mask.bool(), ids, mask.bool(), mask.float(), [], [], mask.float().sum(1))


def joined(parts: Sequence[Rollouts]) -> Rollouts:
    """All completions one after another, padded to the longest; `parts` holds at least one.

    They have an entropy where each of the parts does.

    Examples:
        >>> ids, mask = torch.tensor([[5]]), torch.tensor([[True]])
        >>> one = Rollouts(ids, mask, ids, mask, torch.zeros(1, 1), ["a"], ["stop"])
        >>> ids, mask = torch.tensor([[6, 7]]), torch.tensor([[True, True]])
        >>> two = Rollouts(ids, mask, ids, mask, torch.zeros(1, 2), ["bc"], ["length"])
        >>> both = joined([one, two])
        >>> both.prompt_ids.tolist(), both.completion_ids.tolist()
        ([[0, 5], [6, 7]], [[5, 0], [6, 7]])
    """
    prompt = max(part.prompt_ids.shape[1] for part in parts)
    completion = max(part.completion_ids.shape[1] for part in parts)

    entropies = [part.entropy for part in parts if part.entropy is not None]

    def left(values: Tensor) -> Tensor:
        return pad(values, (prompt - values.shape[1], 0))

    def right(values: Tensor) -> Tensor:
        return pad(values, (0, completion - values.shape[1]))

    return Rollouts(
        torch.cat([left(part.prompt_ids) for part in parts]),
        torch.cat([left(part.prompt_mask) for part in parts]),
        torch.cat([right(part.completion_ids) for part in parts]),
        torch.cat([right(part.completion_mask) for part in parts]),
        torch.cat([right(part.logprobs) for part in parts]),
        [text for part in parts for text in part.texts],
        [reason for part in parts for reason in part.stop_reasons],
        torch.cat(entropies) if len(entropies) == len(parts) else None,
    )


class RolloutEngine(Protocol):
    """Draws completions with the policy's latest weights.

    Whatever an engine returns is held against what it was asked before it is trained on; see
    `checks.check_rollouts`. One that sees the probabilities of all tokens has `tells_entropy =
    True`.
    """

    def generate(self, prompts: Sequence[str | Messages], n: int, sampling: Sampling) -> Rollouts:
        """n completions of each prompt.

        Args:
            prompts: G of them, at least one: texts, or lists of messages with `role` and `content`;
                `prompts.PromptFormat` makes tokens of both.
            n: completions of each, at least 1.
            sampling: how they are drawn.

        Returns:
            G * n completions, those of a prompt in adjacent rows, on the policy's device.

        Raises:
            ArgumentError: no prompt, or n < 1.

        Determinism: equal weights and arguments, `sampling.seed` among them, give equal rollouts on
        the same machine; global random states are neither used nor changed.
        """

    def sync(self, model: Any) -> Mapping[str, float] | None:
        """Take over the model's weights.

        Called before the first rollouts and after the updates on each batch. An engine may also
        have `sleep()`: called when a batch is rolled out, before the updates, to free memory.

        Returns:
            What to log of it, if anything.
        """
