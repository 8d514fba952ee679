"""GPS: prompts of predicted intermediate difficulty, unlike each other and the batch before."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from insight_ext.errors import ArgumentError
from insight_ext.kernel.ops import top_k
from insight_ext.plugins import check_options
from insight_ext.predictors import Gps as GpsPredictor
from insight_ext.selectors.base import NONE
from insight_ext.selectors.predicted import PredictedSelector
from insight_ext.selectors.target import check_target


class Gps(PredictedSelector):
    """Greedy batches by predicted difficulty and diversity.

        gain(x | S) = -(gamma(x) - target)^2 + diversity (d(x, S) + d(x, step before))

    d is the mean of (1 - cosine) between embeddings; S is all that the step was dealt so far.

    Args:
        pool_size, seed, common: see `BeliefSelector`.
        prior: see `BeliefSelector`: its means are where the predictions start, and the network
            learns what to add to them, in logits. How many answers a prediction is worth is fitted
            to the first visits, whatever the prior's strength.
        features, columns: embeddings, see `insight_ext.predictors.Gps`; `make_selector` gives the
            names of the columns that `meta:FIELD` makes.
        diversity: weight of the distances (unpublished; 0.02 is ours), at least 0.
        target: success rate that teaches most.
        shortlist: the greedy choice is among this many times k prompts, those of the largest gain
            before any is chosen; a pool of that size or less is searched whole.
        model: further options of `insight_ext.predictors.Gps`.

    Source: arXiv 2602.01970. Deviation: success rates are beliefs, the prediction with the prompt's
    own results added; d is taken as 1 - cosine, whose mean over a batch is one product with the
    batch's mean, so a million prompts are ranked without a million times k distances.

    Examples:
        >>> selector = Gps(20, features=torch.eye(20))
        >>> len(set(selector.select(5, step=0).tolist()))
        5
    """

    settings = ("diversity", "target", "shortlist")
    positions = (("_listed", "_gains"), "_batch", "_batch_before")

    def __init__(
        self,
        pool_size: int,
        *,
        seed: int = 0,
        features: Tensor | None = None,
        columns: Sequence[str] | None = None,
        diversity: float = 0.02,
        target: float = 0.5,
        shortlist: int = 16,
        model: dict[str, Any] | None = None,
        **common: Any,
    ) -> None:
        if diversity < 0.0 or shortlist < 1:
            raise ArgumentError(
                f"expected diversity >= 0 and shortlist >= 1, got {diversity} and {shortlist}"
            )
        check_options("gps: model", GpsPredictor, model or {})
        predictor = GpsPredictor(pool_size, features, columns=columns, seed=seed, **(model or {}))
        super().__init__(pool_size, predictor, seed=seed, **common)
        self.model = predictor
        self.diversity, self.target = diversity, check_target(target)
        self.shortlist = shortlist
        self._directions = torch.nn.functional.normalize(predictor.embeddings, dim=1)
        self._batch = self._batch_before = NONE  # what this step and the one before were dealt
        self._listed, self._gains = NONE, torch.empty(0)  # the step's shortlist; dealt: -inf
        self._all_gains: Tensor | None = None  # of the step, for the whole pool
        self._places: Tensor | None = None  # of each prompt in the shortlist, or -1
        self._near = self._directions[NONE]  # directions of those listed
        self._start_from_prior()

    def _start_from_prior(self) -> None:
        self.model.start = start_of(self.posterior.prior)

    def _learn(self, visited: Tensor, wins: Tensor, tries: Tensor) -> None:
        super()._learn(visited, wins, tries)
        if self.posterior.is_empirical:
            self._start_from_prior()

    def _begin(self) -> None:
        super()._begin()
        self._batch_before, self._batch = self._batch, NONE
        self._list(NONE, torch.empty(0))
        self._all_gains = None

    def _list(self, listed: Tensor, gains: Tensor) -> None:
        """Make these the step's shortlist."""
        self._listed, self._gains, self._places = listed, gains, None

    def _choose(self, k: int, exclude: Tensor) -> Tensor:
        available = self.pool_size - len(exclude)
        if self._open(exclude) < min(self.shortlist * k, available):
            if self._all_gains is None:
                self._all_gains = self._scores(None)
            count = min(self.shortlist * self._ahead(exclude), available)
            listed = top_k(self._all_gains, count, seed=self._tie_seed, exclude=exclude)
            self._list(listed, self._all_gains[listed])
            self._open(NONE)
        dealt = self._directions[self._batch]
        chosen = greedy_batch(self._gains, self._near, k, self.diversity, dealt)
        return self._listed[chosen]

    def _open(self, exclude: Tensor) -> int:
        """Take what is excluded off the shortlist; how many are left."""
        if self._places is None:
            self._places = torch.full((self.pool_size,), -1, dtype=torch.int32)
            self._places[self._listed] = torch.arange(len(self._listed), dtype=torch.int32)
            self._near = self._directions[self._listed]
        places = self._places[exclude]
        self._gains[places[places >= 0]] = -torch.inf
        return int(torch.count_nonzero(self._gains != -torch.inf))

    def _deal(self, chosen: Tensor) -> None:
        self._batch = torch.cat((self._batch, chosen))

    def _apply(self, state: Mapping[str, Any]) -> None:
        super()._apply(state)
        self._all_gains = self._places = None
        self._start_from_prior()

    def _scores(self, indices: Tensor | None) -> Tensor:
        chosen = slice(None) if indices is None else indices
        alpha, beta = (side[chosen] for side in self.predictor.beliefs())
        before = self._directions[self._batch_before]
        distance = 1.0 - self._directions[chosen] @ (before.sum(0) / max(len(before), 1))
        return -((alpha / (alpha + beta) - self.target) ** 2) + self.diversity * distance


def start_of(prior: tuple[Any, Any]) -> float | Tensor:
    """The logit of a prior's mean: a number for two numbers, float32 by prompt for two tensors.

    Examples:
        >>> start_of((1.0, 1.0)), start_of((torch.tensor([3.0]), torch.tensor([1.0])))
        (0.0, tensor([1.0986]))
    """
    alpha, beta = prior
    if isinstance(alpha, Tensor):
        return torch.log(alpha / beta)
    return math.log(alpha / beta)


def greedy_batch(
    gains: Tensor,
    directions: Tensor,
    k: int,
    diversity: float,
    before: Tensor | None = None,
) -> Tensor:
    """Choose `k` one by one, each maximising its gain plus its mean distance to those chosen.

    Args:
        gains: shape (m,), of each candidate by itself; -inf: not to be chosen.
        directions: shape (m, d), of unit length.
        k: how many, at most as are to be chosen.
        diversity: weight of the mean of (1 - cosine).
        before: directions of those chosen before, shape (c, d).

    Returns:
        int64 places of shape (k,), in the order of choice.

    Cost: O(k m d).

    Examples:
        >>> twins_and_other = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> greedy_batch(torch.tensor([0.0, -0.1, -0.2]), twins_and_other, 2, 1.0).tolist()
        [0, 2]
    """
    open_gains = gains.clone()
    count = 0 if before is None else len(before)
    similarity = torch.zeros_like(gains) if before is None else directions @ before.sum(0)
    chosen = torch.empty(k, dtype=torch.int64)
    for i in range(k):
        chosen_before = count + i
        total = open_gains
        if chosen_before:
            total = open_gains + diversity * (1.0 - similarity / chosen_before)
        at = int(total.argmax())
        chosen[i] = at
        open_gains[at] = -torch.inf
        if i + 1 < k:
            similarity += directions @ directions[at]
    return chosen
