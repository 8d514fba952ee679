"""DPS: a hidden Markov model of each prompt's state, all wrong, mixed or all right."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from insight_ext.errors import ArgumentError
from insight_ext.selectors.ranked import RankedSelector

WRONG, MIXED, RIGHT = range(3)


class Dps(RankedSelector):
    """Select by the probability of a mixed group, predicted by a three-state Markov model.

    Every prompt's distribution over the states moves by the transition matrix at each observed
    step, visited or not; a visit shows the state. The matrix is shared, its columns sum to 1, and
    its counts grow by the transitions that visits make likely.

    Args:
        pool_size, seed, common: see `RankedSelector`.
        persistence: prior count of staying in a state; every other transition has count 1.
        error: probability that a visit shows another state than the prompt is in, in (0, 0.5).

    Deviations: the paper's matrix is kept per prompt and fades towards its prior; with a few visits
    each there is little to learn a matrix from, so ours is shared, and its counts stay. There a
    visit shows the state without error. The whole pool is ranked, not drawn candidates.

    Source: arXiv 2603.10887, the state's prediction and update and the transition's soft counts;
    in part after its published code.

    Example:
        >>> selector = Dps(3)
        >>> selector.observe([0, 1, 2], [8, 3, 0], 8, step=0)
        >>> selector.select(1, step=1).tolist()
        [1]
    """

    settings = ("error",)
    per_prompt = ("states",)
    values = ("counts",)

    def __init__(
        self,
        pool_size: int,
        *,
        seed: int = 0,
        persistence: float = 8.0,
        error: float = 0.05,
        **common: Any,
    ) -> None:
        super().__init__(pool_size, seed=seed, **common)
        if persistence <= 0.0:
            raise ArgumentError(f"persistence: expected a positive count, got {persistence}")
        if not 0.0 < error < 0.5:
            raise ArgumentError(f"error: expected in (0, 0.5), got {error}")
        # counts[new, old]
        self.counts = torch.ones(3, 3) + (persistence - 1.0) * torch.eye(3)
        self.states = torch.full((pool_size, 3), 1.0 / 3.0)
        self.error = error
        self.emission = torch.full((3, 3), error / 2.0) + (1.0 - 1.5 * error) * torch.eye(3)

    @property
    def transition(self) -> Tensor:
        """P(new state | old state) at [new, old]: the columns sum to 1."""
        return self.counts / self.counts.sum(0)

    def _scores(self, indices: Tensor | None) -> Tensor:
        return self._mixed(self.states if indices is None else self.states[indices])

    def _mixed(self, states: Tensor) -> Tensor:
        """P(the next group is mixed), one step on from these distributions."""
        return states @ self.transition[MIXED]

    def _learn(self, visited: Tensor, wins: Tensor, tries: Tensor) -> None:
        super()._learn(visited, wins, tries)
        shown = torch.where(wins == 0, WRONG, torch.where(wins == tries, RIGHT, MIXED))
        # [prompt, new, old]
        joint = self.emission[shown][:, :, None] * self.transition * self.states[visited][:, None]
        joint /= joint.sum((1, 2), keepdim=True)
        self.states = self.states @ self.transition.T
        self.states[visited] = joint.sum(2)
        known = self.posterior.visits[visited] > 1
        self.counts += joint[known].sum(0)

    def _terms(self, indices: Tensor) -> dict[str, Tensor]:
        wrong, mixed, right = self.states[indices].unbind(1)
        return {**super()._terms(indices), "wrong": wrong, "mixed": mixed, "right": right}
