"""The order of the data set: for a curriculum that someone sorted by hand."""

from __future__ import annotations

import torch
from torch import Tensor

from insight_ext.selectors.uniform import Uniform


class FileOrder(Uniform):
    """Every prompt once an epoch, in the order of the pool.

    Prompts in flight are passed over, and come as soon as they are back.

    Args:
        pool_size, seed, common: see `BeliefSelector`.

    Examples:
        >>> selector = FileOrder(3)
        >>> [selector.select(2, step=step).tolist() for step in range(3)]
        [[0, 1], [2, 0], [1, 2]]
    """

    def _epoch(self, out: Tensor) -> Tensor:
        return torch.arange(self.pool_size)
