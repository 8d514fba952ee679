"""Random sampling without replacement: the baseline of every comparison."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from insight_ext.selectors.base import NONE, BeliefSelector, isin, next_of


class Uniform(BeliefSelector):
    """Every prompt once an epoch, in an order shuffled anew each epoch.

    What an epoch has yet to deal comes before the next one, and prompts that are in flight when an
    epoch begins come at its end. Beliefs are kept for the reports and play no part in the choice.

    Args:
        pool_size, seed, common: see `BeliefSelector`.

    Source: RANDOM, the baseline of InSight (arXiv 2603.01907) and of most others.

    Examples:
        >>> selector = Uniform(4, seed=1)
        >>> sorted(selector.select(2, step=0).tolist() + selector.select(2, step=1).tolist())
        [0, 1, 2, 3]
    """

    takes_parts = True
    positions = ("_queue",)

    def __init__(self, pool_size: int, *, seed: int = 0, **common: Any) -> None:
        super().__init__(pool_size, seed=seed, **common)
        self._queue = NONE  # what the present epoch has yet to deal

    def _choose(self, k: int, exclude: Tensor) -> Tensor:
        chosen, self._queue = next_of(self._queue, k, exclude)
        if len(chosen) < k:
            out = torch.cat((exclude, chosen))
            epoch = self._epoch(out)
            self._queue = torch.cat((self._queue, epoch[~isin(epoch, self._queue)]))
            more, self._queue = next_of(self._queue, k - len(chosen), out)
            chosen = torch.cat((chosen, more))
        return chosen

    def _epoch(self, out: Tensor) -> Tensor:
        """The order of a new epoch, where these prompts are in flight."""
        order = torch.from_numpy(self._generator(0, self._dealt).permutation(self.pool_size))
        late = isin(order, out)
        return torch.cat((order[~late], order[late]))
