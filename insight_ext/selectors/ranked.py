"""Choosing by a score of each prompt: from candidates drawn, or from the whole pool."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from insight_ext.kernel.ops import draw_distinct, tie_seed, top_k
from insight_ext.plugins import whole
from insight_ext.selectors.base import NONE, BeliefSelector, next_of, without
from insight_ext.state import Names

# Between the numbers of a step's draws of candidates, so that none is that of another step.
STEPS = 1 << 40


class RankedSelector(BeliefSelector):
    """Takes the `k` prompts of the largest score; a strategy adds `_scores`.

    The order is the kernel's: score, then a hash of seed and position, then position. It is the
    same throughout a step, so that many small calls choose what one large call chooses, where the
    whole pool is ranked. A step that comes back for more is expected to ask for as many as the
    step before, and for as many as it has asked for: so many are ranked ahead.

    Args:
        pool_size, seed, common: see `BeliefSelector`.
        candidate_ratio: candidates per selected prompt, at least 1, drawn uniformly without
            replacement; None ranks the whole pool.
    """

    settings: Names = ("candidate_ratio",)
    positions: tuple[str | Names, ...] = ("_ranking",)

    def __init__(
        self,
        pool_size: int,
        *,
        seed: int = 0,
        candidate_ratio: int | None = None,
        **common: Any,
    ) -> None:
        super().__init__(pool_size, seed=seed, **common)
        if candidate_ratio is not None:
            candidate_ratio = whole("candidate_ratio", candidate_ratio, 1)
        self.candidate_ratio = candidate_ratio
        self._ranking = NONE  # the next prompts of the step

    @abstractmethod
    def _scores(self, indices: Tensor | None) -> Tensor:
        """A new float tensor: the score of each of these prompts, or of all; larger is better."""

    def _begin(self) -> None:
        self._ranking = NONE

    def _choose(self, k: int, exclude: Tensor) -> Tensor:
        chosen, self._ranking = next_of(self._ranking, k, exclude)
        if len(chosen) < k:
            exclude = torch.cat((exclude, chosen)) if len(chosen) else exclude
            ranking = self._best(self._ahead(exclude), self._candidates(exclude), exclude)
            more = k - len(chosen)
            chosen, self._ranking = torch.cat((chosen, ranking[:more])), ranking[more:]
        return chosen

    def _ahead(self, exclude: Tensor) -> int:
        """How many to rank: what the step is expected to ask for yet."""
        expected = max(self._dealt, self._before - self._dealt) if self._dealt else 0
        return min(max(self._asked, expected), self.pool_size - len(exclude))

    def _best(self, k: int, candidates: Tensor | None, exclude: Tensor) -> Tensor:
        """The k best of these candidates, or of all but the excluded; best first."""
        return self._top(self._scores(candidates), k, candidates, exclude)

    def _top(self, scores: Tensor, k: int, candidates: Tensor | None, exclude: Tensor) -> Tensor:
        """Those of the k largest of these scores; see `_best`."""
        out = exclude if candidates is None else None
        return top_k(scores, k, seed=self._tie_seed, indices=candidates, exclude=out)

    @property
    def _tie_seed(self) -> int:
        return tie_seed(self.seed, self._step)

    def _candidates(self, exclude: Tensor) -> Tensor | None:
        """The prompts to choose from, none of them excluded; None for the whole pool."""
        free = self.pool_size - len(exclude)
        if self.candidate_ratio is None or self.candidate_ratio * self._ahead(exclude) >= free:
            return None
        count = self.candidate_ratio * self._ahead(exclude)
        return without(draw_distinct(free, count, self.seed, self._draw), exclude)

    @property
    def _draw(self) -> int:
        """The number of the present draw of candidates."""
        return self._step + STEPS * self._dealt

    def _race(self, log_weights: Tensor, indices: Tensor | None) -> Tensor:
        """Scores whose k largest are k prompts drawn without replacement, by these weights.

        They come in the order of Exponential(1) / weight, the smallest first (Efraimidis and
        Spirakis, 2006).
        """
        drawn = self._generator(3) if indices is None else self._generator(3, self._dealt)
        race = drawn.standard_exponential(len(log_weights), dtype="f4")
        return log_weights - torch.from_numpy(race).log_()

    def _terms(self, indices: Tensor) -> dict[str, Tensor]:
        return {"score": self._scores(indices)}
