"""InSight: weighted mutual information between a prompt's success rate and its next rollouts."""

from __future__ import annotations

from typing import Any, Literal

from insight_ext.kernel.scores import WeightedInformation
from insight_ext.selectors.kernel_scored import KernelScoredSelector


class InSight(KernelScoredSelector):
    """Select the prompts with the largest weighted mutual information.

    Prompts are scored by `w(p) * I_K`, the information that K rollouts give about the success rate,
    weighted towards useful difficulty.

    Args:
        pool_size, seed, candidate_ratio, common: see `KernelScoredSelector`.
        decay: see `BeliefSelector`.
        rollouts, eta, mu, weight, information: of the score, see `WeightedInformation`; the last
            two are the paper's ablations.

    Source: arXiv 2603.01907, eq. 13, 15, 16 and the selection procedure. The paper's runs use
    `decay=1, candidate_ratio=16`. The defaults are the settings that we recommend: old results
    fade, since the model improves between two visits; fewer candidates spread the rollouts over
    more prompts, since a few dozen repeated often are memorised rather than learned from.

    Example:
        >>> selector = InSight(4, candidate_ratio=None)
        >>> selector.observe([0, 1, 2], successes=[8, 3, 0], rollouts=8)
        >>> selector.select(2).tolist()   # the unseen prompt, then the one of useful difficulty
        [3, 1]
    """

    def __init__(
        self,
        pool_size: int,
        *,
        seed: int = 0,
        decay: float = 0.5,
        rollouts: int = 8,
        eta: float = 3.0,
        mu: float = 0.3,
        weight: Literal["mean", "draw", "none"] = "mean",
        information: bool = True,
        candidate_ratio: int | None = 8,
        **common: Any,
    ) -> None:
        super().__init__(
            pool_size, seed=seed, decay=decay, candidate_ratio=candidate_ratio, **common
        )
        self._settings = (rollouts, eta, mu, weight, information)
        WeightedInformation(*self._settings)

    @property
    def score(self) -> WeightedInformation:
        """The score of the present selection."""
        return WeightedInformation(*self._settings, seed=self.seed, draw=self.selections)
