"""Expected difficulty: the prompts whose mean success rate is nearest to a target."""

from __future__ import annotations

from typing import Any

from insight_ext.kernel import scores
from insight_ext.selectors.kernel_scored import KernelScoredSelector


class ExpectedDifficulty(KernelScoredSelector):
    """Select by the smallest |p - target|, p the posterior mean.

    Greedy in the mean: nothing brings it back to a prompt that one unlucky visit put aside, except
    a decay or half-life below the defaults.

    Args:
        pool_size, seed, common: see `KernelScoredSelector`.
        target: success rate that teaches most, in [0, 1].

    Source: EXPECTED-DIFFICULTY, a baseline of InSight (arXiv 2603.01907), with target 1/2.
    Deviation: the whole pool is ranked unless `candidate_ratio` is given.

    Examples:
        >>> selector = ExpectedDifficulty(3)
        >>> selector.observe([0, 1, 2], [8, 4, 1], 8, step=0)
        >>> selector.select(2, step=1).tolist()
        [1, 2]
    """

    settings = ("target",)

    def __init__(
        self, pool_size: int, *, seed: int = 0, target: float = 0.5, **common: Any
    ) -> None:
        super().__init__(pool_size, seed=seed, **common)
        self.target = target
        self.score  # noqa: B018  (refuses a target outside its domain)

    @property
    def score(self) -> scores.ExpectedDifficulty:
        """The score of every selection."""
        return scores.ExpectedDifficulty(self.target)
