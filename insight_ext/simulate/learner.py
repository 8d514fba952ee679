"""What a simulation needs of a learner: whoever answers prompts, learns, and tells the truth."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


class Learner(Protocol):
    """A learner whose true success rates are known.

    Attributes:
        features: float32, shape (prompts, d): what a selector may see of each prompt.
        visits: int32, shape (prompts,): how often each prompt was trained on.
    """

    features: Tensor
    visits: NDArray[np.int32]

    @property
    def level(self) -> float:
        """How good it is, as a comparison measures it: mean skill, or held-out accuracy."""

    def success_rate(self, indices: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """The true P(right answer) of these prompts, or of all; float64, in [0, 1]."""

    def train(self, indices: Tensor, rollouts: int) -> Tensor:
        """Answer these distinct prompts, learn from them, and return each one's successes."""
