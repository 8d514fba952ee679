"""DPS: a hidden Markov model of each prompt's state, all wrong, mixed or all right."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from insight_ext.errors import ArgumentError
from insight_ext.plugins import check_above_0, check_between
from insight_ext.selectors.ranked import RankedSelector

WRONG, MIXED, RIGHT = range(3)


class Dps(RankedSelector):
    """Select by the probability of a mixed group, predicted by a three-state Markov model.

    Every prompt's distribution over the states moves by the transition matrix at each observed
    step, visited or not; a visit shows the state. The matrix's columns sum to 1, and its counts
    grow by the transitions that visits make likely:

        counts <- memory counts + (1 - memory) prior + sum P(old, new | what the visits showed)

    Args:
        pool_size, seed, common: see `RankedSelector`.
        shared: one matrix for all prompts, or one for each.
        persistence: prior count of staying in a state; every other transition has count 1.
        memory: share of the counts that each observed step keeps, in [0, 1].
        error: probability that a visit shows another state than the prompt is in, in [0, 0.5).
        first_visit: whether a prompt's first visit counts as a transition, from a state unknown.

    As published: `shared=False, persistence=1, memory=0.5, error=0, first_visit=True,
    candidate_ratio=8`, on mathematics `memory=0.7, candidate_ratio=32`. The defaults are ours: with
    a few visits of each prompt there is little to learn a matrix from.

    Source: arXiv 2603.10887, the state's prediction and update and the transition's soft counts;
    its code (maoyixiu/DPS, commit 5654d52) for the numbers.

    Examples:
        >>> selector = Dps(3)
        >>> selector.observe([0, 1, 2], [8, 3, 0], 8, step=0)
        >>> selector.select(1, step=1).tolist()
        [1]
    """

    settings = ("shared", "persistence", "memory", "error", "first_visit")
    per_prompt = ("states",)

    def __init__(
        self,
        pool_size: int,
        *,
        seed: int = 0,
        shared: bool = True,
        persistence: float = 8.0,
        memory: float = 1.0,
        error: float = 0.05,
        first_visit: bool = False,
        **common: Any,
    ) -> None:
        super().__init__(pool_size, seed=seed, **common)
        check_above_0(persistence=persistence)
        if not 0.0 <= error < 0.5:
            raise ArgumentError(f"error: expected in [0, 0.5), got {error}")
        check_between("a share", 0.0, 1.0, memory=memory)
        self.shared, self.persistence, self.memory = shared, persistence, memory
        self.first_visit = first_visit
        # [new, old], with the prompt before them where each has its own.
        self._prior = torch.ones(3, 3) + (persistence - 1.0) * torch.eye(3)
        self.counts = self._prior.clone() if shared else self._prior.repeat(pool_size, 1, 1)
        if shared:
            self.values = ("counts",)
        else:
            self.per_prompt = ("counts",)
        self.states = torch.full((pool_size, 3), 1.0 / 3.0)
        self.error = error
        self.emission = torch.full((3, 3), error / 2.0) + (1.0 - 1.5 * error) * torch.eye(3)

    @property
    def transition(self) -> Tensor:
        """P(new state | old state) at [..., new, old]: the columns sum to 1."""
        return self.counts / self.counts.sum(-2, keepdim=True)

    def _scores(self, indices: Tensor | None) -> Tensor:
        """P(the next group is mixed): one step on from the present states."""
        chosen = slice(None) if indices is None else indices
        states, transition = self.states[chosen], self.transition
        if self.shared:
            return states @ transition[MIXED]
        return (states * transition[chosen, MIXED]).sum(1)

    def _learn(self, visited: Tensor, wins: Tensor, tries: Tensor) -> None:
        super()._learn(visited, wins, tries)
        shown = torch.where(wins == 0, WRONG, torch.where(wins == tries, RIGHT, MIXED))
        transition = self.transition
        # [prompt, new, old]
        moves = transition if self.shared else transition[visited]
        joint = self.emission[shown][:, :, None] * moves * self.states[visited][:, None]
        joint /= joint.sum((1, 2), keepdim=True)
        self.states = (transition @ self.states[:, :, None])[:, :, 0]
        self.states[visited] = joint.sum(2)
        self.counts = self.memory * self.counts + (1.0 - self.memory) * self._prior
        counts = self.first_visit | (self.posterior.visits[visited] > 1)
        if self.shared:
            self.counts += joint[counts].sum(0)
        else:
            self.counts[visited[counts]] += joint[counts]

    def _terms(self, indices: Tensor) -> dict[str, Tensor]:
        wrong, mixed, right = self.states[indices].unbind(1)
        return {**super()._terms(indices), "wrong": wrong, "mixed": mixed, "right": right}
