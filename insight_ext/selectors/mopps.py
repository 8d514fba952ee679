"""MoPPS: a draw from every candidate's belief, and the candidates whose draw is nearest to 1/2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from insight_ext.errors import ArgumentError
from insight_ext.kernel.ops import score, select_top_k
from insight_ext.kernel.scores import Thompson
from insight_ext.selectors.kernel_scored import KernelScoredSelector
from insight_ext.state import Names


class Mopps(KernelScoredSelector):
    """Thompson sampling towards a target success rate: draw g ~ Beta(alpha, beta), compare with it.

    `top_k` takes the smallest (g - target)^2. `threshold` takes candidates with g in an interval by
    lot, and the nearest to that interval if there are too few.

    Args:
        pool_size, seed, common: see `KernelScoredSelector`.
        decay: see `BeliefSelector`; the paper takes 0.5 or 1. Under decay the evidence of a prompt
            settles at 2 + K / (1 - decay).
        candidate_ratio: see `KernelScoredSelector`; the paper takes 8 or 16.
        target: success rate to draw near to, in [0, 1].
        rule: "top_k" or "threshold".
        interval: of `threshold`, two success rates.

    As published, with these defaults. The informative start, alpha = 3 s + 1 and
    beta = 3 (k - s) + 1 from s of k offline answers, is a prior of success rates (see
    `BeliefSelector`) with `prior_strength` 3 k. Draws are seeded, and beliefs are part of the
    checkpoint.

    Source: arXiv 2507.04632, eq. 6, 7 and algorithm 1; its code (thu-rllab/MoPPS, commit a883f51)
    for the interval and the informative start.

    Examples:
        >>> selector = Mopps(3)
        >>> selector.observe([0, 1, 2], [800, 400, 10], 800, step=0)
        >>> selector.select(1, step=1).tolist()
        [1]
    """

    settings: Names = ("rule", "target", "interval")

    def __init__(
        self,
        pool_size: int,
        *,
        seed: int = 0,
        decay: float = 0.5,
        candidate_ratio: int | None = 16,
        target: float = 0.5,
        rule: str = "top_k",
        interval: Sequence[float] = (0.3, 0.7),
        **common: Any,
    ) -> None:
        super().__init__(
            pool_size, seed=seed, decay=decay, candidate_ratio=candidate_ratio, **common
        )
        if rule not in ("top_k", "threshold"):
            raise ArgumentError(f"rule: expected 'top_k' or 'threshold', got {rule!r}")
        if len(interval) != 2 or not 0.0 <= interval[0] <= interval[1] <= 1.0:
            raise ArgumentError(
                f"interval: expected two success rates, the smaller first, got {interval!r}"
            )
        self.rule, self.interval = rule, tuple(interval)
        self.target = target
        Thompson(target)

    @property
    def score(self) -> Thompson:
        """The score of the present step, a draw."""
        return Thompson(self.target, seed=self.seed, draw=self._step)

    def _best(self, k: int, candidates: Tensor | None, exclude: Tensor) -> Tensor:
        if self.rule == "top_k":
            return super()._best(k, candidates, exclude)
        low, high = self.interval
        drawn, distances = self._distances((low + high) / 2.0, candidates)
        outside = (distances - (high - low) / 2.0).clamp(min=0.0)
        return self._top(-outside, k, drawn, exclude)

    def _distances(self, target: float, candidates: Tensor | None) -> tuple[Tensor | None, Tensor]:
        """The draws of the step: the prompts (None: all) and |g - target| of each."""
        beliefs = self.posterior.current()
        thompson = Thompson(target, seed=self.seed, draw=self._step)
        if candidates is None:
            return None, score(*beliefs, thompson).neg_()
        drawn = select_top_k(
            *beliefs, len(candidates), thompson, candidates=candidates, sorted=False
        )
        return drawn.indices, drawn.scores.neg()
