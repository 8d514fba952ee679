"""Selection from a pool of which little changes between two steps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from insight_ext import _C
from insight_ext.errors import ArgumentError
from insight_ext.kernel.dispatch import place_of, request_of, result_of, subset_of
from insight_ext.kernel.ops import (
    Selection,
    as_tensor,
    check_beliefs,
    check_k,
    check_score,
    check_seed,
    check_sorted,
    check_subset,
)
from insight_ext.kernel.scores import Score, WeightedInformation


class PoolIndex:
    """Keeps the best candidate of every block of a pool, so that a selection reads few blocks.

    A training step changes the beliefs of the prompts it rolled out and no others. Tell the index
    which, and it selects in time that hardly grows with the pool, with exactly the answer of
    `select_top_k`. Where every score changes each step (draws, a decay of all beliefs) there is
    nothing to keep: random scores are refused, and after such a decay call `rebuild` or use the
    full pass.

    Args:
        alpha, beta: float32 (N,) tensors on the CPU, contiguous. They are read in place: change
            them only in place, and report each change with `update`.
        score: which score; not a random one.
        seed: of the tie hash.

    Raises:
        ArgumentError: a random score; wrong dtype, shape, device or layout.
        BeliefError: a belief that is not finite and positive; `index` is the first.

    Determinism: the answers of select_top_k, bit for bit.

    Cost: to build, one pass; 12 bytes for 128 prompts.

    Examples:
        >>> alpha, beta = torch.ones(1000), torch.ones(1000)
        >>> index = PoolIndex(alpha, beta)
        >>> first = index.select(4).indices
        >>> alpha[first] += 8
        >>> index.update(first)
        >>> bool(torch.isin(index.select(4).indices, first).any())
        False
    """

    def __init__(
        self,
        alpha: Tensor,
        beta: Tensor,
        score: Score = WeightedInformation(),  # noqa: B008
        *,
        seed: int = 0,
    ) -> None:
        alpha, beta = as_tensor("alpha", alpha), as_tensor("beta", beta)
        check_beliefs(alpha, beta)
        check_score(score)
        if alpha.device.type != "cpu" or alpha.numel() == 0:
            raise ArgumentError(
                "alpha: expected at least one belief on the CPU, "
                f"got {alpha.numel()} on {alpha.device}"
            )
        if score.is_random:
            raise ArgumentError(
                f"score: expected one that changes with the beliefs alone, got {score!r}; "
                "use select_top_k"
            )
        check_seed(seed)
        self.alpha, self.beta = alpha, beta
        self._memory = self._present_memory()
        request = request_of(
            (score.kind, score.parameters(), 0, 0),
            (alpha.data_ptr(), beta.data_ptr(), alpha.numel(), 0),
            seed=seed,
        )
        self._index = _C.Index(request, place_of(alpha))
        self.rebuild()

    def rebuild(self) -> None:
        """Reads every belief again, after a change that no list describes.

        Raises:
            BeliefError: an invalid belief; `index` is the first. The next selection reads every
                belief again.
        """
        self._check_memory()
        self._index.rebuild()

    def update(self, indices: Any) -> None:
        """Takes note that the beliefs at these int64 indices have changed.

        Raises:
            ArgumentError: an index outside the pool.
            BeliefError: an invalid belief. Then no change is noted: mend it, and tell all again.

        Cost: the blocks that hold them, 128 beliefs each.
        """
        self._check_memory()
        changed = check_subset("indices", indices, self.alpha)
        if changed is None or changed.dtype != torch.int64:
            raise ArgumentError(f"indices: expected int64 indices, got {indices!r}")
        self._index.update(subset_of(changed))

    def select(self, k: int, *, exclude: Any = None, sorted: bool = True) -> Selection:
        """The k best prompts, as `select_top_k` selects them.

        Args:
            k: from 1 to the number of prompts that are not excluded.
            exclude: int64 indices of prompts not to choose.
            sorted: best first if true, by ascending index if not.

        Raises:
            ArgumentError: k or exclude as in `select_top_k`.
            BeliefError: an invalid belief among those that were read.

        Cost: about k + len(exclude) blocks of 128 beliefs; a pass after a rebuild that failed.
        """
        self._check_memory()
        check_sorted(sorted)
        check_k(k, self.alpha.numel())
        excluded = check_subset("exclude", exclude, self.alpha)
        if excluded is not None and excluded.dtype != torch.int64:
            raise ArgumentError(f"exclude: expected int64 indices, got {excluded.dtype}")
        indices = torch.empty(k, dtype=torch.int64)
        scores = torch.empty(k, dtype=torch.float32)
        result = result_of(indices.data_ptr(), scores.data_ptr())
        self._index.select(k, sorted, subset_of(excluded), result)
        return Selection(indices, scores)

    @property
    def visited(self) -> int:
        """How many beliefs the latest selection looked at."""
        return self._index.visited()

    def _present_memory(self) -> tuple[int, int, int, int]:
        alpha, beta = self.alpha, self.beta
        return alpha.data_ptr(), alpha.numel(), beta.data_ptr(), beta.numel()

    def _check_memory(self) -> None:
        if self._present_memory() != self._memory:
            raise ArgumentError(
                "alpha, beta: expected the memory that the index was built over, but the tensors "
                "were resized or moved; build a new PoolIndex"
            )
