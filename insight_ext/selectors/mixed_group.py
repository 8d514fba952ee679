"""Mixed groups: the prompts whose next group is most likely to hold right and wrong answers."""

from __future__ import annotations

from typing import Any

from insight_ext.kernel import scores
from insight_ext.selectors.kernel_scored import KernelScoredSelector


class MixedGroup(KernelScoredSelector):
    """Select by the probability that a group of K answers is mixed, hence carries a gradient.

    Args:
        pool_size, seed, decay, common: see `KernelScoredSelector`.
        rollouts: K, answers per prompt.

    Source: known as MaPP; we know no paper to cite. The score is
    1 - B(a + K, b) / B(a, b) - B(a, b + K) / B(a, b). The decay of 0.5 is ours.

    Example:
        >>> selector = MixedGroup(3)
        >>> selector.observe([0, 1, 2], successes=[8, 4, 0], rollouts=8)
        >>> selector.select(1).tolist()
        [1]
    """

    def __init__(
        self,
        pool_size: int,
        *,
        seed: int = 0,
        decay: float = 0.5,
        rollouts: int = 8,
        **common: Any,
    ) -> None:
        super().__init__(pool_size, seed=seed, decay=decay, **common)
        self._score = scores.MixedGroup(rollouts)

    @property
    def score(self) -> scores.MixedGroup:
        """The score of every selection."""
        return self._score
