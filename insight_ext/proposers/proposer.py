"""The contract of every proposer, and the part that all belief-keeping proposers share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from insight_ext.errors import ArgumentError, CheckpointError
from insight_ext.posterior import BetaPosteriors


class Proposer(ABC):
    """Chooses the prompts of the next step before they are rolled out.

    A training loop alternates `select` and `observe`. Own strategies derive from this class and
    are passed as objects, or by import path (`package.module:Class`) in a configuration.
    """

    @abstractmethod
    def select(self, k: int) -> Tensor:
        """The indices of the next `k` prompts: distinct, int64, shape (k,), best first."""

    @abstractmethod
    def observe(self, indices: Any, successes: Any, rollouts: Any) -> None:
        """Take in results: `successes[i]` of `rollouts[i]` answers to `indices[i]` were correct."""

    @abstractmethod
    def metrics(self) -> dict[str, float]:
        """What to log about the latest selection."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on, as tensors and primitives."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` saved; CheckpointError, and no change, if it does not fit."""


class BeliefProposer(Proposer):
    """A proposer that keeps a Beta belief per prompt; a strategy adds `_choose`.

    Args:
        pool_size: number of prompts.
        seed: of every draw and tie-break. A draw depends on the seed and the number of selections
            so far alone, so that a resumed run draws what the uninterrupted one would have.
        prior, decay: of the beliefs, see `BetaPosteriors`.
    """

    def __init__(
        self,
        pool_size: int,
        *,
        seed: int = 0,
        prior: tuple[float, float] = (1.0, 1.0),
        decay: float = 1.0,
    ) -> None:
        if seed < 0:
            raise ArgumentError(f"seed: expected a non-negative integer, got {seed}")
        self.posterior = BetaPosteriors(pool_size, prior, decay)
        self.seed = seed
        self.selections = 0
        self._metrics: dict[str, float] = {}

    @property
    def pool_size(self) -> int:
        """Number of prompts to choose from."""
        return len(self.posterior)

    def select(self, k: int) -> Tensor:
        """The indices of the next `k` prompts: distinct, int64, shape (k,).

        Raises:
            ArgumentError: k < 1 or k > pool size.
        """
        if not 1 <= k <= self.pool_size:
            raise ArgumentError(f"k: expected an integer in [1, {self.pool_size}], got {k}")
        self._metrics = {}
        chosen = self._choose(k)
        self.selections += 1
        unseen = self.posterior.visits[chosen] == 0
        self._metrics["frac_unseen"] = int(torch.count_nonzero(unseen)) / k
        return chosen

    @abstractmethod
    def _choose(self, k: int) -> Tensor:
        """The strategy: the indices of `k` distinct prompts; may add to `self._metrics`."""

    def observe(self, indices: Any, successes: Any, rollouts: Any) -> None:
        """Update the beliefs; see `BetaPosteriors.observe`."""
        self.posterior.observe(indices, successes, rollouts)

    def metrics(self) -> dict[str, float]:
        """`frac_unseen`: share of the latest selection never visited before; and the strategy's."""
        return dict(self._metrics)

    def predict(self, indices: Tensor) -> Tensor:
        """The expected success rate of these prompts, float32, shape of `indices`."""
        alpha, beta = self.posterior.alpha[indices], self.posterior.beta[indices]
        return alpha / (alpha + beta)

    def state_dict(self) -> dict[str, Any]:
        """Beliefs, seed and the number of selections so far."""
        return {
            "strategy": type(self).__name__,
            "seed": self.seed,
            "selections": self.selections,
            "posterior": self.posterior.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` saved.

        Raises:
            CheckpointError: another strategy or seed, or beliefs that do not fit.
        """
        for key, value in (("strategy", type(self).__name__), ("seed", self.seed)):
            if state.get(key) != value:
                raise CheckpointError(
                    f"proposer: expected {key} {value}, the checkpoint has {state.get(key)}; "
                    "resume with the settings of the run that wrote it"
                )
        self.posterior.load_state_dict(state["posterior"])
        self.selections = int(state["selections"])

    def _generator(self) -> np.random.Generator:
        """The random stream of the present selection."""
        return np.random.default_rng((self.seed, self.selections))
