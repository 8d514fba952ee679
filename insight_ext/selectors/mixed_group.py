"""Mixed groups: the prompts whose next group is most likely to hold right and wrong answers."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from insight_ext.errors import ArgumentError
from insight_ext.kernel import scores
from insight_ext.selectors.kernel_scored import ROLLOUTS, KernelScoredSelector


class MixedGroup(KernelScoredSelector):
    """Select by the probability that a group of K answers is mixed, hence carries a gradient.

        V = 1 - B(alpha + K, beta) / B(alpha, beta) - B(alpha, beta + K) / B(alpha, beta)

    Args:
        pool_size, seed, decay, candidate_ratio, common: see `KernelScoredSelector`.
        rollouts: K, answers per prompt; None takes the loop's, 8 without a loop.
        rule: "top_k" takes the largest V; "proportional" draws prompts in proportion to V, without
            replacement.

    Source: MaPP-PS, eq. 15, of "MaPP: A Unified Marginalized Posterior-Predictive Framework for
    Data-Efficient RLVR" (Ren et al.). As published: `rule="proportional", candidate_ratio=8`, with
    the decay of 0.5. Its advantage estimator is a matter of the trainer.

    Examples:
        >>> selector = MixedGroup(3)
        >>> selector.observe([0, 1, 2], [8, 4, 0], 8, step=0)
        >>> selector.select(1, step=1).tolist()
        [1]
    """

    settings = ("rollouts", "rule")

    def __init__(
        self,
        pool_size: int,
        *,
        seed: int = 0,
        decay: float = 0.5,
        rollouts: int | None = None,
        rule: str = "top_k",
        **common: Any,
    ) -> None:
        super().__init__(pool_size, seed=seed, decay=decay, **common)
        if rule not in ("top_k", "proportional"):
            raise ArgumentError(f"rule: expected 'top_k' or 'proportional', got {rule!r}")
        self.rollouts, self.rule = rollouts, rule
        self.score  # noqa: B018  (refuses settings outside their domain)

    @property
    def score(self) -> scores.MixedGroup:
        """The score of every selection."""
        return scores.MixedGroup(ROLLOUTS if self.rollouts is None else self.rollouts)

    def _best(self, k: int, candidates: Tensor | None, exclude: Tensor) -> Tensor:
        if self.rule == "top_k":
            return super()._best(k, candidates, exclude)
        race = self._race(self._scores(candidates).log(), candidates)
        return self._top(race, k, candidates, exclude)
