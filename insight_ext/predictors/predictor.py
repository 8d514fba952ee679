"""The contract of predictors: what is known of every prompt's success rate, seen or not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor

from insight_ext.beliefs.pool_change import PoolChange
from insight_ext.errors import CheckpointError


class Predictor(ABC):
    """Predicts the success rate of every prompt from the results of those already visited."""

    @abstractmethod
    def observe(self, indices: Tensor, successes: Tensor, rollouts: Tensor) -> None:
        """Learn from one step: int64 tensors of shape (m,), each prompt once, counts checked."""

    @abstractmethod
    def beliefs(self) -> tuple[Tensor, Tensor]:
        """(alpha, beta) of all prompts, own results included: float32, shape (n,), positive.

        alpha / (alpha + beta) is the predicted success rate, alpha + beta its strength.
        """

    @abstractmethod
    def metrics(self) -> dict[str, float]:
        """What to log about the model."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on, as tensors and primitives."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` saved; CheckpointError, and no change, if it does not fit."""

    def carried(self, state: dict[str, Any], change: PoolChange) -> dict[str, Any]:
        """What `state_dict` saved about an earlier pool, as a state of this predictor's pool.

        Features come from the present pool. What was learned about them in general is kept, even
        if features that are standardised over the pool have shifted a little with it.

        Raises:
            CheckpointError: the predictor's state cannot be carried over.
        """
        raise CheckpointError(
            f"the pool changed since the checkpoint ({change}), and {type(self).__name__} has no "
            "`carried`; resume with the prompts of the run that wrote it"
        )
