"""A prior that alike prompts share: the success rate that their kind has at present."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from insight_ext.errors import ArgumentError
from insight_ext.state import Names, Stateful

# The belief of a kind of which nothing is known; its strength is the number of answers that the
# kind's rate counts for in the belief of each of its prompts. 2, or a strength estimated from first
# visits, does as well or worse on every learner of `compare`.
START = (0.5, 0.5)
# Answers after which half of what a kind has shown is forgotten: 64 groups of 8.
MEMORY = 512.0
# Steps after which half of it is forgotten, of whatever kind: the model changes by what it learns
# from the others, and a kind that was hopeless has to be asked again.
STEPS = 8.0
# Rates stay this far from 0 and 1, so that a prior stays one.
NEAREST = 1e-3
# Groups over which the features are judged.
JUDGED = 1024
# As many different rows are kinds by themselves; more are put into so many clusters.
MOST_ROWS, CLUSTERS, ROUNDS = 64, 32, 10


class SharedPrior(Stateful):
    """Beta(k m, k (1 - m)), where m is the share of right answers of the prompt's kind.

        m = (right + alpha) / (tried + k),  k = alpha + beta,  a kind starting at Beta(alpha, beta)

    All answers to prompts of the kind count alike, and the older ones fade, by the kind's answers
    since and by the steps. So a kind that is solved or hopeless shows it after a few groups,
    instead of after a visit to each prompt, and is asked again later.

    Args:
        kinds: int64 of shape (n,), the kind of each prompt, from 0 on; see `kinds_of`.

    Attributes:
        right, tried: float32 of shape (n,): the faded counts of each prompt's kind.
        gain: share of the variance of success rates that lies between kinds, over the first 1,024
            groups, corrected for the number of kinds; None before. A warning says where it cannot
            be told from 0.

    Determinism: equal calls give equal bits for equal thread counts.

    Cost: `observe` O(m + kinds); `sides` O(n).

    Source: ours; empirical Bayes, with the kind's rate as the mean of the prior.

    Examples:
        >>> prior = SharedPrior(torch.tensor([0, 0, 1]))
        >>> prior.observe(torch.tensor([0]), torch.tensor([8]), torch.tensor([8]))
        >>> prior.sides(START)[0].tolist()   # 8.5 of 9 for both prompts of the first kind
        [0.94..., 0.94..., 0.5]
    """

    what = "shared prior"
    per_prompt: Names = ("right", "tried")
    positions = (("_first", "_first_rates"),)
    values: Names = ("gain",)

    def __init__(self, kinds: Tensor) -> None:
        self.kinds = kinds
        self._count = int(kinds.max()) + 1
        self._right, self._tried = torch.zeros(self._count), torch.zeros(self._count)
        self.right, self.tried = self._right[kinds], self._tried[kinds]
        self.gain: float | None = None
        # The prompts of the first groups and their success rates, until they are judged.
        self._first, self._first_rates = torch.empty(0, dtype=torch.int64), torch.empty(0)

    def sides(self, given: tuple[Any, Any]) -> tuple[Tensor, Tensor]:
        """(alpha, beta) of each prompt's prior, float32 of shape (n,).

        Args:
            given: two numbers, the start of every kind; or two tensors of shape (n,), at least 1:
                what they have above Beta(1, 1) are answers to the prompt, on top of its kind's.
        """
        alpha, beta = given
        right: Any = 0.0
        wrong: Any = 0.0
        if isinstance(alpha, Tensor):
            (right, wrong), (alpha, beta) = (alpha - 1.0, beta - 1.0), START
        strength = alpha + beta
        by_kind = ((self._right + alpha) / (self._tried + strength)).clamp_(NEAREST, 1.0 - NEAREST)
        rates = by_kind[self.kinds]
        return strength * rates + right, strength * (1.0 - rates) + wrong

    def observe(self, visited: Tensor, successes: Tensor, rollouts: Tensor) -> None:
        """Take in a step's checked results of distinct prompts; see `BetaPosteriors.counted`."""
        kinds = self.kinds[visited]
        if self.gain is None:
            self._judge(visited, successes / rollouts)
        tried = torch.bincount(kinds, rollouts.double(), self._count).float()
        right = torch.bincount(kinds, successes.double(), self._count).float()
        kept = torch.exp2(-tried / MEMORY - 1.0 / STEPS)
        self._right = kept * self._right + right
        self._tried = kept * self._tried + tried
        self.right, self.tried = self._right[self.kinds], self._tried[self.kinds]

    def _judge(self, visited: Tensor, rates: Tensor) -> None:
        """Keep the first groups; of enough of them, work out the gain."""
        self._first = torch.cat((self._first, visited))
        self._first_rates = torch.cat((self._first_rates, rates))
        count = len(self._first)
        if count < JUDGED:
            return
        _, kinds = torch.unique(self.kinds[self._first], return_inverse=True)
        different = int(kinds.max()) + 1
        values = self._first_rates.double()
        means = torch.bincount(kinds, values) / torch.bincount(kinds)
        within = float(((values - means[kinds]) ** 2).sum()) / (count - different)
        around = float(((values - values.mean()) ** 2).sum()) / (count - 1)
        self.gain = 1.0 - within / around if around > 0.0 else 0.0
        self._first, self._first_rates = self._first[:0], self._first_rates[:0]
        # Its standard deviation where kinds tell nothing.
        if self.gain < math.sqrt(2.0 * different) / count:
            warnings.warn(
                f"features: of the variance of the first {count:,} groups' success rates "
                f"{self.gain:.1%} lies between the {different} kinds that they make, which cannot "
                "be told from nothing; choose others (see features_of), or leave them out",
                stacklevel=2,
            )

    def _apply(self, state: Mapping[str, Any]) -> None:
        # Counts are saved with the prompts, since kinds are numbered anew where the pool changes;
        # of a kind's prompts, those that are new to it have the fewest answers behind them.
        super()._apply(state)
        most = torch.zeros(self._count).scatter_reduce(0, self.kinds, self.tried, "amax")
        told = self.tried == most[self.kinds]
        kinds = self.kinds[told]
        right = torch.bincount(kinds, self.right[told].double(), self._count)
        self._right = (right / torch.bincount(kinds, minlength=self._count)).float()
        self._tried = most
        self.right, self.tried = self._right[self.kinds], self._tried[self.kinds]


def kinds_of(features: Tensor) -> Tensor:
    """Which prompts are alike: those with equal features, or near ones where nearly all differ.

    Up to 64 different rows, half as many as prompts at most, are a kind each. Otherwise the
    standardised rows are put into 32 clusters by k-means (Lloyd's algorithm, ten rounds from rows
    drawn at random).

    Args:
        features: finite floats of shape (n, d).

    Returns:
        int64 of shape (n,), kinds from 0 on, none of them empty.

    Raises:
        ArgumentError: a column that is the same for every prompt, unless it is 0 and another is
            not: no text of the pool falls into such a column of `ngrams`.

    Determinism: k-means multiplies matrices, so its clusters are the same on one machine only.

    Cost: O(n d) for each of ten rounds and 32 clusters.

    Examples:
        >>> kinds_of(torch.tensor([[2.0], [1.0], [2.0], [1.0]])).tolist()
        [1, 0, 1, 0]
    """
    if features.any():
        features = features[:, features.any(0)]
    constant = (features == features[0]).all(0)
    if constant.any():
        raise ArgumentError(
            f"features: column {int(constant.nonzero()[0])} is "
            f"{float(features[0][constant][0]):g} for every prompt and tells nothing; leave it out"
        )
    kinds: Tensor
    rows, kinds = torch.unique(features, dim=0, return_inverse=True)
    if len(rows) <= min(MOST_ROWS, len(features) // 2):
        return kinds
    clusters = min(CLUSTERS, max(len(features) // 2, 1))
    x = features.float() - features.float().mean(0)
    x /= x.square().mean(0).sqrt()
    first = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:clusters]
    centres = x[first]
    for _ in range(ROUNDS):
        own = torch.cdist(x, centres).argmin(1)
        sums = torch.zeros_like(centres).index_add_(0, own, x)
        counts = torch.bincount(own, minlength=clusters)[:, None]
        centres = torch.where(counts > 0, sums / counts.clamp(min=1), centres)
    kinds = torch.unique(torch.cdist(x, centres).argmin(1), return_inverse=True)[1]
    return kinds
