"""The contract of predictors: what is known of every prompt's success rate, seen or not."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from insight_ext.state import Stateful


class Predictor(Stateful, ABC):
    """Predicts the success rate of every prompt from the results of those already visited.

    Features come from the present pool. Where the pool changed since a checkpoint, what was learned
    about them in general is kept, even if features that are standardised over the pool have shifted
    a little with it.
    """

    what = "predictor"

    @abstractmethod
    def observe(self, indices: Tensor, successes: Tensor, rollouts: Tensor) -> None:
        """Learn from one step: int64 tensors of shape (m,), each prompt once, counts checked."""

    @abstractmethod
    def beliefs(self) -> tuple[Tensor, Tensor]:
        """(alpha, beta) of all prompts, own results included: float32, shape (n,), positive.

        alpha / (alpha + beta) is the predicted success rate, alpha + beta its strength.
        """

    def metrics(self) -> dict[str, float]:
        """What to log about the model."""
        return {}
