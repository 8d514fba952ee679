"""GRESO: walk through shuffled epochs, skipping prompts whose groups keep coming back uniform."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from insight_ext.plugins import check_between
from insight_ext.selectors.base import NONE, BeliefSelector, isin

MINIMUM = 0.01
# Of a base probability.
BOUNDS = 0.05, 0.95
# Whole epochs without a full batch before the rest is taken as it comes.
PATIENCE = 100


def keep_probability(base: Tensor, streak: Tensor) -> Tensor:
    """max(base ** z, 0.01) for z visits in a row that came back all right or all wrong.

    Examples:
        >>> keep_probability(torch.tensor([0.5, 0.5, 0.5]), torch.tensor([0, 1, 9]))
        tensor([1.0000, 0.5000, 0.0100])
    """
    return (base**streak).clamp(min=MINIMUM)


class Greso(BeliefSelector):
    """Deal prompts from shuffled epochs, each kept with a probability that falls with its streak.

    A streak counts the latest visits in a row without mixed answers. All-right and all-wrong
    streaks have a base probability each, in [0.05, 0.95], which a step of the second epoch or a
    later one lowers where its share of such groups reached the target and raises where it did not.

    Args:
        pool_size, seed, common: see `BeliefSelector`.
        base: both base probabilities at the start, in [0.05, 0.95].
        easy_target, hard_target: wanted share of all-right and of all-wrong groups.
        adjustment: change of a base probability per step.

    As published, with these defaults: a quarter of the groups, one third of them easy, is the
    target. What follows the rollouts there, refilling where too few groups are mixed, is the filter
    `dynamic_sampling`; there a refill is a quarter larger.

    Source: arXiv 2506.02177, eq. 4 and section 4.2; its code (Infini-AI-Lab/GRESO, commit b277843)
    for the targets, the bounds and the first epoch.

    Examples:
        >>> sorted(Greso(4).select(4, step=0).tolist())
        [0, 1, 2, 3]
    """

    settings = ("adjustment", "easy_target", "hard_target")
    per_prompt = ("streak", "side")
    positions = ("_queue",)
    values = ("bases", "_epochs")

    def __init__(
        self,
        pool_size: int,
        *,
        seed: int = 0,
        base: float = 0.5,
        easy_target: float = 0.25 / 3,
        hard_target: float = 0.5 / 3,
        adjustment: float = 0.01,
        **common: Any,
    ) -> None:
        super().__init__(pool_size, seed=seed, **common)
        check_between("a probability", *BOUNDS, base=base)
        self.easy_target, self.hard_target = easy_target, hard_target
        self.targets = torch.tensor([hard_target, easy_target])
        self.adjustment = adjustment
        self.bases = torch.tensor([base, base])  # of all-wrong and all-right streaks
        self.streak = torch.zeros(pool_size, dtype=torch.int32)
        self.side = torch.zeros(pool_size, dtype=torch.int8)  # 1 where the streak is all right
        self._queue = NONE
        self._epochs = 0  # begun

    def _choose(self, k: int, exclude: Tensor) -> Tensor:
        random, chosen, before = self._generator(0, self._dealt), NONE, self._epochs
        while len(chosen) < k:
            if not len(self._queue):
                self._queue = torch.from_numpy(random.permutation(self.pool_size))
                self._epochs += 1
            is_patient = self._epochs - before <= PATIENCE
            walked = self._queue[: 2 * k]
            lot = torch.from_numpy(random.random(len(walked), dtype="f4"))
            kept = (lot < self._keep(walked)) if is_patient else torch.ones_like(lot).bool()
            kept &= ~isin(walked, torch.cat((exclude, chosen)))
            places = kept.nonzero()[: k - len(chosen), 0]
            chosen = torch.cat((chosen, walked[places]))
            last = int(places[-1]) + 1 if len(chosen) == k else len(walked)
            self._queue = self._queue[last:]
        return chosen

    def _keep(self, indices: Tensor) -> Tensor:
        return keep_probability(self.bases[self.side[indices].long()], self.streak[indices])

    def _learn(self, visited: Tensor, wins: Tensor, tries: Tensor) -> None:
        super()._learn(visited, wins, tries)
        right, wrong = wins == tries, wins == 0
        uniform = right | wrong
        goes_on = uniform & (
            (self.streak[visited] == 0) | (self.side[visited] == right.to(torch.int8))
        )
        self.streak[visited] = torch.where(
            goes_on, self.streak[visited] + 1, uniform.to(torch.int32)
        )
        self.side[visited] = right.to(torch.int8)
        if self._epochs > 1:
            share = torch.stack((wrong.float().mean(), right.float().mean()))
            self.bases += torch.where(share >= self.targets, -self.adjustment, self.adjustment)
            self.bases.clamp_(*BOUNDS)

    def _terms(self, indices: Tensor) -> dict[str, Tensor]:
        return {"streak": self.streak[indices], "keep": self._keep(indices)}
