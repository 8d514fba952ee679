"""Selectors that rank by one of the kernel's scores."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from insight_ext.kernel.index import PoolIndex
from insight_ext.kernel.ops import score, select_top_k, tie_seed
from insight_ext.kernel.scores import Score
from insight_ext.selectors.ranked import RankedSelector

ROLLOUTS = 8
"""K of a score where neither the strategy nor a loop says another."""


class KernelScoredSelector(RankedSelector):
    """Takes the `k` prompts of the largest score, in one pass of the kernel.

    Ties, which are the normal state among unseen prompts, are broken by a hash of the seed, never
    by the order of the data. Where the whole pool is ranked by a score that changes with the
    beliefs alone, a `PoolIndex` answers instead of the pass, with the same prompts.

    Args:
        pool_size, seed, candidate_ratio, common: see `RankedSelector`.
    """

    takes_parts = True
    _index: PoolIndex | None = None
    _indexed: Score | None = None

    @property
    @abstractmethod
    def score(self) -> Score:
        """The score of the present step."""

    def _scores(self, indices: Tensor | None) -> Tensor:
        return score(*self.posterior.current(indices), self.score)

    def _best(self, k: int, candidates: Tensor | None, exclude: Tensor) -> Tensor:
        available = self.pool_size - len(exclude) if candidates is None else len(candidates)
        # One more than asked for tells whether the cut goes through a tie.
        wanted = min(k + 1, available)
        index = self._pool_index() if candidates is None else None
        if index is not None:
            best = index.select(wanted, exclude=exclude)
        else:
            best = select_top_k(
                *self.posterior.current(),
                wanted,
                self.score,
                seed=self._tie_seed,
                candidates=candidates,
                exclude=exclude if candidates is None and len(exclude) else None,
            )
        scores = best.scores.tolist()
        straddles = scores[k:] == scores[k - 1 : k]
        self._metrics["frac_tied_at_cut"] = (scores.count(scores[k]) - 1) / k if straddles else 0.0
        return best.indices[:k]

    @property
    def _tie_seed(self) -> int:
        # One for the whole run where nothing else is random: what an index keeps stays true.
        drawn = self.candidate_ratio is not None or self.score.is_random
        return tie_seed(self.seed, self._step if drawn else 0)

    def _pool_index(self) -> PoolIndex | None:
        """The index of the present beliefs, where there can be one."""
        beliefs, present = self.posterior, self.score
        if present.is_random or self.candidate_ratio is not None or beliefs.half_life is not None:
            return None
        if beliefs.alpha.device.type != "cpu":
            return None
        if self._index is None or self._indexed != present:
            self._index = PoolIndex(beliefs.alpha, beliefs.beta, present, seed=self._tie_seed)
            self._indexed = present
        return self._index

    def _learn(self, visited: Tensor, wins: Tensor, tries: Tensor) -> None:
        base = self.posterior.base
        super()._learn(visited, wins, tries)
        if self._index is not None and self.posterior.base is base:
            self._index.update(visited)
        else:
            self._index = None

    def _apply(self, state: Mapping[str, Any]) -> None:
        super()._apply(state)
        self._index = None

    def __getstate__(self) -> dict[str, object]:
        # A copy makes an index of its own.
        return {**vars(self), "_index": None}

    def _terms(self, indices: Tensor) -> dict[str, Tensor]:
        # Of a random score there is nothing to tell: the next step draws anew.
        return {} if self.score.is_random else super()._terms(indices)
