"""SPEED: screen each prompt with a few rollouts, finish only those of medium difficulty."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from insight_ext.errors import ArgumentError
from insight_ext.filters.dynamic_sampling import DynamicSampling
from insight_ext.filters.filter import success_rate


class Speed(DynamicSampling):
    """Dynamic sampling that gives a prompt up after `screening` rollouts that agree.

    A prompt gets `screening` rollouts; only if some but not all of them succeed does it get the
    rest of its group. The screening rollouts are part of the group.

    Args:
        screening: rollouts before the decision, at least 2.
        success_threshold: the smallest reward of a success.
        max_batches, refill: see `DynamicSampling`.

    Source: SPEED (arXiv 2506.09016), the screening phase. Version 3 of March 2026 withdraws the
    paper; versions 1 and 2 can still be read. Deviation: there the continuation of one batch runs
    together with the screening of the next, and surplus groups wait in a buffer for later steps;
    here a step is complete in itself, and every group comes from the present policy.

    Example:
        >>> import torch
        >>> Speed().passes(torch.tensor([[0.0, 0.0, 1.0, 0.0], [1.0, 1.0, 1.0, 1.0]])).tolist()
        [True, False]
    """

    screening: int

    def __init__(
        self,
        screening: int = 4,
        success_threshold: float = 1.0,
        max_batches: int = 10,
        refill: int | None = None,
    ) -> None:
        super().__init__(max_batches, refill)
        if screening < 2:
            raise ArgumentError(f"screening: expected at least 2 rollouts, got {screening}")
        self.screening = screening
        self.success_threshold = success_threshold

    def passes(self, rewards: Tensor) -> Tensor:
        """Whether 0 < pass rate < 1."""
        rate = success_rate(rewards, self.success_threshold)
        return (rate > 0) & (rate < 1)

    def settings(self) -> dict[str, Any]:
        """Those of dynamic sampling, the screening and the threshold."""
        own = {"screening": self.screening, "success_threshold": self.success_threshold}
        return super().settings() | own
