"""The contract of every selector, and the part that all belief-keeping selectors share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from insight_ext.beliefs.beta import BetaPosteriors
from insight_ext.beliefs.pool_change import PoolChange
from insight_ext.errors import ArgumentError, CheckpointError


class Selector(ABC):
    """Chooses the prompts of the next step before they are rolled out.

    A training loop alternates `select` and `observe`. Own strategies derive from this class and
    are passed as objects, or by import path (`package.module:Class`) in a configuration.
    """

    @abstractmethod
    def select(self, k: int) -> Tensor:
        """The indices of the next `k` prompts: distinct, int64, shape (k,), best first."""

    def more(self, k: int, dealt: Tensor) -> Tensor:
        """Further prompts for the same step, before any of its results: like `select(k)`.

        Those in `dealt`, int64, the step has already. Where a strategy gives one of them all the
        same, the caller leaves it out.
        """
        return self.select(k)

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

    def carried(self, state: dict[str, Any], change: PoolChange) -> dict[str, Any]:
        """What `state_dict` saved about an earlier pool, as a state of this selector's pool.

        Raises:
            CheckpointError: the strategy's state cannot be carried over.
        """
        raise CheckpointError(
            f"the pool changed since the checkpoint ({change}), and {type(self).__name__} has no "
            "`carried`; resume with the prompts of the run that wrote it"
        )


class BeliefSelector(Selector):
    """A selector that keeps a Beta belief per prompt; a strategy adds `_choose`.

    Args:
        pool_size: number of prompts.
        seed: of every draw and tie-break. A draw depends on the seed and the number of selections
            so far alone, so that a resumed run draws what the uninterrupted one would have.
        prior, decay, half_life: of the beliefs, see `BetaPosteriors`. A step is a selection.
        exploration: share of every selection that is drawn uniformly, whatever the strategy says,
            in [0, 1]; rounded down to whole prompts.
        in_flight: prompts of the latest so many selections whose results are still out are not
            selected again, as far as the pool allows. Matters where selection runs ahead of
            training.

    Attributes:
        per_prompt: entries of `state_dict` with a row for each prompt, beside the beliefs.
        positions: entries of `state_dict` that list positions in the pool.
    """

    per_prompt: ClassVar[tuple[str, ...]] = ()
    positions: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        pool_size: int,
        *,
        seed: int = 0,
        prior: tuple[float, float] | tuple[Tensor, Tensor] = (1.0, 1.0),
        decay: float = 1.0,
        half_life: float | None = None,
        exploration: float = 0.0,
        in_flight: int = 1,
    ) -> None:
        if seed < 0:
            raise ArgumentError(f"seed: expected a non-negative integer, got {seed}")
        if not 0.0 <= exploration <= 1.0:
            raise ArgumentError(f"exploration: expected a share in [0, 1], got {exploration}")
        if in_flight < 0:
            raise ArgumentError(f"in_flight: expected 0 or more selections, got {in_flight}")
        self.posterior = BetaPosteriors(pool_size, prior, decay, half_life=half_life)
        self.seed = seed
        self.exploration = exploration
        self.in_flight = in_flight
        self.selections = 0
        self._pending: list[Tensor] = []
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
        exclude = self._excluded(k)
        explored = int(self.exploration * k)
        chosen = torch.empty(0, dtype=torch.int64)
        if explored < k:
            chosen = self._choose(k - explored, exclude)
        if explored:
            taken = torch.zeros(self.pool_size, dtype=torch.bool)
            taken[torch.cat((chosen, exclude))] = True
            rest = (~taken).nonzero()[:, 0]
            drawn = self._generator(1).choice(len(rest), explored, replace=False)
            chosen = torch.cat((chosen, rest[torch.from_numpy(drawn)]))
        self.selections += 1
        self.posterior.step = self.selections
        pending = [*self._pending, chosen]
        self._pending = pending[max(len(pending) - self.in_flight, 0) :]
        self._metrics["frac_unseen"] = self.posterior.visits[chosen].tolist().count(0) / k
        return chosen.clone()

    def more(self, k: int, dealt: Tensor) -> Tensor:
        """Like `select(k)`, which counts as a selection, but prompts in `dealt` are in flight."""
        pending = self._pending
        self._pending = [*pending, dealt]
        chosen = self.select(k)
        self._pending = [*pending, chosen.clone()]
        return chosen

    @abstractmethod
    def _choose(self, k: int, exclude: Tensor) -> Tensor:
        """The strategy: the indices of `k` distinct prompts, none of them in `exclude`.

        May add to `self._metrics`.
        """

    def _excluded(self, k: int) -> Tensor:
        """The prompts in flight: the latest selections, so many that `k` others remain."""
        kept = torch.empty(0, dtype=torch.int64)
        for selection in reversed(self._pending):
            more = torch.unique(torch.cat((kept, selection)))
            if self.pool_size - len(more) < k:
                break
            kept = more
        return kept

    def observe(self, indices: Any, successes: Any, rollouts: Any) -> None:
        """Update the beliefs; see `BetaPosteriors.observe`."""
        # From here on nothing can fail: these are distinct prompts, on the beliefs' device.
        visited, wins, tries = self.posterior.counted(indices, successes, rollouts)
        self.posterior.add(visited, wins, tries)
        if len(self._pending) == 1 and torch.equal(self._pending[0], visited):
            self._pending = []
        elif self._pending:
            out = ~torch.isin(torch.cat(self._pending), visited)
            parts = torch.split(out, [len(selection) for selection in self._pending])
            left = [selection[part] for selection, part in zip(self._pending, parts, strict=True)]
            self._pending = [selection for selection in left if len(selection)]

    def metrics(self) -> dict[str, float]:
        """`frac_unseen`: share of the latest selection never visited before; and the strategy's."""
        return dict(self._metrics)

    def predict(self, indices: Tensor) -> Tensor:
        """The expected success rate of these prompts, float32, shape of `indices`."""
        alpha, beta = self.posterior.current(indices)
        return alpha / (alpha + beta)

    def explain(self, indices: Any) -> dict[str, Tensor]:
        """Why these prompts rank where they do: the numbers behind the choice, one per prompt.

        Args:
            indices: integers of shape (m,).

        Returns:
            Columns of shape (m,): `success_rate`, `alpha`, `beta`, `visits`, `age` (steps since
            the latest visit) and the strategy's own terms, among them `score` where it ranks by
            one.
        """
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        alpha, beta = self.posterior.current(chosen)
        return {
            "success_rate": self.predict(chosen),
            "alpha": alpha,
            "beta": beta,
            "visits": self.posterior.visits[chosen],
            "age": self.selections - self.posterior.latest[chosen],
            **self._terms(chosen),
        }

    def _terms(self, indices: Tensor) -> dict[str, Tensor]:
        """The strategy's columns of `explain`."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Beliefs, seed, the number of selections so far, and what is in flight."""
        return {
            "strategy": type(self).__name__,
            "seed": self.seed,
            "selections": self.selections,
            "pending": [selection.clone() for selection in self._pending],
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
                    f"selector: expected {key} {value}, the checkpoint has {state.get(key)}; "
                    "resume with the settings of the run that wrote it"
                )
        self.posterior.load_state_dict(state["posterior"])
        self.selections = int(state["selections"])
        self._pending = [selection.clone() for selection in state["pending"]]

    def carried(self, state: dict[str, Any], change: PoolChange) -> dict[str, Any]:
        """See `Selector.carried`: prompts that start anew are as in a fresh run."""
        fresh = self.state_dict()
        result = {**state, "posterior": self.posterior.carried(state["posterior"], change)}
        result["pending"] = [change.positions(selection) for selection in state["pending"]]
        for name in self.per_prompt:
            result[name] = change.rows(state[name], fresh[name])
        for name in self.positions:
            result[name] = change.positions(state[name])
        return result

    def _generator(self, stream: int = 0) -> np.random.Generator:
        """The random stream of the present selection."""
        return np.random.default_rng((self.seed, self.selections, stream))
