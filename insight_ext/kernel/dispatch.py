"""The kernel as PyTorch operators: one for every device, and shapes for the compiler.

csrc/insight.h checks the arguments and says what is wrong with them. Here tensors become addresses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor

from insight_ext import _C
from insight_ext.errors import ArgumentError

WORD = 1 << 64
MOST_THREADS = (1 << 31) - 1


@dataclass
class Execution:
    """How the kernel runs. Nothing here changes a result.

    Attributes:
        threads: on the CPU, at most; torch.get_num_threads() if None.
        instruction_set: on the CPU, one of build_info()'s; the best if None.
        tuning: for each kind of device the numbers that tests force so that every path is walked
            (Tuning in csrc/cpu/cpu.h and csrc/cuda/cuda.h).
    """

    threads: int | None = None
    instruction_set: str | None = None
    tuning: dict[str, dict[str, int]] = field(default_factory=dict)


execution = Execution()


def set_num_threads(threads: int | None) -> None:
    """Sets how many threads score and select on the CPU.

    Args:
        threads: at least 1, of which a call starts what its size is worth and the system grants;
            None follows torch.get_num_threads(), as at the start. (Some rollout
            engines replace torch.set_num_threads by a no-op; this one stays.)

    Raises:
        ArgumentError: threads no int, or below 1.

    Determinism: results do not depend on it.

    Examples:
        >>> set_num_threads(None)
    """
    if threads is not None:
        if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
            raise ArgumentError(f"threads: expected at least 1 or None, got {threads!r}")
        threads = min(threads, MOST_THREADS)
    execution.threads = threads


def signed(word: int) -> int:
    """A 64-bit word as the signed integer that an operator's argument can carry."""
    return word - WORD if word >= WORD // 2 else word


def subset_of(values: Tensor | None) -> tuple[int, int, bool] | None:
    """Address, elements, and whether it is a mask."""
    if values is None:
        return None
    return values.data_ptr(), values.numel(), values.dtype == torch.bool


def place_of(memory: Tensor) -> _C.Place:
    """Its device, with the current stream if that has one."""
    # A tensor's device takes longer to ask than a small pool to select from.
    kind, index, stream = "cpu", 0, 0
    if not memory.is_cpu:
        kind, index = memory.device.type, memory.device.index or 0
        if kind == "cuda":
            stream = torch.cuda.current_stream(memory.device).cuda_stream
    threads = execution.threads or torch.get_num_threads()
    tuning = tuple(execution.tuning[kind].items()) if kind in execution.tuning else ()
    return place(kind, index, stream, threads, execution.instruction_set, tuning)


# A call on a small pool is shorter than the making of its place.
place = lru_cache(maxsize=64)(_C.Place)


def is_captured(device: torch.device) -> bool:
    """Whether this device's current stream is being captured into a graph."""
    with torch.cuda.device(device):
        return torch.cuda.is_current_stream_capturing()


def request_of(
    score: _C.Score = (0, [], 0, 0),
    beliefs: _C.Beliefs = (0, 0, 0, 0),
    candidates: _C.Subset = None,
    exclude: _C.Subset = None,
    k: int = 0,
    seed: int = 0,
    sorted: bool = True,
) -> _C.Request:
    """What is asked, as insight_request of csrc/insight.h."""
    return score, beliefs, candidates, exclude, k, seed, sorted


def result_of(
    indices: int = 0, scores: int = 0, outcome: int = 0, workspace: int = 0, size: int = 0
) -> _C.Result:
    """Where the answer goes, as insight_result of csrc/insight.h."""
    return indices, scores, outcome, workspace, size


def call(
    function: Callable[[_C.Request, _C.Place, _C.Result], None],
    request: _C.Request,
    memory: Tensor,
    indices: int,
    scores: int,
) -> None:
    """Calls it with the room that this memory's device needs."""
    there = place_of(memory)
    if memory.is_cpu:
        return function(request, there, result_of(indices, scores))
    device = memory.device
    size = _C.workspace_bytes(request, there)
    workspace = torch.empty(size, dtype=torch.uint8, device=device)
    # While a graph is captured nothing may be read back: a failure shows as indices of -1.
    outcome = torch.empty(2 * is_captured(device), dtype=torch.int64, device=device)
    room = outcome.data_ptr(), workspace.data_ptr(), size
    return function(request, there, result_of(indices, scores, *room))


def score(
    alpha: Tensor,
    beta: Tensor,
    first: int,
    kind: int,
    parameters: list[float],
    score_seed: int,
    draw: int,
) -> Tensor:
    scores = torch.empty_like(alpha)
    request = request_of(
        (kind, parameters, score_seed % WORD, draw % WORD),
        (alpha.data_ptr(), beta.data_ptr(), alpha.numel(), first),
    )
    call(_C.score_all, request, alpha, 0, scores.data_ptr())
    return scores


def select_top_k(
    alpha: Tensor,
    beta: Tensor,
    first: int,
    k: int,
    kind: int,
    parameters: list[float],
    score_seed: int,
    draw: int,
    seed: int,
    sorted: bool,
    candidates: Tensor | None,
    exclude: Tensor | None,
) -> tuple[Tensor, Tensor]:
    request = request_of(
        (kind, parameters, score_seed % WORD, draw % WORD),
        (alpha.data_ptr(), beta.data_ptr(), alpha.numel(), first),
        subset_of(candidates),
        subset_of(exclude),
        k,
        seed % WORD,
        sorted,
    )
    indices, scores = alpha.new_empty(k, dtype=torch.int64), alpha.new_empty(k)
    call(_C.select_top_k, request, alpha, indices.data_ptr(), scores.data_ptr())
    return indices, scores


def score_shape(alpha: Tensor, *others: Any) -> Tensor:
    return torch.empty_like(alpha)


def select_shape(
    alpha: Tensor, beta: Tensor, first: int, k: int, *others: Any
) -> tuple[Tensor, Tensor]:
    return alpha.new_empty(k, dtype=torch.int64), alpha.new_empty(k)


library: Any = torch.library.Library("insight_ext", "DEF")  # type: ignore[no-untyped-call]
SCORE = "int kind, float[] parameters, int score_seed, int draw"
library.define(f"score(Tensor alpha, Tensor beta, int first, {SCORE}) -> Tensor")
library.define(
    f"select_top_k(Tensor alpha, Tensor beta, int first, SymInt k, {SCORE}, int seed, "
    "bool sorted, Tensor? candidates, Tensor? exclude) -> (Tensor, Tensor)"
)
library.impl("score", score, "CompositeExplicitAutograd")
library.impl("select_top_k", select_top_k, "CompositeExplicitAutograd")
torch.library.register_fake("insight_ext::score", score_shape, lib=library)
torch.library.register_fake("insight_ext::select_top_k", select_shape, lib=library)
score_operator: Callable[..., Tensor] = torch.ops.insight_ext.score.default
select_operator: Callable[..., tuple[Tensor, Tensor]] = torch.ops.insight_ext.select_top_k.default

is_compiling = torch.compiler.is_compiling
is_included = torch._C._dispatch_tls_is_dispatch_key_included
MODE, TRANSFORM, TRACER = [
    cast(Any, torch._C._parse_dispatch_key(name))
    for name in ("Python", "FuncTorchDynamicLayerFrontMode", "Tracer")
]


def is_watched(alpha: Tensor, beta: Tensor) -> bool:
    """Whether a compiler, a tracer, a mode, a transform or a subclass wants to see an operator.

    Nobody else does, and the dispatcher takes longer than a selection from a small pool.
    """
    return (
        not type(alpha) is type(beta) is Tensor
        or is_compiling()
        or is_included(MODE)
        or is_included(TRANSFORM)
        or is_included(TRACER)
    )
