"""GPS: prompts of predicted intermediate difficulty, unlike each other and the batch before."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from insight_ext.errors import ArgumentError
from insight_ext.options import check_options
from insight_ext.predictors import Gps as GpsPredictor
from insight_ext.selectors.predicted import PredictedSelector
from insight_ext.selectors.ranked import best
from insight_ext.selectors.target import check_target


class Gps(PredictedSelector):
    """Greedy batches by predicted difficulty and diversity.

        gain(x | S) = -(gamma(x) - target)^2 + diversity (d(x, S) + d(x, previous batch))

    d is the mean of (1 - cosine) between embeddings.

    Args:
        pool_size, seed, common: see `BeliefSelector`.
        features: embeddings, see `insight_ext.predictors.Gps`.
        diversity: weight of the distances (unpublished; 0.02 is ours), at least 0.
        target: success rate that teaches most.
        shortlist: the greedy choice is among this many times k prompts, those of the largest gain
            before any is chosen; a pool of that size or less is searched whole.
        model: further options of `insight_ext.predictors.Gps`.

    Source: arXiv 2602.01970. Deviation: success rates are beliefs, the prediction with the prompt's
    own results added; d is taken as 1 - cosine, whose mean over a batch is one product with the
    batch's mean, so a million prompts are ranked without a million times k distances.

    Example:
        >>> selector = Gps(20, features=torch.eye(20))
        >>> len(set(selector.select(5).tolist()))
        5
    """

    def __init__(
        self,
        pool_size: int,
        *,
        seed: int = 0,
        features: Tensor | None = None,
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
        predictor = GpsPredictor(pool_size, features, seed=seed, **(model or {}))
        super().__init__(pool_size, predictor, seed=seed, **common)
        self.diversity, self.target = diversity, check_target(target)
        self.shortlist = shortlist
        self._directions = torch.nn.functional.normalize(predictor.embeddings, dim=1)
        self._previous = torch.zeros(predictor.embeddings.shape[1])

    def _choose(self, k: int, exclude: Tensor) -> Tensor:
        self._metrics.update(self.predictor.metrics())
        gains = self._gains(slice(None))
        wanted = min(self.shortlist * k, self.pool_size - len(exclude))
        listed = best(gains, wanted, self._generator(), exclude)
        chosen = greedy_batch(gains[listed], self._directions[listed], k, self.diversity)
        self._previous = self._directions[listed[chosen]].mean(0)
        return listed[chosen]

    def _gains(self, indices: Any) -> Tensor:
        alpha, beta = (side[indices] for side in self.predictor.beliefs())
        distance = 1.0 - self._directions[indices] @ self._previous
        return -((alpha / (alpha + beta) - self.target) ** 2) + self.diversity * distance

    def _terms(self, indices: Tensor) -> dict[str, Tensor]:
        return {**super()._terms(indices), "score": self._gains(indices)}

    def state_dict(self) -> dict[str, Any]:
        """The shared state and the mean direction of the previous batch."""
        return {**super().state_dict(), "previous": self._previous.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` saved."""
        super().load_state_dict(state)
        self._previous = state["previous"].clone()


def greedy_batch(gains: Tensor, directions: Tensor, k: int, diversity: float) -> Tensor:
    """Choose `k` one by one, each maximising its gain plus its mean distance to those chosen.

    Args:
        gains: shape (m,), of each candidate by itself.
        directions: shape (m, d), of unit length.
        k: how many, at most m.
        diversity: weight of the mean of (1 - cosine).

    Returns:
        int64 places of shape (k,), in the order of choice.

    Cost: O(k m d).

    Example:
        >>> twins_and_other = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> greedy_batch(torch.tensor([0.0, -0.1, -0.2]), twins_and_other, 2, 1.0).tolist()
        [0, 2]
    """
    open_gains = gains.clone()
    similarity = torch.zeros_like(gains)
    chosen = torch.empty(k, dtype=torch.int64)
    for i in range(k):
        total = open_gains if i == 0 else open_gains + diversity * (1.0 - similarity / i)
        at = int(total.argmax())
        chosen[i] = at
        open_gains[at] = -torch.inf
        similarity += directions @ directions[at]
    return chosen
