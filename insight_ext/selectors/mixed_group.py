"""Mixed groups: the prompts whose next group is most likely to hold right and wrong answers."""

from __future__ import annotations

from typing import Any

from insight_ext.kernel import scores
from insight_ext.selectors.kernel_scored import ROLLOUTS, KernelScoredSelector


class MixedGroup(KernelScoredSelector):
    """Select by the probability that a group of K answers is mixed, hence carries a gradient.

    Args:
        pool_size, seed, decay, common: see `KernelScoredSelector`.
        rollouts: K, answers per prompt; None takes the loop's, 8 without a loop.

    Source: known as MaPP; we know no paper to cite. The score is
    1 - B(a + K, b) / B(a, b) - B(a, b + K) / B(a, b). The decay of 0.5 is ours.

    Example:
        >>> selector = MixedGroup(3)
        >>> selector.observe([0, 1, 2], [8, 4, 0], 8, step=0)
        >>> selector.select(1, step=1).tolist()
        [1]
    """

    settings = ("rollouts",)

    def __init__(
        self,
        pool_size: int,
        *,
        seed: int = 0,
        decay: float = 0.5,
        rollouts: int | None = None,
        **common: Any,
    ) -> None:
        super().__init__(pool_size, seed=seed, decay=decay, **common)
        self.rollouts = rollouts
        self.score  # noqa: B018  (refuses settings outside their domain)

    @property
    def score(self) -> scores.MixedGroup:
        """The score of every selection."""
        return scores.MixedGroup(ROLLOUTS if self.rollouts is None else self.rollouts)
