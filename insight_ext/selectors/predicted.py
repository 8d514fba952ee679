"""The part that selectors on a predictor share."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from insight_ext.predictors import Predictor
from insight_ext.selectors.ranked import RankedSelector
from insight_ext.state import Names


class PredictedSelector(RankedSelector):
    """A selector whose beliefs come from a predictor; a strategy adds `_scores`.

    `posterior` is kept as well, for the reports: it is what the prompts' own results alone say.

    Args:
        pool_size, seed, common: see `RankedSelector`.
        predictor: for a pool of this size, fresh.
    """

    parts: Names = ("predictor",)

    def __init__(
        self, pool_size: int, predictor: Predictor, *, seed: int = 0, **common: Any
    ) -> None:
        super().__init__(pool_size, seed=seed, **common)
        self.predictor = predictor

    def _begin(self) -> None:
        super()._begin()
        self._metrics.update(self.predictor.metrics())

    def _learn(self, visited: Tensor, wins: Tensor, tries: Tensor) -> None:
        super()._learn(visited, wins, tries)
        self.predictor.observe(visited, wins, tries)

    def predict(self, indices: Any) -> Tensor:
        """The expected success rate of these prompts, by position: float32, shape of `indices`."""
        alpha, beta = (side[indices] for side in self.predictor.beliefs())
        return alpha / (alpha + beta)

    def _terms(self, indices: Tensor) -> dict[str, Tensor]:
        alpha, beta = (side[indices] for side in self.predictor.beliefs())
        return {**super()._terms(indices), "alpha": alpha, "beta": beta}
