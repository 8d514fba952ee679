"""AdaRFT: a target difficulty that follows the batch's reward."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from insight_ext.plugins import check_between
from insight_ext.predictors.features import check_each
from insight_ext.selectors.ranked import RankedSelector

HARDEST = 100.0


class AdaRft(RankedSelector):
    """Select the prompts whose difficulty is nearest to a target, and move the target.

        target <- clip(target + move tanh(sensitivity (mean reward - aim)), 0, 100)

    Args:
        pool_size, seed, common: see `RankedSelector`.
        difficulty: float tensor of shape (pool_size,), in [0, 100], known in advance, as published;
            `make_selector` takes `"meta:FIELD"`. None takes 100 (1 - success rate) of the present
            belief (deviation).
        start: first target, in [0, 100].
        move, sensitivity, aim: see the formula.

    Source: arXiv 2504.05520, algorithm 1; its code (limenlp/verl, commit fe9979a).

    Examples:
        >>> import torch
        >>> selector = AdaRft(3, difficulty=torch.tensor([0.0, 40.0, 100.0]))
        >>> selector.select(1, step=0).tolist()
        [0]
        >>> selector.observe([0], [8], 8, step=0)   # 0 + 50 tanh(2 (1 - 0.5))
        >>> round(selector.target, 2), selector.select(1, step=1).tolist()
        (38.08, [1])
    """

    settings = ("start", "move", "sensitivity", "aim")
    of_pool = ("difficulty",)
    values = ("target",)

    def __init__(
        self,
        pool_size: int,
        *,
        seed: int = 0,
        difficulty: Tensor | None = None,
        start: float = 0.0,
        move: float = 50.0,
        sensitivity: float = 2.0,
        aim: float = 0.5,
        **common: Any,
    ) -> None:
        super().__init__(pool_size, seed=seed, **common)
        check_between("a difficulty", 0.0, HARDEST, start=start)
        if difficulty is not None:
            check_each("difficulty", difficulty, "a difficulty", HARDEST, (pool_size,))
        self.difficulty = difficulty
        self.start = self.target = start
        self.move, self.sensitivity, self.aim = move, sensitivity, aim

    def _scores(self, indices: Tensor | None) -> Tensor:
        if self.difficulty is None:
            alpha, beta = self.posterior.current(indices)
            difficulty = HARDEST * beta / (alpha + beta)
        else:
            difficulty = self.difficulty if indices is None else self.difficulty[indices]
        return -(difficulty - self.target).abs()

    def _begin(self) -> None:
        super()._begin()
        self._metrics["target_difficulty"] = self.target

    def _learn(self, visited: Tensor, wins: Tensor, tries: Tensor) -> None:
        super()._learn(visited, wins, tries)
        reward = float((wins / tries).mean())
        moved = self.target + self.move * math.tanh(self.sensitivity * (reward - self.aim))
        self.target = min(max(moved, 0.0), HARDEST)
