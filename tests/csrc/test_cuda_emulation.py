"""The CUDA kernels, compiled for an emulated device, give the CPU back end's answers bit for bit.

What only a GPU can show (its memory model, its arithmetic, its speed) is in
tests/insight_ext/kernel/test_cuda.py.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from insight_ext import select_top_k
from insight_ext.errors import ArgumentError, BeliefError
from insight_ext.kernel import scores
from insight_ext.kernel.ops import score as cpu_score
from insight_ext.kernel.scores import Score, WeightedInformation

HERE = Path(__file__).resolve().parent
DONE, BAD_BELIEF, BAD_CANDIDATE, BAD_EXCLUSION, TOO_FEW_ELIGIBLE = range(5)
CHANGED = 6

# Tuning: unsampled, sample_rank, capacity (csrc/cuda/cuda.h). Pools of more than 2,048 start from
# a sample here; rank 1 asks for a threshold that too few pass, rank 1,500 for one that overflows
# the small capacity. A rank or capacity of 0 is not forced.
USUAL = (0, 0, 0)
TOO_FEW = (0, 1, 0)
TOO_MANY = (0, 1500, 1)

SCORES = [
    WeightedInformation(),
    WeightedInformation(rollouts=1, eta=0.5, mu=0.7),
    scores.Thompson(seed=5, draw=2),
    scores.ExpectedDifficulty(),
    scores.InverseEvidence(),
    scores.MixedGroup(),
]


@pytest.fixture(scope="session")
def device(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("the emulated device is compiled by g++, and there is none")
    library = tmp_path_factory.mktemp("emulation") / "emulation.so"
    folder = HERE / "cuda_emulation"
    options = [
        "-std=c++20",
        "-O1",
        "-Wall",
        "-Wextra",
        "-ffp-contract=off",
        "-fPIC",
        "-shared",
        "-pthread",
    ]
    subprocess.run(
        [compiler, *options, "-I", folder, folder / "emulation.cpp", "-o", library], check=True
    )
    return ctypes.CDLL(str(library))


def address(values: np.ndarray | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(0 if values is None else values.ctypes.data)


def words(score: Score) -> tuple[int, ctypes.Array, ctypes.c_uint64, ctypes.c_uint64]:
    seed, draw = score.stream()
    parameters = (ctypes.c_double * 6)(*score.parameters())
    return score.kind, parameters, ctypes.c_uint64(seed), ctypes.c_uint64(draw)


def emulate(
    device: ctypes.CDLL,
    alpha: np.ndarray,
    beta: np.ndarray,
    k: int,
    score: Score = SCORES[0],
    *,
    seed: int = 0,
    sorted: bool = True,
    first: int = 0,
    candidates: np.ndarray | None = None,
    exclude: np.ndarray | None = None,
    tuning: tuple[int, int, int] = USUAL,
    multiprocessors: int = 1,
    order: int = 0,
) -> tuple[int, int, np.ndarray, np.ndarray]:
    """Outcome code and place, indices and scores of the emulated kernel."""
    device.emulate(multiprocessors, ctypes.c_uint64(order))
    outcome = np.full(2, -7, np.int64)
    indices, values = np.full(k, -9, np.int64), np.zeros(k, np.float32)

    def forms(subset: np.ndarray | None) -> tuple[ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p]:
        if subset is None or subset.dtype == bool:
            return address(None), ctypes.c_int64(0), address(subset)
        return address(subset), ctypes.c_int64(len(subset)), address(None)

    forced = np.array(tuning, np.int64)
    device.emulated_select_top_k.restype = ctypes.c_bool
    accepted = device.emulated_select_top_k(
        *words(score),
        address(alpha),
        address(beta),
        ctypes.c_int64(len(alpha)),
        ctypes.c_int64(first),
        ctypes.c_int64(k),
        ctypes.c_uint64(seed),
        ctypes.c_bool(sorted),
        *forms(candidates),
        *forms(exclude),
        address(forced),
        address(outcome),
        address(indices),
        address(values),
    )
    if not accepted:
        raise ArgumentError("refused")
    return int(outcome[0]), int(outcome[1]), indices, values


def assert_same(device: ctypes.CDLL, alpha: np.ndarray, beta: np.ndarray, k: int, **how) -> None:
    code, _, indices, values = emulate(device, alpha, beta, k, **how)
    for only_emulated in ("tuning", "multiprocessors", "order"):
        how.pop(only_emulated, None)
    expected = select_top_k(alpha, beta, k, how.pop("score", SCORES[0]), **how)
    assert code == DONE
    np.testing.assert_array_equal(indices, expected.indices.numpy())
    np.testing.assert_array_equal(values.view(np.int32), expected.scores.numpy().view(np.int32))


def settled(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    visits = random.integers(0, 25, n)
    solved = random.integers(0, 8 * visits + 1)
    return (1 + solved).astype(np.float32), (1 + 8 * visits - solved).astype(np.float32)


def varied(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.gamma(2, 5, n).astype(np.float32), random.gamma(2, 5, n).astype(np.float32)


@pytest.mark.parametrize("tuning", [USUAL, TOO_FEW, TOO_MANY], ids=["usual", "few", "many"])
@pytest.mark.parametrize("k", [1, 256, 4097])
def test_every_path_selects_what_the_cpu_selects(device: ctypes.CDLL, tuning, k) -> None:
    for alpha, beta in (settled(20_011), varied(20_011)):
        assert_same(device, alpha, beta, k, tuning=tuning, multiprocessors=2)


@pytest.mark.parametrize("tuning", [USUAL, TOO_FEW, TOO_MANY], ids=["usual", "few", "many"])
@pytest.mark.parametrize("score", SCORES, ids=lambda score: type(score).__name__)
def test_a_part_of_a_pool_is_ordered_as_in_the_whole(device: ctypes.CDLL, score, tuning) -> None:
    excluded = np.arange(0, 3_001, 3)
    for alpha, beta in (settled(3_001), (np.ones(3_001, np.float32),) * 2):
        how = {"score": score, "first": 98_765_432_101, "tuning": tuning}
        assert_same(device, alpha, beta, 100, **how)
        assert_same(device, alpha, beta, 100, sorted=False, exclude=excluded, **how)
        assert_same(device, alpha, beta, 2_500, sorted=False, **how)


@pytest.mark.parametrize("score", SCORES, ids=lambda score: type(score).__name__)
def test_every_score_selects_what_the_cpu_selects(device: ctypes.CDLL, score) -> None:
    alpha, beta = settled(3_001)
    assert_same(device, alpha, beta, 100, score=score)
    assert_same(device, alpha, beta, 100, score=score, tuning=TOO_FEW)


@pytest.mark.parametrize("first", [0, 98_765_432_101])
@pytest.mark.parametrize("score", SCORES, ids=lambda score: type(score).__name__)
def test_every_score_has_the_bits_of_the_cpu(device: ctypes.CDLL, score, first) -> None:
    alpha, beta = varied(3_001)
    outcome, values = np.full(2, -7, np.int64), np.zeros(len(alpha), np.float32)
    device.emulate(1, ctypes.c_uint64(0))
    device.emulated_score(
        *words(score),
        address(alpha),
        address(beta),
        ctypes.c_int64(len(alpha)),
        ctypes.c_int64(first),
        address(outcome),
        address(values),
    )
    expected = cpu_score(
        torch.from_numpy(alpha), torch.from_numpy(beta), score, first=first
    ).numpy()
    assert outcome.tolist() == [DONE, 0]
    np.testing.assert_array_equal(values.view(np.int32), expected.view(np.int32))


@pytest.mark.parametrize("tuning", [USUAL, TOO_FEW, TOO_MANY], ids=["usual", "few", "many"])
def test_ties_follow_the_seeded_hash(device: ctypes.CDLL, tuning) -> None:
    alpha = np.ones(9_973, np.float32)
    assert_same(device, alpha, alpha, 300, seed=2**63 + 5, tuning=tuning)
    two_valued = np.where(np.arange(9_973) % 40 == 0, 2, 3).astype(np.float32)
    assert_same(device, two_valued, two_valued, 300, seed=7, tuning=tuning)


def test_scores_within_one_ulp_are_told_apart(device: ctypes.CDLL) -> None:
    alpha = np.float32(5) + np.arange(9_000, dtype=np.float32) % 7 * np.spacing(np.float32(5))
    assert_same(device, alpha.astype(np.float32), np.full(9_000, 5, np.float32), 500)


@pytest.mark.parametrize("k", [1, 2, 2048, 2049, 6_999, 7_000])
def test_any_k_sorted_or_by_index(device: ctypes.CDLL, k) -> None:
    alpha, beta = settled(7_000, seed=3)
    assert_same(device, alpha, beta, k)
    assert_same(device, alpha, beta, k, sorted=False, multiprocessors=2)


@pytest.mark.parametrize("n", [1, 2, 31, 33, 127, 513, 2049])
def test_any_small_pool(device: ctypes.CDLL, n) -> None:
    alpha, beta = settled(n)
    for k in {1, n}:
        assert_same(device, alpha, beta, k)


def test_sorted_pools(device: ctypes.CDLL) -> None:
    alpha, beta = varied(12_000)
    rising = np.argsort(cpu_score(torch.from_numpy(alpha), torch.from_numpy(beta)).numpy())
    for order in (rising, rising[::-1]):
        assert_same(device, alpha[order], beta[order], 64)


def test_an_unaligned_start(device: ctypes.CDLL) -> None:
    alpha, beta = settled(8_005)
    assert_same(device, alpha[1:], beta[1:], 64)
    assert_same(device, alpha[3:], beta[:-3], 64, tuning=TOO_FEW)


@pytest.mark.parametrize("tuning", [USUAL, TOO_FEW, TOO_MANY], ids=["usual", "few", "many"])
def test_restricted_pools(device: ctypes.CDLL, tuning) -> None:
    random = np.random.default_rng(1)
    alpha, beta = settled(10_001)
    listed = random.integers(0, 10_001, 4_000)  # with repeats
    unlisted = random.integers(0, 10_001, 2_000)
    mask, masked_out = random.random(10_001) < 0.3, random.random(10_001) < 0.5
    for candidates in (None, listed, mask):
        for exclude in (None, unlisted, masked_out):
            assert_same(
                device, alpha, beta, 90, candidates=candidates, exclude=exclude, tuning=tuning
            )


def test_the_order_in_which_threads_run_changes_nothing(device: ctypes.CDLL) -> None:
    alpha, beta = varied(6_000)
    for tuning in (USUAL, TOO_FEW, TOO_MANY):
        for order in range(4):
            assert_same(
                device, alpha, beta, 2_500, tuning=tuning, order=order, multiprocessors=1 + order
            )


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 0.0, -1.0])
def test_the_first_bad_belief_is_found_and_nothing_selected(device: ctypes.CDLL, bad) -> None:
    alpha, beta = settled(5_000)
    beta[[3_333, 4_000]] = bad
    code, place, indices, values = emulate(device, alpha, beta, 10)
    assert (code, place) == (BAD_BELIEF, 3_333)
    assert (indices == -1).all()
    assert np.isnan(values).all()
    # Only the candidates' beliefs count, and the first in the list is the first.
    assert emulate(device, alpha, beta, 1, candidates=np.array([4_000, 9, 3_333]))[:2] == (
        BAD_BELIEF,
        4_000,
    )
    assert_same(device, alpha, beta, 2, candidates=np.array([5, 9, 11]))


def test_denormal_beliefs_are_beliefs(device: ctypes.CDLL) -> None:
    alpha, beta = settled(3_000)
    alpha[::7] = np.float32(1e-44)
    assert_same(device, alpha, beta, 40)


def test_faults_of_lists(device: ctypes.CDLL) -> None:
    alpha, beta = settled(500)
    wrong = np.array([3, 499, 500, -1])
    assert emulate(device, alpha, beta, 1, candidates=wrong)[:2] == (BAD_CANDIDATE, 2)
    assert emulate(device, alpha, beta, 1, exclude=wrong[::-1].copy())[:2] == (BAD_EXCLUSION, 0)
    few = np.array([4, 4, 8, 9])
    assert emulate(device, alpha, beta, 4, candidates=few)[:2] == (TOO_FEW_ELIGIBLE, 3)
    assert emulate(device, alpha, beta, 3, candidates=few, exclude=few[:1].copy())[:2] == (
        TOO_FEW_ELIGIBLE,
        2,
    )


@pytest.mark.parametrize("multiprocessors", [1, 2, 4])
@pytest.mark.parametrize("excluded", [[1, 2, 3], [700]])
def test_an_invalid_belief_is_found_beside_an_exclusion_list(
    device: ctypes.CDLL, multiprocessors, excluded
) -> None:
    alpha, beta = settled(4_000)
    beta[[7, 700, 2_000]] = np.nan
    for order in range(5):
        code, place, indices, _ = emulate(
            device,
            alpha,
            beta,
            10,
            exclude=np.array(excluded),
            multiprocessors=multiprocessors,
            order=order,
        )
        assert (code, place) == (BAD_BELIEF, 7)
        assert (indices == -1).all()


def test_more_than_the_pool_holds_cannot_be_selected(device: ctypes.CDLL) -> None:
    for n in (1, 100, 3_000):
        alpha, beta = settled(n)
        for tuning in (USUAL, TOO_FEW):
            code, place, indices, _ = emulate(device, alpha, beta, 2 * n, tuning=tuning)
            assert (code, place) == (TOO_FEW_ELIGIBLE, n)
            assert (indices == -1).all()
    nothing = np.zeros(0, np.float32)
    assert emulate(device, nothing, nothing, 1)[:2] == (TOO_FEW_ELIGIBLE, 0)
    assert emulate(device, nothing, nothing, 1, candidates=np.array([0]))[:2] == (BAD_CANDIDATE, 0)


class Unknown(Score):
    kind = 8

    def parameters(self) -> list[float]:
        return [8.0, 3.0, 0.3, 0.0, 0.0, 0.0]


class NoRollouts(Unknown):
    kind = 0

    def parameters(self) -> list[float]:
        return [0.0, 3.0, 0.3, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    "how",
    [
        {"k": 0},
        {"score": Unknown()},
        {"score": NoRollouts()},
        {"first": -1},
        {"tuning": (0, -1, 0)},
        {"tuning": (0, 0, 2**40)},
    ],
    ids=lambda wrong: "-".join(wrong),
)
def test_arguments_outside_their_domain_are_refused(device: ctypes.CDLL, how) -> None:
    alpha, beta = settled(100)
    with pytest.raises(ArgumentError):
        emulate(device, alpha, beta, **({"k": 5} | how))


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_the_first_fault_is_named_whatever_is_wrong(device: ctypes.CDLL, data) -> None:
    n = data.draw(st.integers(1, 3_000), "n")
    alpha, beta = settled(n, seed=n)
    for place in data.draw(st.lists(st.integers(0, n - 1), max_size=3), "invalid"):
        alpha[place] = data.draw(st.sampled_from([np.nan, np.inf, 0.0, -1.0]))
    index = st.one_of(
        st.integers(0, n - 1), st.integers(0, n - 1), st.sampled_from([-1, n, -(2**63), 2**63 - 1])
    )
    subset = st.one_of(
        st.none(),
        st.lists(index, min_size=1, max_size=40).map(lambda found: np.array(found, np.int64)),
        st.integers(0, 9).map(lambda seed: np.random.default_rng(seed).random(n) < 0.5),
    )
    candidates, exclude = data.draw(subset, "candidates"), data.draw(subset, "exclude")
    k = data.draw(st.integers(1, n + 1), "k")
    how = {"candidates": candidates, "exclude": exclude}
    code, place, indices, _ = emulate(
        device,
        alpha,
        beta,
        k,
        **how,
        tuning=data.draw(st.sampled_from([USUAL, TOO_FEW, TOO_MANY]), "tuning"),
        multiprocessors=data.draw(st.integers(1, 4), "multiprocessors"),
        order=data.draw(st.integers(0, 99), "order"),
    )
    if code == DONE:
        expected = select_top_k(alpha, beta, k, **how)
        np.testing.assert_array_equal(indices, expected.indices.numpy())
        return
    assert (indices == -1).all()
    outcome = (code, place)
    if k > n:
        assert outcome[0] in (BAD_BELIEF, BAD_CANDIDATE, BAD_EXCLUSION, TOO_FEW_ELIGIBLE)
        return
    with pytest.raises((ArgumentError, BeliefError)) as caught:
        select_top_k(alpha, beta, k, **how)
    named = {
        BAD_BELIEF: f"at index {place}$",
        BAD_CANDIDATE: rf"candidates: .* at position {place}$",
        BAD_EXCLUSION: rf"exclude: .* at position {place}$",
        TOO_FEW_ELIGIBLE: f"at most the {place} eligible",
    }
    assert re.search(named[code], str(caught.value))


def test_a_pool_that_changes_meanwhile_gives_some_answer_in_the_pool(device: ctypes.CDLL) -> None:
    n = 3_000
    pool, settled_pool, new = settled(n), settled(n, seed=1), np.ones(n, np.float32)
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            for values in (new, settled_pool[0], np.full(n, np.nan, np.float32), settled_pool[1]):
                pool[0][:] = values

    changing = threading.Thread(target=change)
    changing.start()
    try:
        for order in range(4):
            for tuning in (USUAL, TOO_FEW, TOO_MANY):
                code, _, indices, _ = emulate(
                    device, *pool, 2_100, tuning=tuning, order=order, multiprocessors=2
                )
                assert code in (DONE, BAD_BELIEF, CHANGED)
                if code == DONE:
                    assert ((indices >= 0) & (indices < n)).all()
    finally:
        stop.set()
        changing.join()


def test_the_index_is_recovered_from_its_hash_beyond_32_bits(device: ctypes.CDLL) -> None:
    for index in (0, 1, 2**31 - 1, 2**31, 2**32 + 1, 2**40 + 12345, 2**62):
        for key in (0, 1, 2**64 - 1, 0x123456789ABCDEF0):
            assert device.emulated_recovers(ctypes.c_uint64(key), ctypes.c_int64(index))
