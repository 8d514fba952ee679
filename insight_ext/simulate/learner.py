"""What a simulation needs of a learner: whoever answers prompts, learns, and tells the truth."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ABLER = 3.0


def references(difficulty: NDArray[np.float64]) -> Tensor:
    """Success rates of two models that find the prompts as hard as this, see `Learner`.

    Args:
        difficulty: in logits, for a model as able as the learner is before training.

    Examples:
        >>> references(np.array([0.0, np.inf]))
        tensor([[0.5000, 0.9526],
                [0.0000, 0.0000]])
    """
    logits = np.array([0.0, ABLER]) - difficulty[:, None]
    return torch.from_numpy((1.0 / (1.0 + np.exp(-logits))).astype(np.float32))


class Learner(ABC):
    """A learner whose true success rates are known.

    Attributes:
        features: float32, shape (prompts, d): what a selector may see of each prompt.
        references: float32, shape (prompts, 2): success rates of two other models, one as able as
            the learner is before training, the other `ABLER` logits more. How hard a prompt is
            for these is what the features tell.
        visits: int32, shape (prompts,): how often each prompt was trained on.
    """

    features: Tensor
    references: Tensor
    visits: NDArray[np.int32]

    @property
    @abstractmethod
    def level(self) -> float:
        """How good it is, as a comparison measures it: mean skill, or held-out accuracy."""

    @abstractmethod
    def success_rate(self, indices: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """The true P(right answer) of these prompts, or of all; float64, in [0, 1]."""

    @abstractmethod
    def answer(self, indices: Tensor, rollouts: int) -> Tensor:
        """Answer these distinct prompts, without learning: each one's (verified) successes."""

    @abstractmethod
    def learn(self, indices: Tensor, successes: Tensor, rollouts: int) -> None:
        """Learn from a step's answers to distinct prompts."""

    def train(self, indices: Tensor, rollouts: int) -> Tensor:
        """Answer these distinct prompts, learn from them, and return each one's successes."""
        successes = self.answer(indices, rollouts)
        self.learn(indices, successes, rollouts)
        return successes
