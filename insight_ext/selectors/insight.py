"""InSight: weighted mutual information between a prompt's success rate and its next rollouts."""

from __future__ import annotations

from typing import Any, Literal

from insight_ext.kernel.scores import WeightedInformation
from insight_ext.selectors.kernel_scored import ROLLOUTS, KernelScoredSelector


class InSight(KernelScoredSelector):
    """Select the prompts with the largest weighted mutual information.

    Prompts are scored by `w(p) * I_K`, the information that K rollouts give about the success rate,
    weighted towards useful difficulty.

    Args:
        pool_size, seed, candidate_ratio, common: see `KernelScoredSelector`.
        decay: see `BeliefSelector`.
        rollouts: K, answers per prompt; None takes the loop's, 8 without a loop.
        eta, mu, weight, information: of the score, see `WeightedInformation`; the last two are the
            paper's ablations.

    Source: arXiv 2603.01907, eq. 13, 15, 16 and the selection procedure. The paper's runs use
    `decay=1, candidate_ratio=16`. The defaults are the settings that we recommend: old results
    fade, since the model improves between two visits; fewer candidates spread the rollouts over
    more prompts, since a few dozen repeated often are memorised rather than learned from.

    Example:
        >>> selector = InSight(4, candidate_ratio=None)
        >>> selector.observe([0, 1, 2], [8, 3, 0], 8, step=0)
        >>> selector.select(2, step=1).tolist()   # the unseen one, then that of useful difficulty
        [3, 1]
    """

    settings = ("rollouts", "eta", "mu", "weight", "information")

    def __init__(
        self,
        pool_size: int,
        *,
        seed: int = 0,
        decay: float = 0.5,
        rollouts: int | None = None,
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
        self.rollouts, self.eta, self.mu = rollouts, eta, mu
        self.weight, self.information = weight, information
        self.score  # noqa: B018  (refuses settings outside their domain)

    @property
    def score(self) -> WeightedInformation:
        """The score of the present step."""
        return WeightedInformation(
            ROLLOUTS if self.rollouts is None else self.rollouts,
            self.eta,
            self.mu,
            self.weight,
            self.information,
            seed=self.seed if self.weight == "draw" else 0,
            draw=self._step if self.weight == "draw" else 0,
        )
