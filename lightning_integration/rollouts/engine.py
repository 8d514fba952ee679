"""What every rollout engine takes and gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from torch import Tensor

from insight_ext import ArgumentError

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
    """

    max_new_tokens: int
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise ArgumentError(f"max_new_tokens: expected at least 1, got {self.max_new_tokens}")
        if not self.temperature >= 0:
            raise ArgumentError(f"temperature: expected 0 or more, got {self.temperature}")
        if self.top_k < 0:
            raise ArgumentError(f"top_k: expected 0 or more, got {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise ArgumentError(f"top_p: expected a number in (0, 1], got {self.top_p}")


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
    """

    prompt_ids: Tensor
    prompt_mask: Tensor
    completion_ids: Tensor
    completion_mask: Tensor
    logprobs: Tensor
    texts: list[str]
    stop_reasons: list[StopReason]


class RolloutEngine(Protocol):
    """Draws completions with the policy's latest weights."""

    def generate(self, prompts: Sequence[str], n: int, sampling: Sampling) -> Rollouts:
        """n completions of each prompt."""

    def sync(self, model: Any) -> None:
        """Take over the model's weights; called after each update of the policy."""
