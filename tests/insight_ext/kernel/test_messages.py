"""Whatever csrc/insight.h refuses, it refuses in the sentence that Python raises."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np
import pytest
import torch

from insight_ext import _C, InsightError, Thompson, WeightedInformation, select_top_k
from insight_ext.kernel import dispatch
from insight_ext.kernel.ops import draw_distinct, merge_top_k
from insight_ext.kernel.scores import ExpectedDifficulty, MixedGroup

LIBRARY = ctypes.CDLL(_C.__file__)
LIBRARY.insight_message.restype = ctypes.c_char_p
WORD, INT64, POINTER = ctypes.c_uint64, ctypes.c_int64, ctypes.c_void_p
ABSENT, LIST, MASK = range(3)


class CScore(ctypes.Structure):
    _fields_ = (
        ("kind", INT64),
        ("parameter_count", INT64),
        ("parameters", ctypes.c_double * 6),
        ("stream", WORD * 2),
    )


class CRequest(ctypes.Structure):
    _fields_ = (
        ("bytes", WORD),
        ("score", CScore),
        *((name, POINTER) for name in ("alpha", "beta")),
        *((name, INT64) for name in ("size", "first", "wanted_form")),
        *(("wanted", POINTER), ("wanted_size", INT64), ("unwanted_form", INT64)),
        *(("unwanted", POINTER), ("unwanted_size", INT64), ("k", INT64), ("seed", WORD)),
        ("sorted", ctypes.c_bool),
    )


class CSetting(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("value", INT64))


class CPlace(ctypes.Structure):
    _fields_ = (
        *(("bytes", WORD), ("device", ctypes.c_char_p), ("index", INT64), ("stream", POINTER)),
        *(("threads", INT64), ("instruction_set", ctypes.c_char_p)),
        *(("tuning", ctypes.POINTER(CSetting)), ("tuning_size", INT64), ("is_stopped", POINTER)),
    )


class CResult(ctypes.Structure):
    _fields_ = (
        ("bytes", WORD),
        *((name, POINTER) for name in ("indices", "scores", "outcome", "workspace")),
        ("workspace_bytes", INT64),
    )


ALPHA, BETA = np.full(10, 2, np.float32), np.full(10, 3, np.float32)
BAD = ALPHA.copy()
BAD[7] = np.nan
INDICES, SCORES = np.zeros(10, np.int64), np.zeros(10, np.float32)
RESULT = CResult(ctypes.sizeof(CResult), INDICES.ctypes.data, SCORES.ctypes.data)


def subset(values: np.ndarray | None) -> tuple[int, int | None, int]:
    if values is None:
        return ABSENT, None, 0
    return MASK if values.dtype == bool else LIST, values.ctypes.data, len(values)


def asked(
    k: int = 2,
    alpha: np.ndarray = ALPHA,
    kind: int = 0,
    parameters: tuple[float, ...] = (8.0, 3.0, 0.3),
    *,
    first: int = 0,
    candidates: np.ndarray | None = None,
    exclude: np.ndarray | None = None,
) -> CRequest:
    score = CScore(kind, len(parameters), parameters)
    pool = alpha.ctypes.data, BETA.ctypes.data, 10, first
    restricted = *subset(candidates), *subset(exclude)
    return CRequest(ctypes.sizeof(CRequest), score, *pool, *restricted, k)


def selected(*arguments: object, instruction_set: bytes | None = None, tuning: bytes = b"", **more):
    """The message of insight_select_top_k."""
    settings = (CSetting * 1)(CSetting(tuning, 1))
    place = CPlace(ctypes.sizeof(CPlace), None, 0, None, 1, instruction_set, settings, bool(tuning))
    request = asked(*arguments, **more)
    LIBRARY.insight_select_top_k(*map(ctypes.byref, (request, place, RESULT)))
    return LIBRARY.insight_message().decode()


def merged(k: int, scores: np.ndarray) -> str:
    indices = np.arange(len(scores))
    arrays = POINTER(indices.ctypes.data), POINTER(scores.ctypes.data), INT64(len(scores))
    LIBRARY.insight_merge_top_k(ctypes.byref(asked(k)), *arrays, ctypes.byref(RESULT))
    return LIBRARY.insight_message().decode()


def drawn(size: int, count: int) -> str:
    numbers = INT64(size), INT64(count), WORD(0), WORD(0)
    LIBRARY.insight_draw_distinct(*numbers, POINTER(INDICES.ctypes.data))
    return LIBRARY.insight_message().decode()


def python(k: int = 2, alpha: np.ndarray = ALPHA, **more: object) -> None:
    select_top_k(alpha, BETA, k, **more)


def tuned(**changed: object) -> None:
    before = {name: getattr(dispatch.execution, name) for name in changed}
    try:
        vars(dispatch.execution).update(changed)
        python()
    finally:
        vars(dispatch.execution).update(before)


OUTSIDE, SHORT = np.array([1, 10]), np.ones(9, bool)
FEW, NONE = np.arange(9), np.array([], np.int64)
NAN = np.array([1, np.nan], np.float32)
REFUSALS: dict[str, tuple[Callable[[], object], Callable[[], str]]] = {
    "no k": (lambda: python(0), lambda: selected(0)),
    "k above N": (lambda: python(11), lambda: selected(11)),
    "rollouts": (lambda: MixedGroup(513), lambda: selected(2, ALPHA, 7, (513.0,))),
    "eta": (lambda: WeightedInformation(eta=-1.5), lambda: selected(2, ALPHA, 0, (8, -1.5, 0.3))),
    "large eta": (lambda: WeightedInformation(eta=2e6), lambda: selected(2, ALPHA, 1, (8, 2e6, 0))),
    "mu": (lambda: WeightedInformation(mu=3.0), lambda: selected(2, ALPHA, 2, (8, 3, 3.0))),
    "no mu": (
        lambda: WeightedInformation(mu=float("nan")),
        lambda: selected(2, ALPHA, 3, (8, 3, float("nan"))),
    ),
    "target": (lambda: Thompson(1.25), lambda: selected(2, ALPHA, 4, (1.25,))),
    "negative target": (lambda: ExpectedDifficulty(-1), lambda: selected(2, ALPHA, 5, (-1.0,))),
    "first": (lambda: python(first=-1), lambda: selected(first=-1)),
    "belief": (lambda: python(alpha=BAD), lambda: selected(2, BAD)),
    "belief of a part": (lambda: python(alpha=BAD, first=9), lambda: selected(2, BAD, first=9)),
    "candidate": (lambda: python(candidates=OUTSIDE), lambda: selected(candidates=OUTSIDE)),
    "no candidate": (lambda: python(candidates=NONE), lambda: selected(candidates=NONE)),
    "exclusion": (lambda: python(exclude=OUTSIDE), lambda: selected(exclude=OUTSIDE)),
    "mask": (lambda: python(exclude=SHORT), lambda: selected(exclude=SHORT)),
    "too few": (lambda: python(exclude=FEW), lambda: selected(exclude=FEW)),
    "no number": (
        lambda: merge_top_k(torch.arange(2), torch.from_numpy(NAN), 1),
        lambda: merged(1, NAN),
    ),
    "too few of the parts": (
        lambda: merge_top_k(torch.arange(2), torch.ones(2), 3),
        lambda: merged(3, np.ones(2, np.float32)),
    ),
    "too many to draw": (lambda: draw_distinct(3, 4, 0, 0), lambda: drawn(3, 4)),
    "instruction set": (
        lambda: tuned(instruction_set="mmx"),
        lambda: selected(instruction_set=b"mmx"),
    ),
    "tuning": (lambda: tuned(tuning={"cpu": {"no": 1}}), lambda: selected(tuning=b"no")),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_python_and_c_refuse_in_the_same_words(what: str) -> None:
    python_call, c_call = REFUSALS[what]
    with pytest.raises(InsightError) as raised:
        python_call()
    assert str(raised.value) == c_call()
