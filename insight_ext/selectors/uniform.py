"""Random sampling without replacement: the baseline of every comparison."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from insight_ext.errors import CheckpointError
from insight_ext.selectors.base import BeliefSelector


class Uniform(BeliefSelector):
    """Every prompt once an epoch, in an order shuffled anew each epoch.

    Prompts left over at the end of an epoch are dealt first, and wait until the end of the new one,
    so that no batch holds a prompt twice. So do prompts in flight when an epoch begins. Beliefs are
    kept for the reports and play no part in the choice.

    Args:
        pool_size, seed, common: see `BeliefSelector`.

    Source: RANDOM, the baseline of InSight (arXiv 2603.01907) and of most others.

    Example:
        >>> selector = Uniform(4, seed=1)
        >>> sorted(selector.select(2).tolist() + selector.select(2).tolist())
        [0, 1, 2, 3]
    """

    positions: ClassVar[tuple[str, ...]] = ("queue",)

    def __init__(self, pool_size: int, *, seed: int = 0, **common: Any) -> None:
        super().__init__(pool_size, seed=seed, **common)
        self._queue = torch.empty(0, dtype=torch.int64)

    def _choose(self, k: int, exclude: Tensor) -> Tensor:
        if len(self._queue) < k:
            shuffled = torch.from_numpy(self._generator().permutation(self.pool_size))
            left = torch.isin(shuffled, self._queue)
            out = torch.isin(shuffled, exclude) & ~left
            parts = shuffled[~left & ~out], shuffled[out], shuffled[left]
            self._queue = torch.cat((self._queue, *parts))
        chosen, self._queue = self._queue[:k].clone(), self._queue[k:]
        return chosen

    def state_dict(self) -> dict[str, Any]:
        """The shared state and the prompts that the present epoch has yet to deal."""
        return {**super().state_dict(), "queue": self._queue.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` saved."""
        queue = state.get("queue")
        if not isinstance(queue, Tensor) or queue.dtype != torch.int64 or queue.ndim != 1:
            raise CheckpointError("uniform: expected an int64 tensor `queue` in the checkpoint")
        super().load_state_dict(state)
        self._queue = queue.clone()
