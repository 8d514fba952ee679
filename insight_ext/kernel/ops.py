"""score and select_top_k: check once, then call the operator of the tensors' device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.utils.dlpack
from torch import Tensor

from insight_ext import _C
from insight_ext.errors import ArgumentError
from insight_ext.kernel import dispatch
from insight_ext.kernel.dispatch import WORD, signed
from insight_ext.kernel.scores import Score, WeightedInformation

GOLDEN_RATIO = 0x9E3779B97F4A7C15  # of 2^64, odd
MOST = (1 << 63) - 1  # prompts that int64 can count


class Selection(NamedTuple):
    """The prompts selected.

    Attributes:
        indices: int64 (k,), places in the whole pool.
        scores: float32 (k,), the score of each.
    """

    indices: Tensor
    scores: Tensor


def as_tensor(name: str, values: Any) -> Tensor:
    """A tensor over the caller's memory: a tensor, a NumPy array, anything with `__dlpack__`."""
    if isinstance(values, Tensor):
        return values
    try:
        if isinstance(values, np.ndarray):
            return torch.from_numpy(values)
        if hasattr(values, "__dlpack__"):
            return torch.utils.dlpack.from_dlpack(values)
    except (TypeError, ValueError, AttributeError, RuntimeError, BufferError) as error:
        raise ArgumentError(f"{name}: expected memory that torch can share; {error}") from error
    raise ArgumentError(
        f"{name}: expected a tensor, a NumPy array or an object with __dlpack__, "
        f"got {type(values).__name__}"
    )


def check_array(name: str, values: Any, dtype: torch.dtype) -> None:
    """ArgumentError unless it is a dense tensor of this dtype with one dimension."""
    if not isinstance(values, Tensor):
        raise ArgumentError(f"{name}: expected a tensor, got {type(values).__name__}")
    if values.dtype is not dtype:
        raise ArgumentError(f"{name}: expected dtype {str(dtype)[6:]}, got {values.dtype}")
    if values.dim() != 1:
        raise ArgumentError(f"{name}: expected shape (N,), got {tuple(values.shape)}")
    if values.layout is not torch.strided:
        raise ArgumentError(f"{name}: expected dense memory, got {values.layout}")


def check_int(name: str, value: Any) -> None:
    """ArgumentError unless it is an int."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ArgumentError(f"{name}: expected an int, got {value!r}")


def check_k(k: Any, n: int) -> None:
    """ArgumentError unless so many can be selected from n prompts."""
    check_int("k", k)
    if not 1 <= k <= n:
        raise ArgumentError(f"k: expected 1 to the pool's {n} prompts, got {k}")


def check_sorted(sorted: Any) -> None:
    """ArgumentError unless it is a bool."""
    if not isinstance(sorted, bool):
        raise ArgumentError(f"sorted: expected True or False, got {sorted!r}")


def check_beliefs(alpha: Tensor, beta: Tensor) -> None:
    """ArgumentError unless both are float32 (N,), contiguous and on one device."""
    for name, values in (("alpha", alpha), ("beta", beta)):
        check_array(name, values, torch.float32)
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


def check_score(score: Any) -> None:
    """ArgumentError unless this is a score, not its name or its class."""
    if not isinstance(score, Score):
        raise ArgumentError(
            f"score: expected an object such as WeightedInformation(), got {score!r}"
        )


def check_seed(seed: int) -> None:
    """ArgumentError unless it is a 64-bit word."""
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < WORD:
        raise ArgumentError(f"seed: expected 0 to 2^64 - 1, got {seed!r}")


def check_first(first: Any, count: int) -> None:
    """ArgumentError unless `count` prompts from this one on can be counted in 63 bits."""
    if isinstance(first, bool) or not isinstance(first, int) or not 0 <= first <= MOST - count:
        raise ArgumentError(
            f"first: expected an int from 0 on, with the pool's end below 2^63, got {first!r}"
        )


def score(
    alpha: Any,
    beta: Any,
    score: Score = WeightedInformation(),  # noqa: B008
    *,
    first: int = 0,
) -> Tensor:
    """Scores every belief.

    Args:
        alpha, beta: float32 (N,), contiguous, finite and positive; tensors, NumPy arrays or
            anything with `__dlpack__`.
        score: which score.
        first: the place in the whole pool of the first belief given. Random scores draw by place.

    Returns:
        float32 (N,). For WeightedInformation nats times the weight; relative error at most
        1e-6 for alpha, beta >= 0.5.

    Raises:
        ArgumentError: wrong dtype, shape, device or layout.
        BeliefError: a belief that is not finite and positive; `index` is the first, in the whole
            pool.

    Determinism: the same bits for any thread count and instruction set.

    Cost: one pass, shared by the threads of set_num_threads().

    Examples:
        >>> import torch
        >>> score(torch.tensor([1.0, 9.0]), torch.tensor([1.0, 1.0]))
        tensor([0.1699, 0.0080])
    """
    a, b = as_tensor("alpha", alpha), as_tensor("beta", beta)
    check_beliefs(a, b)
    check_score(score)
    check_first(first, a.numel())
    seed, draw = score.stream()
    call = dispatch.score_operator if dispatch.is_watched(a, b) else dispatch.score
    return call(a, b, first, score.kind, score.parameters(), signed(seed), signed(draw))


def as_subset(name: str, values: Any, device: torch.device | str) -> Tensor:
    """int64 indices or a bool mask; ArgumentError if it is neither. A list goes to `device`."""
    if isinstance(values, Sequence) and not isinstance(values, str):
        # A list of bools is a mask and 1.7 no position: torch decides what kind of list this is.
        try:
            values = torch.tensor(values or [], device=device)
        except (TypeError, ValueError, RuntimeError, OverflowError) as error:
            raise ArgumentError(
                f"{name}: expected int64 indices or a bool mask, got {values!r:.80}"
            ) from error
        if not values.numel():
            values = values.to(torch.int64)
    subset = as_tensor(name, values)
    if subset.dtype not in (torch.int64, torch.bool):
        raise ArgumentError(f"{name}: expected int64 indices or a bool mask, got {subset.dtype}")
    if subset.layout != torch.strided:
        raise ArgumentError(f"{name}: expected dense memory, got {subset.layout}")
    if subset.dim() != 1 or not subset.is_contiguous():
        raise ArgumentError(
            f"{name}: expected one contiguous dimension, got shape {tuple(subset.shape)} "
            f"with strides {subset.stride()}"
        )
    return subset


def check_subset(name: str, values: Any, beliefs: Tensor) -> Tensor | None:
    """`candidates` or `exclude` of these beliefs; ArgumentError if they do not fit."""
    if values is None:
        return None
    subset = as_subset(name, values, beliefs.device)
    if subset.device != beliefs.device:
        raise ArgumentError(
            f"{name}: expected the beliefs' device {beliefs.device}, got {subset.device}"
        )
    return subset


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
    first: int = 0,
) -> Selection:
    """Selects the k prompts whose score is largest.

    The order is total: score descending, then a hash of (seed, index) descending, then index
    ascending. Prompts never seen all tie, so the seed and not the data set's order decides.

    Args:
        alpha, beta: float32 (N,), contiguous, finite and positive; tensors, NumPy arrays or
            anything with `__dlpack__`.
        k: how many, from 1 to the number of eligible prompts.
        score: which score.
        seed: of the tie hash, 0 to 2^64 - 1; see `tie_seed` where a run selects many times.
        candidates: the prompts to choose from, as int64 places in `alpha` (a set: repeats count
            once) or as a bool mask (N,); all if None.
        exclude: prompts not to choose (in flight, say), in either form; none if None.
        sorted: best first if true, by ascending index if not.
        first: the place in the whole pool of the first belief given, for a pool that is held in
            parts. What goes in is told by places in `alpha`, what comes out by
            places in the whole pool: `first + i` for belief i.

    Returns:
        Selection of int64 (k,) indices and their float32 (k,) scores.

    Raises:
        ArgumentError: k outside [1, eligible prompts]; wrong dtype, shape, device or layout; an
            index outside the pool.
        BeliefError: a belief that is not finite and positive; `index` is the first, in the whole
            pool. With a list of candidates only theirs are read, otherwise all.

    Determinism: the same indices, in the same order, and the same bits for any thread count,
    instruction set and device.

    Cost: one pass at the memory's speed; memory O(k) a thread.

    Examples:
        >>> import torch
        >>> alpha, beta = torch.tensor([9.0, 1.0, 3.0]), torch.tensor([1.0, 1.0, 7.0])
        >>> select_top_k(alpha, beta, 2).indices
        tensor([1, 2])
        >>> select_top_k(alpha, beta, 1, exclude=[1]).indices
        tensor([2])
        >>> select_top_k(alpha[1:], beta[1:], 2, first=1).indices  # the latter part of that pool
        tensor([1, 2])
    """
    a, b = as_tensor("alpha", alpha), as_tensor("beta", beta)
    check_beliefs(a, b)
    n = a.numel()
    check_k(k, n)
    check_sorted(sorted)
    check_seed(seed)
    check_score(score)
    check_first(first, n)
    score_seed, draw = score.stream()
    wanted = check_subset("candidates", candidates, a)
    unwanted = check_subset("exclude", exclude, a)
    call = dispatch.select_operator if dispatch.is_watched(a, b) else dispatch.select_top_k
    return Selection(
        *call(
            a,
            b,
            first,
            k,
            score.kind,
            score.parameters(),
            signed(score_seed),
            signed(draw),
            signed(seed),
            sorted,
            wanted,
            unwanted,
        )
    )


def merge_top_k(
    indices: Tensor, scores: Tensor, k: int, *, seed: int = 0, sorted: bool = True
) -> Selection:
    """The k best of the prompts that selections from the parts of a pool found.

    Args:
        indices: int64 (m,), different places in the whole pool, on the CPU.
        scores: float32 (m,), their scores, on the CPU.
        k: from 1 on.
        seed, sorted: as `select_top_k` got them.

    Raises:
        ArgumentError: fewer than k prompts, or k below 1; a score that is NaN; wrong dtype, shape,
            device or layout.

    Determinism: what a selection from the whole pool answers, if each part sent its k best or all.

    Cost: O(m + k log k).

    Examples:
        >>> merge_top_k(torch.tensor([4, 0, 7]), torch.tensor([0.1, 0.3, 0.2]), 2).indices
        tensor([0, 7])
    """
    check_array("indices", indices, torch.int64)
    check_array("scores", scores, torch.float32)
    for name, values in (("indices", indices), ("scores", scores)):
        if values.device.type != "cpu":
            raise ArgumentError(f"{name}: expected the CPU, got {values.device}")
    if indices.shape != scores.shape:
        raise ArgumentError(
            f"scores: expected one for each of {indices.numel()} prompts, got {scores.numel()}"
        )
    check_int("k", k)
    check_seed(seed)
    check_sorted(sorted)
    found, values = indices.contiguous(), scores.contiguous()
    length = min(max(k, 0), len(found))  # any other k is refused
    best = torch.empty(length, dtype=torch.int64)
    best_scores = torch.empty(length, dtype=torch.float32)
    request = dispatch.request_of(k=min(max(k, -MOST), MOST), seed=seed, sorted=sorted)
    result = dispatch.result_of(best.data_ptr(), best_scores.data_ptr())
    _C.merge_top_k(request, found.data_ptr(), values.data_ptr(), len(found), result)
    return Selection(best, best_scores)


def top_k(
    scores: Tensor,
    k: int,
    *,
    seed: int = 0,
    indices: Tensor | None = None,
    exclude: Tensor | None = None,
) -> Tensor:
    """The k prompts of the largest score given, in the kernel's order.

    Args:
        scores: floats (m,), no NaN, on the CPU.
        k: from 1 to the number of prompts that are not excluded.
        seed: of the tie hash, see `select_top_k`.
        indices: int64 (m,), whose scores these are, distinct; None: prompt i has score i.
        exclude: int64 prompts not to choose.

    Returns:
        int64 (k,), best first.

    Raises:
        ArgumentError: fewer than k prompts.

    Determinism: of equal float32 scores the order of `select_top_k` decides; the k best are the
    first of any larger number of best.

    Cost: O(m).

    Examples:
        >>> top_k(torch.tensor([0.1, 0.3, 0.2]), 2, exclude=torch.tensor([1])).tolist()
        [2, 0]
    """
    values = scores.float()
    if exclude is not None and len(exclude):
        free = torch.ones(len(values), dtype=torch.bool)
        free[exclude if indices is None else torch.isin(indices, exclude)] = False
        places = free.nonzero()[:, 0]
        values, indices = values[places], places if indices is None else indices[places]
    if 1 <= k < len(values):
        cut = values.topk(k, sorted=False).values.min()
        places = (values >= cut).nonzero()[:, 0]
        values, indices = values[places], places if indices is None else indices[places]
    elif indices is None:
        indices = torch.arange(len(values))
    return merge_top_k(indices, values, k, seed=seed).indices


def tie_seed(seed: int, selection: int) -> int:
    """The seed of `select_top_k` for one selection of a run: runs share none of their ties.

    A sum would give run 1 the ties of run 0, one step early. Multiples of the golden ratio lie far
    apart: for seeds below 2^31 and selections below 2^32 no two pairs have the same result. The
    kernel mixes it before use, so neighbouring results have nothing in common.

    Args:
        seed: of the run, 0 or more.
        selection: its number within the run, 0 or more.

    Returns:
        0 to 2^64 - 1.

    Examples:
        >>> tie_seed(0, 1), tie_seed(1, 0)
        (1, 11400714819323198485)
    """
    return (seed * GOLDEN_RATIO + selection) % WORD


def draw_distinct(size: int, count: int, seed: int, draw: int) -> Tensor:
    """`count` distinct integers in [0, size), every set equally likely.

    Args:
        size, count: 0 <= count <= size.
        seed, draw: what the result depends on beside the sizes.

    Returns:
        int64 of shape (count,), in no particular order.

    Raises:
        ArgumentError: a size below 0, a count outside [0, size], an argument that is no int.

    Cost: O(count).
    """
    for name, value in (("size", size), ("count", count), ("seed", seed), ("draw", draw)):
        check_int(name, value)
    if not 0 <= size <= MOST:
        raise ArgumentError(f"size: expected 0 to 2^63 - 1, got {size}")
    if not 0 <= count <= size:
        raise ArgumentError(f"count: expected 0 to the {size} there are, got {count}")
    drawn = torch.empty(count, dtype=torch.int64)
    _C.draw_distinct(size, count, seed % WORD, draw % WORD, drawn.data_ptr())
    return drawn
