"""The kernel as PyTorch operators: one registration per device, and shapes for the compiler.

Arguments arrive checked (ops.py); what only the pass over the data can find out is raised here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from insight_ext import _C
from insight_ext.errors import ArgumentError, BeliefError, DeviceError

# What the kernel's outcome codes mean (csrc/top_k.h).
DONE, BAD_BELIEF, BAD_CANDIDATE, BAD_EXCLUSION, TOO_FEW_ELIGIBLE, BAD_SCORE, CHANGED = range(7)

WORD = 1 << 64
MOST_THREADS = (1 << 31) - 1  # that the kernel's int can say


@dataclass
class Execution:
    """How the CPU back end runs. Nothing here changes a result.

    Attributes:
        threads: how many; torch.get_num_threads() if None.
        instruction_set: 0 portable, 1 AVX2, 2 AVX-512; the processor's best if -1.
        tuning: numbers that tests force so that every path is walked (csrc/bindings.cpp).
    """

    threads: int | None = None
    instruction_set: int = -1
    tuning: list[int] = field(default_factory=list)

    def thread_count(self) -> int:
        return torch.get_num_threads() if self.threads is None else self.threads


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

    Example:
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


def address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def size(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.numel()


def split(subset: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """(indices, None) for a list of prompts, (None, mask) for one bool per prompt."""
    if subset is None:
        return None, None
    return (None, subset) if subset.dtype == torch.bool else (subset, None)


def raise_for(
    code: int,
    where: int,
    alpha: Tensor,
    beta: Tensor,
    k: int = 0,
    candidates: Tensor | None = None,
    exclude: Tensor | None = None,
    first: int = 0,
) -> None:
    if code == BAD_BELIEF:
        raise BeliefError(
            "beliefs: expected finite positive alpha and beta, got "
            f"alpha={alpha[where].item()}, beta={beta[where].item()} at index {first + where}",
            first + where,
        )
    for bad, name, listed in (
        (BAD_CANDIDATE, "candidates", candidates),
        (BAD_EXCLUSION, "exclude", exclude),
    ):
        if code == bad and listed is not None:
            raise ArgumentError(
                f"{name}: expected indices in [0, {alpha.numel()}), "
                f"got {int(listed[where])} at position {where}"
            )
    if code == TOO_FEW_ELIGIBLE:
        raise ArgumentError(f"k: expected at most the {where} eligible prompts, got {k}")
    if code == BAD_SCORE:
        raise ArgumentError(f"scores: expected numbers, got NaN at position {where}")
    if code == CHANGED:
        raise BeliefError(
            "beliefs: expected them to stay as they are while a selection runs, but they changed; "
            "let it end first, and select again"
        )


def is_capturing(device: torch.device) -> bool:
    """Whether this device's current stream is being captured into a graph."""
    with torch.cuda.device(device):
        return torch.cuda.is_current_stream_capturing()


def require_cuda(device: torch.device) -> None:
    if not hasattr(_C, "cuda"):
        raise DeviceError(
            f"device: got tensors on {device}, but insight_ext was built without CUDA; "
            "move them to the CPU, or build with INSIGHT_CUDA=ON"
        )


def cpu_score(
    alpha: Tensor,
    beta: Tensor,
    first: int,
    kind: int,
    parameters: list[float],
    score_seed: int,
    draw: int,
) -> Tensor:
    scores = torch.empty_like(alpha)
    code, where = _C.cpu.score(
        kind,
        parameters,
        score_seed % WORD,
        draw % WORD,
        alpha.data_ptr(),
        beta.data_ptr(),
        alpha.numel(),
        first,
        scores.data_ptr(),
        execution.thread_count(),
        execution.instruction_set,
    )
    if code != DONE:
        raise_for(code, where, alpha, beta, first=first)
    return scores


def cuda_score(
    alpha: Tensor,
    beta: Tensor,
    first: int,
    kind: int,
    parameters: list[float],
    score_seed: int,
    draw: int,
) -> Tensor:
    require_cuda(alpha.device)
    scores = torch.empty_like(alpha)
    outcome = torch.empty(2, dtype=torch.int64, device=alpha.device)
    _C.cuda.score(
        kind,
        parameters,
        score_seed % WORD,
        draw % WORD,
        alpha.data_ptr(),
        beta.data_ptr(),
        alpha.numel(),
        first,
        scores.data_ptr(),
        outcome.data_ptr(),
        alpha.device.index,
        torch.cuda.current_stream(alpha.device).cuda_stream,
    )
    if not is_capturing(alpha.device):
        code, where = outcome.tolist()
        raise_for(code, where, alpha, beta, first=first)
    return scores


def cpu_select_top_k(
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
    listed, mask = split(candidates)
    excluded, exclusion_mask = split(exclude)
    indices = torch.empty(k, dtype=torch.int64)
    scores = torch.empty(k, dtype=torch.float32)
    code, where = _C.cpu.select_top_k(
        kind,
        parameters,
        score_seed % WORD,
        draw % WORD,
        alpha.data_ptr(),
        beta.data_ptr(),
        alpha.numel(),
        first,
        k,
        seed % WORD,
        sorted,
        address(listed),
        size(listed),
        address(mask),
        address(excluded),
        size(excluded),
        address(exclusion_mask),
        indices.data_ptr(),
        scores.data_ptr(),
        execution.thread_count(),
        execution.instruction_set,
        execution.tuning,
    )
    if code != DONE:
        raise_for(code, where, alpha, beta, k, listed, excluded, first)
    return indices, scores


def cuda_select_top_k(
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
    require_cuda(alpha.device)
    listed, mask = split(candidates)
    excluded, exclusion_mask = split(exclude)
    device, n = alpha.device, alpha.numel()
    tuning = execution.tuning
    bytes_needed = _C.cuda.workspace_bytes(n, k, listed is not None, excluded is not None, tuning)
    workspace = torch.empty(bytes_needed, dtype=torch.uint8, device=device)
    indices = torch.empty(k, dtype=torch.int64, device=device)
    scores = torch.empty(k, dtype=torch.float32, device=device)
    outcome = torch.empty(2, dtype=torch.int64, device=device)
    _C.cuda.select_top_k(
        kind,
        parameters,
        score_seed % WORD,
        draw % WORD,
        alpha.data_ptr(),
        beta.data_ptr(),
        n,
        first,
        k,
        seed % WORD,
        sorted,
        address(listed),
        size(listed),
        address(mask),
        address(excluded),
        size(excluded),
        address(exclusion_mask),
        indices.data_ptr(),
        scores.data_ptr(),
        workspace.data_ptr(),
        outcome.data_ptr(),
        device.index,
        torch.cuda.current_stream(device).cuda_stream,
        tuning,
    )
    # While a graph is captured nothing may be read back: a failure shows as indices of -1.
    if not is_capturing(alpha.device):
        code, where = outcome.tolist()
        raise_for(code, where, alpha, beta, k, listed, excluded, first)
    return indices, scores


def fake_score(
    alpha: Tensor,
    beta: Tensor,
    first: int,
    kind: int,
    parameters: list[float],
    score_seed: int,
    draw: int,
) -> Tensor:
    return torch.empty_like(alpha)


def fake_select_top_k(
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
    return alpha.new_empty(k, dtype=torch.int64), alpha.new_empty(k)


library: Any = torch.library.Library("insight_ext", "DEF")  # type: ignore[no-untyped-call]
SCORE = "int kind, float[] parameters, int score_seed, int draw"
library.define(f"score(Tensor alpha, Tensor beta, int first, {SCORE}) -> Tensor")
library.define(
    f"select_top_k(Tensor alpha, Tensor beta, int first, SymInt k, {SCORE}, int seed, "
    "bool sorted, Tensor? candidates, Tensor? exclude) -> (Tensor, Tensor)"
)
library.impl("score", cpu_score, "CPU")
library.impl("score", cuda_score, "CUDA")
library.impl("select_top_k", cpu_select_top_k, "CPU")
library.impl("select_top_k", cuda_select_top_k, "CUDA")
torch.library.register_fake("insight_ext::score", fake_score, lib=library)
torch.library.register_fake("insight_ext::select_top_k", fake_select_top_k, lib=library)
score_operator: Callable[..., Tensor] = torch.ops.insight_ext.score.default
select_operator: Callable[..., tuple[Tensor, Tensor]] = torch.ops.insight_ext.select_top_k.default
