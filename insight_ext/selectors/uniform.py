"""Random sampling without replacement: the baseline of every comparison."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from insight_ext.selectors.base import NONE, BeliefSelector, next_of


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
        chosen, self._queue = next_of(self._queue, k, exclude)
        if len(chosen) < k:
            out = torch.cat((exclude, chosen))
            shuffled = torch.from_numpy(self._generator(0, self._dealt).permutation(self.pool_size))
            late = torch.isin(shuffled, out)
            # What the last epoch has yet to deal is in flight: it waits in this one, once.
            self._queue = torch.cat((shuffled[~late], shuffled[late]))
            more, self._queue = next_of(self._queue, k - len(chosen), out)
            chosen = torch.cat((chosen, more))
        return chosen
