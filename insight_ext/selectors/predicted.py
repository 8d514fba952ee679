"""The part that selectors on a predictor share."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from insight_ext.beliefs.pool_change import PoolChange
from insight_ext.predictors import Predictor
from insight_ext.selectors.base import BeliefSelector


class PredictedSelector(BeliefSelector):
    """A selector whose beliefs come from a predictor; a strategy adds `_choose`.

    `posterior` is kept as well, for the reports: it is what the prompts' own results alone say.

    Args:
        pool_size, seed, common: see `BeliefSelector`.
        predictor: for a pool of this size, fresh.
    """

    def __init__(
        self, pool_size: int, predictor: Predictor, *, seed: int = 0, **common: Any
    ) -> None:
        super().__init__(pool_size, seed=seed, **common)
        self.predictor = predictor

    def observe(self, indices: Any, successes: Any, rollouts: Any) -> None:
        """Update beliefs and predictor; see `BetaPosteriors.observe`."""
        counted = self.posterior.counted(indices, successes, rollouts)
        super().observe(indices, successes, rollouts)
        if len(counted[0]):
            self.predictor.observe(*counted)

    def predict(self, indices: Tensor) -> Tensor:
        """The expected success rate of these prompts, float32, shape of `indices`."""
        alpha, beta = (side[indices] for side in self.predictor.beliefs())
        return alpha / (alpha + beta)

    def _terms(self, indices: Tensor) -> dict[str, Tensor]:
        alpha, beta = (side[indices] for side in self.predictor.beliefs())
        return {"alpha": alpha, "beta": beta}

    def state_dict(self) -> dict[str, Any]:
        """The shared state and the predictor's."""
        return {**super().state_dict(), "predictor": self.predictor.state_dict()}

    def carried(self, state: dict[str, Any], change: PoolChange) -> dict[str, Any]:
        """See `Selector.carried`."""
        predictor = self.predictor.carried(state["predictor"], change)
        return {**super().carried(state, change), "predictor": predictor}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` saved."""
        before = super().state_dict()
        super().load_state_dict(state)
        try:
            self.predictor.load_state_dict(state["predictor"])
        except Exception:
            super().load_state_dict(before)
            raise
