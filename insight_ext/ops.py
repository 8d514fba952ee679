"""score and select_top_k: check once, then hand addresses to the kernel of the tensors' device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.utils.dlpack
from torch import Tensor

from insight_ext import _C
from insight_ext.errors import ArgumentError, BeliefError
from insight_ext.scores import Score, WeightedInformation

# What the kernel's outcome codes mean (csrc/top_k.h).
DONE, BAD_BELIEF, BAD_CANDIDATE, BAD_EXCLUSION, TOO_FEW_ELIGIBLE = range(5)

AUTOMATIC = -1  # the best instruction set of the processor


class Selection(NamedTuple):
    """The prompts selected.

    Attributes:
        indices: int64 (k,), places in the pool.
        scores: float32 (k,), the score of each.
    """

    indices: Tensor
    scores: Tensor


def as_tensor(name: str, values: Any) -> Tensor:
    """A tensor over the caller's memory: a tensor, a NumPy array, or anything with __dlpack__."""
    if isinstance(values, Tensor):
        return values
    if isinstance(values, np.ndarray):
        return torch.from_numpy(values)
    if hasattr(values, "__dlpack__"):
        return torch.utils.dlpack.from_dlpack(values)
    raise ArgumentError(
        f"{name}: expected a tensor, a NumPy array or an object with __dlpack__, "
        f"got {type(values).__name__}"
    )


def check_beliefs(alpha: Tensor, beta: Tensor) -> None:
    for name, values in (("alpha", alpha), ("beta", beta)):
        if values.dtype != torch.float32:
            raise ArgumentError(f"{name}: expected dtype float32, got {values.dtype}")
        if values.dim() != 1:
            raise ArgumentError(f"{name}: expected shape (N,), got {tuple(values.shape)}")
        if not values.is_contiguous():
            raise ArgumentError(
                f"{name}: expected contiguous memory, got strides {values.stride()}; "
                "call .contiguous() first"
            )
    if alpha.shape != beta.shape:
        raise ArgumentError(
            f"beta: expected alpha's shape {tuple(alpha.shape)}, got {tuple(beta.shape)}"
        )
    if alpha.device != beta.device:
        raise ArgumentError(f"beta: expected alpha's device {alpha.device}, got {beta.device}")


def raise_bad_belief(alpha: Tensor, beta: Tensor, index: int) -> None:
    raise BeliefError(
        f"beliefs: expected finite positive alpha and beta, got alpha={alpha[index].item()}, "
        f"beta={beta[index].item()} at index {index}",
        index,
    )


def score(alpha: Any, beta: Any, score: Score = WeightedInformation()) -> Tensor:  # noqa: B008
    """Scores every belief.

    Args:
        alpha, beta: float32 (N,), contiguous, finite and positive; tensors, NumPy arrays or
            anything with __dlpack__.
        score: which score.

    Returns:
        float32 (N,). For WeightedInformation nats times the weight; relative error at most
        1e-6 for alpha, beta >= 0.5.

    Raises:
        ArgumentError: wrong dtype, shape, device or layout.
        BeliefError: a belief that is not finite and positive; `index` is the first.

    Determinism: the same bits for any thread count and instruction set.

    Cost: one pass; the work is shared by torch.get_num_threads() threads.

    Example:
        >>> import torch
        >>> score(torch.tensor([1.0, 9.0]), torch.tensor([1.0, 1.0]))
        tensor([0.1699, 0.0080])
    """
    a, b = as_tensor("alpha", alpha), as_tensor("beta", beta)
    check_beliefs(a, b)
    out = torch.empty_like(a)
    if a.numel() == 0:
        return out
    code, where = _C.cpu.score(
        score.kind,
        score.parameters(),
        *score.stream(),
        a.data_ptr(),
        b.data_ptr(),
        a.numel(),
        out.data_ptr(),
        torch.get_num_threads(),
        AUTOMATIC,
    )
    if code == BAD_BELIEF:
        raise_bad_belief(a, b, where)
    return out


def check_subset(name: str, values: Any, n: int) -> tuple[Tensor | None, Tensor | None]:
    """(indices, None) for a list of prompts, (None, mask) for one bool per prompt."""
    if values is None:
        return None, None
    if isinstance(values, Sequence) and not isinstance(values, str):
        values = torch.tensor(values, dtype=torch.int64)
    subset = as_tensor(name, values)
    if subset.dtype not in (torch.int64, torch.bool):
        raise ArgumentError(f"{name}: expected int64 indices or a bool mask, got {subset.dtype}")
    if subset.dim() != 1 or not subset.is_contiguous():
        raise ArgumentError(
            f"{name}: expected one contiguous dimension, got shape {tuple(subset.shape)} "
            f"with strides {subset.stride()}"
        )
    if subset.dtype == torch.int64:
        return subset, None
    if subset.numel() != n:
        raise ArgumentError(
            f"{name}: expected a mask with one bool for each of {n} prompts, got {subset.numel()}"
        )
    return None, subset


def select_top_k(
    alpha: Any,
    beta: Any,
    k: int,
    score: Score = WeightedInformation(),  # noqa: B008
    *,
    seed: int = 0,
    candidates: Any = None,
    exclude: Any = None,
    sorted: bool = True,
) -> Selection:
    """Selects the k prompts whose score is largest.

    The order is total: score descending, then a hash of (seed, index) descending, then index
    ascending. Prompts never seen all tie, so the seed and not the data set's order decides.

    Args:
        alpha, beta: float32 (N,), contiguous, finite and positive; tensors, NumPy arrays or
            anything with __dlpack__.
        k: how many, from 1 to the number of eligible prompts.
        score: which score.
        seed: of the tie hash, 0 to 2^64 - 1.
        candidates: the prompts to choose from, as int64 indices (a set: repeats count once) or
            as a bool mask (N,); all if None.
        exclude: prompts not to choose (in flight, say), in either form; none if None.
        sorted: best first if true, by ascending index if not.

    Returns:
        Selection of int64 (k,) indices and their float32 (k,) scores.

    Raises:
        ArgumentError: k outside [1, eligible prompts]; wrong dtype, shape, device or layout; an
            index outside the pool.
        BeliefError: a belief that is not finite and positive; `index` is the first. With a list
            of candidates only theirs are read, otherwise all.

    Determinism: the same indices, in the same order, and the same bits for any thread count,
    instruction set and device.

    Cost: one pass at the memory's speed; memory O(k) a thread.

    Example:
        >>> import torch
        >>> alpha, beta = torch.tensor([9.0, 1.0, 3.0]), torch.tensor([1.0, 1.0, 7.0])
        >>> select_top_k(alpha, beta, 2).indices
        tensor([1, 2])
        >>> select_top_k(alpha, beta, 1, exclude=[1]).indices
        tensor([2])
    """
    a, b = as_tensor("alpha", alpha), as_tensor("beta", beta)
    check_beliefs(a, b)
    n = a.numel()
    if isinstance(k, bool) or not isinstance(k, int):
        raise ArgumentError(f"k: expected an int, got {k!r}")
    if not 1 <= k <= n:
        raise ArgumentError(f"k: expected 1 to the pool's {n} prompts, got {k}")
    if not 0 <= seed < 1 << 64:
        raise ArgumentError(f"seed: expected 0 to 2^64 - 1, got {seed}")
    listed, mask = check_subset("candidates", candidates, n)
    excluded, exclusion_mask = check_subset("exclude", exclude, n)
    indices = torch.empty(k, dtype=torch.int64)
    scores = torch.empty(k, dtype=torch.float32)
    code, where = _C.cpu.select_top_k(
        score.kind,
        score.parameters(),
        *score.stream(),
        a.data_ptr(),
        b.data_ptr(),
        n,
        k,
        seed,
        sorted,
        0 if listed is None else listed.data_ptr(),
        0 if listed is None else listed.numel(),
        0 if mask is None else mask.data_ptr(),
        0 if excluded is None else excluded.data_ptr(),
        0 if excluded is None else excluded.numel(),
        0 if exclusion_mask is None else exclusion_mask.data_ptr(),
        indices.data_ptr(),
        scores.data_ptr(),
        torch.get_num_threads(),
        AUTOMATIC,
        [],
    )
    if code == BAD_BELIEF:
        raise_bad_belief(a, b, where)
    if code == BAD_CANDIDATE and listed is not None:
        raise ArgumentError(
            f"candidates: expected indices in [0, {n}), got {int(listed[where])} at {where}"
        )
    if code == BAD_EXCLUSION and excluded is not None:
        raise ArgumentError(
            f"exclude: expected indices in [0, {n}), got {int(excluded[where])} at {where}"
        )
    if code == TOO_FEW_ELIGIBLE:
        raise ArgumentError(f"k: expected at most the {where} eligible prompts, got {k}")
    return Selection(indices, scores)
