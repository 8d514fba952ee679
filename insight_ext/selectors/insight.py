"""InSight: weighted mutual information between a prompt's success rate and its next rollouts."""

from __future__ import annotations

from collections import Counter
from math import ceil
from typing import Any, Literal

import torch
from torch import Tensor

from insight_ext.beliefs.shared_prior import START, kinds_of
from insight_ext.errors import ArgumentError
from insight_ext.kernel.ops import draw_distinct
from insight_ext.kernel.scores import WeightedInformation
from insight_ext.predictors.features import check_features, checksum
from insight_ext.selectors.base import isin
from insight_ext.selectors.kernel_scored import ROLLOUTS, KernelScoredSelector

# With features: the power of the information, of which the whole decides more than it should
# where the pool is larger than the run; and the visits after which a prompt is worth half, about
# what `calibrate` finds.
INFORMATION = 0.1
WEAR = 8.0
# Of those visited, the share that may be chosen again in a step; and how many times its share of
# the pool a kind may have of a step.
AGAIN = 4
MOST = 6


class InSight(KernelScoredSelector):
    """Select the prompts with the largest weighted mutual information.

    Prompts are scored by `w(p) * I_K`, the information that K rollouts give about the success rate,
    weighted towards useful difficulty.

    Where prompts have features, alike ones share a prior that follows what their kind does at
    present (`SharedPrior`): a kind that is solved or hopeless is left after a few groups and asked
    again some steps later, and prompts never seen differ. Information about one prompt is worth
    less then, and so are repeats:

        E[phi (1 - phi)] exp(-eta (p - mu)^2) I_K^0.1 / (1 + visits / 8)

    Candidates are then, beside those drawn, a quarter of the prompts that were visited, drawn
    uniformly; and no kind has more than six times its share of the pool in a step.

    Args:
        pool_size, seed, candidate_ratio, common: see `KernelScoredSelector`.
        features: float tensor of shape (pool_size, d), or by name, see `features_of`: prompts with
            equal rows, or near ones, are a kind, see `kinds_of`. None: the rule of the paper.
        prior: see `BeliefSelector`. With features success rates are answers on top of what the
            prompt's kind has shown; Beta(alpha, beta), given or fitted, is what every kind starts
            from, and alpha + beta what its rate counts for: Beta(1/2, 1/2) unless given.
        decay: see `BeliefSelector`.
        rollouts: K, answers per prompt; None takes the loop's, 8 without a loop.
        eta, mu, weight, information: of the score, see `WeightedInformation`; the last two are the
            paper's ablations.

    Raises:
        ArgumentError: a setting outside its domain, features that tell nothing, or features beside
            one of the paper's ablations.

    Source: arXiv 2603.01907, eq. 13, 15, 16 and the selection procedure; the rule with features is
    ours, and replaces I_K by its bound ln(1 + K / n) / 2 for a belief of strength n. I_K is 73 % of
    the bound or more where alpha and beta are 1/2 or more, and 51 % or more from strength 1 on for
    means in [0.1, 0.9], where the power of the bound is 7 % too large at most. The paper's runs use
    `decay=1, candidate_ratio=16`. The defaults are the settings that we recommend: old
    results fade, since the model improves between two visits; fewer candidates spread the rollouts
    over more prompts, since a few dozen repeated often are memorised rather than learned from.

    Examples:
        >>> selector = InSight(4, candidate_ratio=None)
        >>> selector.observe([0, 1, 2], [8, 3, 0], 8, step=0)
        >>> selector.select(2, step=1).tolist()   # the unseen one, then that of useful difficulty
        [3, 1]
        >>> kinds = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
        >>> selector = InSight(4, features=kinds)
        >>> selector.observe([0], [0], 8, step=0)
        >>> sorted(selector.select(2, step=1).tolist())   # the first kind is hopeless
        [2, 3]
    """

    of_pool = ("features",)
    settings = ("rollouts", "eta", "mu", "weight", "information")

    def __init__(
        self,
        pool_size: int,
        *,
        seed: int = 0,
        features: Tensor | None = None,
        decay: float = 0.5,
        rollouts: int | None = None,
        eta: float = 3.0,
        mu: float = 0.3,
        weight: Literal["mean", "draw", "none"] = "mean",
        information: bool = True,
        candidate_ratio: int | None = 8,
        **common: Any,
    ) -> None:
        self.features = None if features is None else checksum(features)
        if features is not None:
            check_features(features, pool_size)
            if weight != "mean" or not information:
                raise ArgumentError(
                    "features: expected without weight and information, since the paper's "
                    "ablations are of the rule without features"
                )
            self.kinds = kinds_of(features)
            self._prompts_of_kind = torch.bincount(self.kinds).tolist()
            common.setdefault("prior", START)
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

    def _best(self, k: int, candidates: Tensor | None, exclude: Tensor) -> Tensor:
        if self.kinds is None:
            return super()._best(k, candidates, exclude)
        scores, kinds = self._scores(candidates), self.kinds
        most = [ceil(MOST * k * count / len(kinds)) for count in self._prompts_of_kind]
        here = kinds if candidates is None else kinds[candidates]
        full: set[int] = set()
        while True:
            best = self._top(scores, k, candidates, exclude)
            counts = Counter(kinds[best].tolist())
            crowded = {kind for kind, count in counts.items() if count > most[kind]} - full
            if not crowded:
                return best
            for kind in crowded:
                kept = best[kinds[best] == kind][: most[kind]]
                at = kept if candidates is None else torch.searchsorted(candidates, kept)
                of_kept = scores[at]
                scores[here == kind] -= 1.0  # behind all others: scores lie in [0, 1/4]
                scores[at] = of_kept
            full |= crowded

    def _candidates(self, exclude: Tensor) -> Tensor | None:
        drawn = super()._candidates(exclude)
        if drawn is None or self.kinds is None:
            return drawn
        visited = self.posterior.visits.nonzero()[:, 0]
        visited = visited[~isin(visited, exclude)]
        number = -1 - self._draw  # of a draw of its own
        again = draw_distinct(len(visited), len(visited) // AGAIN, self.seed, number)
        return torch.cat((drawn, visited[again])).unique()  # type: ignore[no-untyped-call, no-any-return]

    def _scores(self, indices: Tensor | None) -> Tensor:
        if self.kinds is None:
            return super()._scores(indices)
        # In float64, so that rounding does not tell alike prompts apart by their place.
        alpha, beta = (side.double() for side in self.posterior.current(indices))
        visits = self.posterior.visits if indices is None else self.posterior.visits[indices]
        strength = alpha + beta
        mean = alpha / strength
        scores = mean * (1.0 - mean) * strength / (strength + 1.0)
        scores *= torch.exp(-self.eta * (mean - self.mu) ** 2)
        scores *= (0.5 * torch.log1p(self.score.rollouts / strength)) ** INFORMATION
        scores /= 1.0 + visits / WEAR
        return scores.float()

    def metrics(self) -> dict[str, float]:
        """`frac_unseen`, and `feature_gain` once it is known, see `SharedPrior`."""
        shared = self.posterior.shared
        known = {} if shared is None or shared.gain is None else {"feature_gain": shared.gain}
        return {**super().metrics(), **known}
