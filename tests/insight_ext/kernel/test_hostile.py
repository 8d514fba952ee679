"""Whatever the public names are given, an InsightError or the right answer comes back."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from insight_ext import _C
from insight_ext.errors import InsightError
from insight_ext.kernel import dispatch, reference
from insight_ext.kernel.index import PoolIndex
from insight_ext.kernel.ops import draw_distinct, merge_top_k, score, select_top_k
from insight_ext.kernel.scores import (
    ExpectedDifficulty,
    InverseEvidence,
    MixedGroup,
    Score,
    Thompson,
    WeightedInformation,
)

SCORES = [
    WeightedInformation(),
    Thompson(),
    ExpectedDifficulty(),
    InverseEvidence(),
    MixedGroup(),
]
INVALID = [0.0, -1.0, float("inf"), float("nan")]
EDGES = [-(2**63) - 1, -(2**63), -1, 0, 2**31, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**30]


class Wild(Score):
    """A score that somebody wrote: any formula, any numbers."""

    def __init__(self, kind: int, numbers: list[float]) -> None:
        self.number, self.numbers = kind, numbers

    @property
    def kind(self) -> int:
        return self.number

    def parameters(self) -> list[float]:
        return self.numbers


class Unshared:
    __dlpack__ = None


THINGS = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(EDGES),
    st.floats(),
    st.text(max_size=3),
    st.lists(st.one_of(st.integers(), st.floats(), st.text(max_size=1), st.none()), max_size=4),
    st.sampled_from(
        [
            object(),
            Score,
            Unshared(),
            np.float32(2.0),
            np.array(["a"]),
            np.array([None]),
            np.ones(9, ">f4"),
            np.ones(9, np.float32)[::-1],
            np.frombuffer(bytearray(37), np.float32, 9, 1),
            np.zeros((3, 3), np.int64),
            torch.ones(9, dtype=torch.float64),
            torch.ones(18)[::2],
            torch.ones(3, 3),
            torch.ones(()),
            torch.ones(0),
            torch.ones(9).to_sparse(),
            torch.ones(9, device="meta"),
            torch.ones(9, dtype=torch.int64, device="meta"),
            torch.ones(9, dtype=torch.complex64),
        ]
    ),
)


def mostly(sound: st.SearchStrategy[Any], hostile: st.SearchStrategy[Any] = THINGS) -> Any:
    return st.integers(0, 19).flatmap(lambda drawn: hostile if drawn == 0 else sound)


@st.composite
def pools(draw: Any) -> Any:
    n = draw(st.sampled_from([1, 9, 65, 700]))
    values = 1 + 40 * torch.rand(2, n, generator=torch.Generator().manual_seed(n))
    for place in draw(st.lists(st.integers(0, n - 1), max_size=draw(st.sampled_from([0, 0, 2])))):
        values[draw(st.integers(0, 1)), place] = draw(st.sampled_from(INVALID))
    return values


def subsets(n: int) -> Any:
    some = st.lists(st.integers(0, n - 1), max_size=2 * n)
    outside = st.lists(st.one_of(st.integers(0, n - 1), st.sampled_from(EDGES)), max_size=30)
    masks = st.integers(0, 3).map(lambda seed: np.random.default_rng(seed).random(n) < 0.7)
    # A run of sound indices as long as a chunk of the kernel, then another pool's.
    strangers = st.just(torch.cat([torch.arange(1024) % n, torch.arange(4096) + 40_000_000_000]))
    return mostly(st.one_of(st.none(), some, masks), st.one_of(THINGS, outside, strangers))


wild = st.builds(
    Wild,
    st.one_of(st.integers(-1, 9), st.sampled_from([2**31, 2**40])),
    st.lists(st.one_of(st.floats(), st.sampled_from([8.0, 0.3])), max_size=8),
)
chosen_scores = mostly(st.sampled_from(SCORES), st.one_of(THINGS, wild))
seeds = mostly(st.integers(0, 2**64 - 1), st.one_of(THINGS, st.sampled_from(EDGES)))


def told(call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """The answer; None if an InsightError says why there is none."""
    with suppress(InsightError):
        return call(*arguments, **options)
    return None


def members(subset: Any, n: int) -> set[int]:
    values = torch.as_tensor(subset)
    places = values.nonzero()[:, 0] if values.dtype == torch.bool else values
    assert all(0 <= place < n for place in places.tolist())
    return set(places.tolist())


unhurried = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@given(data=st.data())
@unhurried
def test_a_selection_is_right_or_an_insight_error(data: Any) -> None:
    pool = data.draw(pools())
    n = pool.shape[1]
    alpha = data.draw(mostly(st.just(pool[0])))
    beta = data.draw(mostly(st.just(pool[1])))
    k = data.draw(mostly(st.integers(1, n), st.one_of(THINGS, st.integers(-1, n + 1))))
    chosen, seed = data.draw(chosen_scores), data.draw(seeds)
    how = {"candidates": data.draw(subsets(n)), "exclude": data.draw(subsets(n))}
    got = told(select_top_k, alpha, beta, k, chosen, seed=seed, **how)
    if got is None or got.indices.is_meta:
        return
    size = len(alpha)
    allowed = set(range(size)) if how["candidates"] is None else members(how["candidates"], size)
    allowed -= set() if how["exclude"] is None else members(how["exclude"], size)
    # Invalid beliefs outside the list are not read; the specification scores them as others.
    a, b = (torch.as_tensor(values).clone() for values in (alpha, beta))
    unread = torch.ones(size, dtype=torch.bool)
    unread[sorted(allowed)] = False
    a[unread], b[unread] = 1.0, 1.0
    order = [i for i in reference.order(score(a, b, chosen), seed) if i in allowed]
    assert got.indices.tolist() == order[:k]


@given(data=st.data())
@unhurried
def test_scores_are_right_or_an_insight_error(data: Any) -> None:
    pool = data.draw(pools())
    alpha, beta = data.draw(mostly(st.just(pool[0]))), data.draw(mostly(st.just(pool[1])))
    first = data.draw(mostly(st.integers(0, 2**40), st.one_of(THINGS, st.sampled_from(EDGES))))
    chosen = data.draw(chosen_scores)
    got = told(score, alpha, beta, chosen, first=first)
    if got is None or got.is_meta or not len(got):
        return
    assert got.shape == torch.as_tensor(alpha).shape
    assert got.isfinite().all()


@given(data=st.data())
@unhurried
def test_an_index_is_right_or_an_insight_error(data: Any) -> None:
    pool = data.draw(pools())
    n = pool.shape[1]
    alpha, beta = data.draw(mostly(st.just(pool[0]))), data.draw(mostly(st.just(pool[1])))
    chosen = data.draw(chosen_scores)
    index = told(PoolIndex, alpha, beta, chosen, seed=3)
    if index is None:
        return
    for _ in range(3):
        if data.draw(st.booleans()):
            bad = data.draw(st.integers(0, len(index.alpha) - 1))
            sound = index.alpha[bad].item()
            index.alpha[bad] = data.draw(st.sampled_from(INVALID))
            with pytest.raises(InsightError):
                index.rebuild()
            index.alpha[bad] = sound
        changed = data.draw(subsets(n))
        told(index.update, changed)
        k = data.draw(mostly(st.integers(1, n), st.one_of(THINGS, st.integers(-1, n + 1))))
        exclude = data.draw(subsets(n))
        got = told(index.select, k, exclude=exclude)
        if got is not None:
            full = select_top_k(index.alpha, index.beta, k, chosen, seed=3, exclude=exclude)
            assert torch.equal(got.indices, full.indices)


@given(data=st.data())
@unhurried
def test_a_merge_is_right_or_an_insight_error(data: Any) -> None:
    count = data.draw(st.sampled_from([0, 1, 40]))
    sound = torch.rand(count, generator=torch.Generator().manual_seed(1))
    if count and data.draw(st.booleans()):
        sound[data.draw(st.lists(st.integers(0, count - 1), max_size=count))] = float("nan")
    indices = data.draw(mostly(st.just(torch.arange(count) * 7)))
    values = data.draw(mostly(st.just(sound)))
    k = data.draw(mostly(st.integers(1, 41), st.one_of(THINGS, st.sampled_from(EDGES))))
    seed = data.draw(seeds)
    got = told(merge_top_k, indices, values, k, seed=seed)
    if got is not None:
        assert not values.isnan().any()
        assert torch.equal(got.scores, values.sort(descending=True).values[:k])
        assert torch.isin(got.indices, indices).all()


@given(
    size=mostly(st.integers(0, 99), st.one_of(THINGS, st.sampled_from(EDGES))),
    count=mostly(st.integers(0, 99), st.one_of(THINGS, st.sampled_from([-(2**63), -1, 100]))),
    seed=mostly(st.integers()),
    draw=mostly(st.integers()),
)
@unhurried
def test_draws_are_distinct_or_an_insight_error(
    size: Any, count: Any, seed: Any, draw: Any
) -> None:
    if isinstance(count, int) and count > 10**6:
        return  # sound, but more than fits here
    got = told(draw_distinct, size, count, seed, draw)
    if got is not None:
        assert len(set(got.tolist())) == count
        assert all(0 <= place < size for place in got.tolist())


@pytest.mark.parametrize("chosen", SCORES, ids=lambda chosen: type(chosen).__name__)
def test_a_pool_that_another_thread_changes_gives_some_answer_in_the_pool(chosen: Score) -> None:
    n = 5_000
    alpha, beta = 1 + 40 * torch.rand(2, n, generator=torch.Generator().manual_seed(2))
    listed = torch.arange(0, n, 3)
    index = None if chosen.is_random else PoolIndex(alpha, beta, chosen)
    stop = threading.Event()

    def change() -> None:
        generator = torch.Generator().manual_seed(3)
        while not stop.is_set():
            places = torch.randint(0, n, (50,), generator=generator)
            for value in (*INVALID, 3.0, 1.0):
                alpha[places] = value
            listed[7], listed[7] = 2**62, 7

    changing = threading.Thread(target=change)
    changing.start()
    try:
        for turn in range(60):
            k = 1 + turn * 80
            answers = [
                told(select_top_k, alpha, beta, k, chosen),
                told(select_top_k, alpha, beta, 9, chosen, candidates=listed),
            ]
            if index is not None:
                answers.append(told(index.select, 7))
                told(index.update, listed)
                told(index.rebuild)
            for got in answers:
                assert got is None or ((got.indices >= 0) & (got.indices < n)).all()
    finally:
        stop.set()
        changing.join()


class InterruptError(Exception):
    pass


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("function", [_C.score_all, _C.select_top_k], ids=["score", "select"])
def test_a_signal_ends_a_long_call(function, threads):
    def interrupt(*_):
        raise InterruptError

    n, k = 20_000_000, 100  # seconds of work; the signal comes before
    beliefs, scores = torch.full((n,), 3.0), torch.full((n,), torch.nan)
    indices = torch.full((k,), -1)
    request = dispatch.request_of(
        (Thompson().kind, Thompson().parameters(), 1, 1),
        (beliefs.data_ptr(), beliefs.data_ptr(), n, 0),
        k=k,
    )
    result = dispatch.result_of(indices.data_ptr(), scores.data_ptr())
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.15)
    try:
        with pytest.raises(InterruptError):
            function(request, _C.Place(threads=threads), result)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    # What a call that went on to its end would have written.
    assert scores[-1].isnan()
    assert set(indices.tolist()) == {-1}
