"""Random sampling without replacement: the baseline of every comparison."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from insight_ext.selectors.base import NONE, BeliefSelector, isin


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
        >>> sorted(selector.select(2, step=0).tolist() + selector.select(2, step=1).tolist())
        [0, 1, 2, 3]
    """

    positions = ("_queue",)

    def __init__(self, pool_size: int, *, seed: int = 0, **common: Any) -> None:
        super().__init__(pool_size, seed=seed, **common)
        self._queue = NONE  # what the present epoch has yet to deal

    def _choose(self, k: int, exclude: Tensor) -> Tensor:
        free = self._free(k, exclude)
        if len(free) < k:
            shuffled = torch.from_numpy(self._generator().permutation(self.pool_size))
            left = torch.isin(shuffled, self._queue)
            out = torch.isin(shuffled, exclude) & ~left
            parts = shuffled[~left & ~out], shuffled[out], shuffled[left]
            self._queue = torch.cat((self._queue, *parts))
            free = self._free(k, exclude)
        chosen = self._queue[free]
        last = int(free[-1]) + 1
        passed = torch.ones(last, dtype=torch.bool)
        passed[free] = False
        kept = self._queue[:last][passed]
        self._queue = torch.cat((kept, self._queue[last:])) if len(kept) else self._queue[last:]
        return chosen

    def _free(self, k: int, exclude: Tensor) -> Tensor:
        """The first k places of the queue whose prompts are not excluded, or fewer."""
        seen = 2 * k
        while True:
            places = (~isin(self._queue[:seen], exclude)).nonzero()[:k, 0]
            if len(places) == k or seen >= len(self._queue):
                return places
            seen *= 2
