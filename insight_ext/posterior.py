"""Beta beliefs about the success rate of every prompt of a pool."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from insight_ext.errors import ArgumentError, BeliefError, CheckpointError, ObservationError

FORMAT = 1


class BetaPosteriors:
    """One Beta(alpha, beta) belief per prompt, updated by the results of its rollouts.

    A visit with `s` successes of `K` rollouts moves a belief by

        alpha <- decay * alpha + (1 - decay) * prior_alpha + s
        beta  <- decay * beta  + (1 - decay) * prior_beta  + (K - s)

    Prompts that were not visited keep their belief.

    Args:
        n: number of prompts, at least 1.
        prior: (alpha, beta) of a prompt never visited, both finite and positive.
        decay: share of the old evidence that a visit keeps, in [0, 1]; 1 never forgets.
        device: where the beliefs live.

    Attributes:
        alpha, beta: float32 tensors of shape (n,).
        visits: int32 tensor of shape (n,), number of visits of each prompt.

    Raises:
        ArgumentError: n, prior or decay outside its domain.

    Determinism: updates are elementwise; equal calls give equal bits.

    Source: InSight (arXiv 2603.01907), eq. 6; decay as in MoPPS (arXiv 2507.04632).

    Example:
        >>> beliefs = BetaPosteriors(3)
        >>> beliefs.observe([2], successes=[5], rollouts=8)
        >>> beliefs.alpha.tolist(), beliefs.beta.tolist()
        ([1.0, 1.0, 6.0], [1.0, 1.0, 4.0])
    """

    def __init__(
        self,
        n: int,
        prior: tuple[float, float] = (1.0, 1.0),
        decay: float = 1.0,
        device: torch.device | str = "cpu",
    ) -> None:
        if n < 1:
            raise ArgumentError(f"n: expected at least one prompt, got {n}")
        if len(prior) != 2 or not all(math.isfinite(x) and x > 0 for x in prior):
            raise ArgumentError(f"prior: expected two finite positive numbers, got {prior}")
        if not 0.0 <= decay <= 1.0:
            raise ArgumentError(f"decay: expected a number in [0, 1], got {decay}")
        self.prior = (float(prior[0]), float(prior[1]))
        self.decay = float(decay)
        self.alpha = torch.full((n,), self.prior[0], dtype=torch.float32, device=device)
        self.beta = torch.full((n,), self.prior[1], dtype=torch.float32, device=device)
        self.visits = torch.zeros(n, dtype=torch.int32, device=device)

    def __len__(self) -> int:
        return len(self.alpha)

    @property
    def mean(self) -> Tensor:
        """Posterior mean of the success rate, float32 tensor of shape (n,)."""
        return self.alpha / (self.alpha + self.beta)

    def observe(self, indices: Any, successes: Any, rollouts: Any) -> None:
        """Update the beliefs of the visited prompts; nothing changes if anything is wrong.

        Args:
            indices: integers of shape (m,), in [0, n). An index that occurs more than once counts
                as one visit with the summed successes and rollouts.
            successes: integers of shape (m,), each in [0, rollouts].
            rollouts: one positive integer, or integers of shape (m,).

        Raises:
            ObservationError: shapes, dtypes or values outside the above; the first bad one named.

        Cost: O(m), independent of n.
        """
        indices, successes, rollouts = self._checked(indices, successes, rollouts)
        visited, position = torch.unique(indices, return_inverse=True)
        counts = torch.zeros((2, len(visited)), dtype=torch.int64, device=self.alpha.device)
        counts.index_add_(1, position, torch.stack((successes, rollouts - successes)))
        for belief, prior, count in zip(
            (self.alpha, self.beta), self.prior, counts.to(torch.float32), strict=True
        ):
            belief[visited] = self.decay * belief[visited] + ((1.0 - self.decay) * prior + count)
        self.visits[visited] += 1

    def _checked(self, indices: Any, successes: Any, rollouts: Any) -> tuple[Tensor, ...]:
        columns = {"indices": indices, "successes": successes, "rollouts": rollouts}
        for name, values in columns.items():
            column = torch.as_tensor(values, device=self.alpha.device)
            if column.numel() == 0:
                column = column.to(torch.int64)
            if column.is_floating_point() or column.is_complex() or column.dtype == torch.bool:
                raise ObservationError(f"{name}: expected integers, got {column.dtype}")
            columns[name] = column.to(torch.int64)
        indices, successes, rollouts = columns.values()
        if rollouts.ndim == 0:
            rollouts = rollouts.expand(indices.shape)
        for name, column in (("successes", successes), ("rollouts", rollouts)):
            if indices.ndim != 1 or column.shape != indices.shape:
                raise ObservationError(
                    f"{name}: expected one value per index, shape {tuple(indices.shape)} and one "
                    f"dimension, got {tuple(column.shape)}"
                )
        n = len(self)
        for name, column, bad, expected in (
            ("indices", indices, (indices < 0) | (indices >= n), f"in [0, {n})"),
            ("rollouts", rollouts, rollouts < 1, "at least 1"),
            ("successes", successes, (successes < 0) | (successes > rollouts), "in [0, rollouts]"),
        ):
            if bad.any():
                at = int(bad.nonzero()[0])
                of = f" of {int(rollouts[at])} rollouts" if name == "successes" else ""
                raise ObservationError(
                    f"{name}[{at}]: expected {expected}, got {int(column[at])}{of}; "
                    "no belief was changed"
                )
        return indices, successes, rollouts

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on: copies of the tensors, settings and the format's version."""
        return {
            "format": FORMAT,
            "alpha": self.alpha.clone(),
            "beta": self.beta.clone(),
            "visits": self.visits.clone(),
            "prior": list(self.prior),
            "decay": self.decay,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` saved; the present beliefs stay if the state does not fit.

        Raises:
            CheckpointError: other format, pool size, prior or decay.
            BeliefError: a saved belief is not finite or not positive.
        """
        expected = {"format": FORMAT, "prior": list(self.prior), "decay": self.decay}
        for key, value in expected.items():
            if state.get(key) != value:
                raise CheckpointError(
                    f"beliefs: expected {key} {value}, the checkpoint has {state.get(key)}; "
                    "resume with the settings of the run that wrote it"
                )
        for name in ("alpha", "beta", "visits"):
            saved = state.get(name)
            if not isinstance(saved, Tensor) or saved.shape != self.alpha.shape:
                got = tuple(saved.shape) if isinstance(saved, Tensor) else type(saved).__name__
                raise CheckpointError(
                    f"beliefs: expected {name} of shape {tuple(self.alpha.shape)}, got {got}; "
                    "the checkpoint belongs to a pool of another size"
                )
        for name in ("alpha", "beta"):
            bad = ~(torch.isfinite(state[name]) & (state[name] > 0))
            if bad.any():
                at = int(bad.nonzero()[0])
                raise BeliefError(
                    f"{name}[{at}]: expected finite and positive, got {float(state[name][at])} "
                    "in the checkpoint",
                    index=at,
                )
        for name in ("alpha", "beta", "visits"):
            getattr(self, name).copy_(state[name])
