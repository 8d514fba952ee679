"""The CUDA kernels, compiled for an emulated device, give the CPU back end's answers bit for bit.

What only a GPU can show (its memory model, its arithmetic, its speed) is in
tests/insight_ext/kernel/test_cuda.py.
"""

from __future__ import annotations

import ctypes
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
CSRC = HERE.parents[1] / "csrc"
COMPILER = shutil.which("g++")
OPTIONS = ["-std=c++20", "-O1", "-Wall", "-Wextra", "-Wno-psabi", "-ffp-contract=off", "-fPIC"]
OPTIONS += ["-pthread", "-I", str(HERE / "cuda_emulation")]
DONE, BAD_BELIEF, BAD_CANDIDATE, BAD_EXCLUSION, TOO_FEW_ELIGIBLE = range(5)
CHANGED, BAD_ARGUMENT = 6, 7

# Tuning (csrc/cuda/cuda.h). Pools of more than 2,048 start from a sample here; rank 1 asks for a
# threshold that too few pass, rank 1,500 for one that overflows the room for k + 1,024.
USUAL = {"unsampled": 0}
TOO_FEW = {"unsampled": 0, "sample_rank": 1}
TOO_MANY = {"unsampled": 0, "sample_rank": 1500, "capacity": 1}

SCORES = [
    WeightedInformation(),
    WeightedInformation(rollouts=1, eta=0.5, mu=0.7),
    scores.Thompson(seed=5, draw=2),
    scores.ExpectedDifficulty(),
    scores.InverseEvidence(),
    scores.MixedGroup(),
]


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library, its CUDA back end compiled for the emulated device."""
    if COMPILER is None:
        pytest.skip("the emulated device is compiled by g++, and there is none")
    folder = tmp_path_factory.mktemp("emulation")
    portable, library = folder / "portable.o", folder / "libemulation.so"
    renamed = ["-Dinsight=insight_portable", "-DINSIGHT_KERNELS=portable", "-c"]
    cpu = [path for path in CSRC.glob("cpu/*.cpp") if path.name != "kernels.cpp"]
    for command in (
        [*renamed, CSRC / "cpu" / "kernels.cpp", "-o", portable],
        ["-shared", HERE / "cuda_emulation" / "emulation.cpp", *cpu, portable, "-o", library],
    ):
        subprocess.run([COMPILER, *OPTIONS, *command], check=True)
    return library


@pytest.fixture(scope="session")
def device(library: Path) -> ctypes.CDLL:
    return ctypes.CDLL(str(library))


def test_the_driver_for_a_gpu_finds_no_difference(library: Path, tmp_path: Path) -> None:
    program = tmp_path / "cuda_check"
    source = HERE.parents[1] / "benchmarks" / "gpu" / "cuda_check.cu"
    linked = [library, f"-Wl,-rpath,{library.parent}", "-o", program]
    subprocess.run([COMPILER, *OPTIONS, "-x", "c++", source, "-x", "none", *linked], check=True)
    done = subprocess.run([program, "2", "3"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert done.stdout.endswith("all the same\n")


INT64, WORD, POINTER = ctypes.c_int64, ctypes.c_uint64, ctypes.c_void_p


class Fields(ctypes.Structure):
    """A struct of csrc/insight.h, written down a second time: C has no other way to say it."""

    @classmethod
    def made(cls, *values: object) -> ctypes.Structure:
        return cls(ctypes.sizeof(cls), *values)


class CScore(Fields):
    _fields_ = (
        ("kind", INT64),
        ("parameter_count", INT64),
        ("parameters", ctypes.c_double * 6),
        ("seed", WORD),
        ("draw", WORD),
    )


class CBeliefs(Fields):
    _fields_ = (("alpha", POINTER), ("beta", POINTER), ("size", INT64), ("first", INT64))


class CSubset(Fields):
    _fields_ = (("form", INT64), ("data", POINTER), ("size", INT64))


class CRequest(Fields):
    _fields_ = (
        ("bytes", WORD),
        ("score", CScore),
        ("beliefs", CBeliefs),
        ("candidates", CSubset),
        ("exclude", CSubset),
        ("k", INT64),
        ("seed", WORD),
        ("sorted", ctypes.c_bool),
    )


class CSetting(Fields):
    _fields_ = (("name", ctypes.c_char_p), ("value", INT64))


class CPlace(Fields):
    _fields_ = (
        ("bytes", WORD),
        ("device", ctypes.c_char_p),
        ("index", INT64),
        ("stream", POINTER),
        ("threads", INT64),
        ("instruction_set", ctypes.c_char_p),
        ("tuning", ctypes.POINTER(CSetting)),
        ("tuning_size", INT64),
        ("is_stopped", POINTER),
    )


class COutcome(Fields):
    _fields_ = (("code", INT64), ("where", INT64))


class CResult(Fields):
    _fields_ = (
        ("bytes", WORD),
        ("indices", POINTER),
        ("scores", POINTER),
        ("outcome", POINTER),
        ("workspace", POINTER),
        ("workspace_bytes", INT64),
    )


def c_score(score: Score) -> CScore:
    parameters = score.parameters()
    return CScore(score.kind, len(parameters), tuple(parameters), *score.stream())


def c_subset(subset: np.ndarray | None) -> CSubset:
    if subset is None:
        return CSubset()
    return CSubset(2 if subset.dtype == bool else 1, subset.ctypes.data, len(subset))


def c_place(tuning: dict[str, int]) -> CPlace:
    settings = (CSetting * len(tuning))(*((name.encode(), tuning[name]) for name in tuning))
    return CPlace.made(b"cuda", 0, None, 0, None, settings, len(settings))


def called(
    device: ctypes.CDLL, name: str, request: CRequest, place: CPlace, **result: np.ndarray
) -> tuple[int, int, str]:
    """How the call ended. Its workspace is as large as asked for and full of garbage, so that the
    answers and the sanitizers notice what is read before it was written."""
    bytes_needed = INT64()
    parts = ctypes.byref(request), ctypes.byref(place)
    device.insight_message.restype = ctypes.c_char_p
    device.insight_workspace_bytes.restype = COutcome
    ended = device.insight_workspace_bytes(*parts, ctypes.byref(bytes_needed))
    if ended.code != DONE:
        return ended.code, ended.where, device.insight_message().decode()
    memory = np.full(bytes_needed.value + 48, 0xA5, np.uint8)
    start = -memory.ctypes.data % 16 + 16
    arrays = [values.ctypes.data for values in result.values()]
    c_result = CResult.made(*arrays, None, memory[start:].ctypes.data, bytes_needed.value)
    function = getattr(device, name)
    function.restype = COutcome
    ended = function(*parts, ctypes.byref(c_result))
    assert (memory[:start] == 0xA5).all()
    assert (memory[start + bytes_needed.value :] == 0xA5).all()
    message = device.insight_message().decode() if ended.code else ""
    return ended.code, ended.where, message


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
    tuning: dict[str, int] = USUAL,
    multiprocessors: int = 1,
    order: int = 0,
) -> tuple[int, int, np.ndarray, np.ndarray]:
    """Outcome code and place, indices and scores of the emulated kernel."""
    device.emulate(multiprocessors, WORD(order))
    request = CRequest.made(
        c_score(score),
        CBeliefs(alpha.ctypes.data, beta.ctypes.data, len(alpha), first),
        c_subset(candidates),
        c_subset(exclude),
        k,
        seed,
        sorted,
    )
    indices, values = np.full(max(k, 1), -9, np.int64), np.zeros(max(k, 1), np.float32)
    code, where, message = called(
        device, "insight_select_top_k", request, c_place(tuning), indices=indices, scores=values
    )
    if code == BAD_ARGUMENT:
        raise ArgumentError(message)
    return code, where, indices, values


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
    values, beliefs = np.zeros(len(alpha), np.float32), (alpha.ctypes.data, beta.ctypes.data)
    device.emulate(1, WORD(0))
    request = CRequest.made(c_score(score), CBeliefs(*beliefs, len(alpha), first))
    ended = called(
        device, "insight_score_all", request, c_place({}), indices=values[:0], scores=values
    )
    expected = cpu_score(
        torch.from_numpy(alpha), torch.from_numpy(beta), score, first=first
    ).numpy()
    assert ended == (DONE, 0, "")
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


@pytest.mark.parametrize("k", [1, 2, 16, 17, 512, 513, 4_097, 6_999, 7_000])
def test_any_k_sorted_or_by_index(device: ctypes.CDLL, k) -> None:
    alpha, beta = settled(7_000, seed=3)
    assert_same(device, alpha, beta, k)
    assert_same(device, alpha, beta, k, sorted=False, multiprocessors=2)


@pytest.mark.parametrize("n", [1, 2, 31, 33, 127, 513, 2049])
def test_any_small_pool(device: ctypes.CDLL, n) -> None:
    alpha, beta = settled(n)
    for k in {1, n}:
        assert_same(device, alpha, beta, k)


def test_of_a_large_pool_the_best_of_each_few_samples_count(device: ctypes.CDLL) -> None:
    alpha, beta = settled(400_003)  # 8,192 of them, four lanes each
    assert_same(device, alpha, beta, 200, multiprocessors=2)


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
    few, none = np.array([4, 4, 8, 9]), np.array([], np.int64)
    assert emulate(device, alpha, beta, 1, candidates=none)[:2] == (TOO_FEW_ELIGIBLE, 0)
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
        with pytest.raises(ArgumentError, match=f"k: expected 1 to the pool's {n} prompts"):
            emulate(device, *settled(n), 2 * n)


class Unknown(Score):
    kind = 8

    def parameters(self) -> list[float]:
        return [8.0, 3.0, 0.3]


class NoRollouts(Unknown):
    kind = 0

    def parameters(self) -> list[float]:
        return [0.0, 3.0, 0.3]


@pytest.mark.parametrize(
    "how",
    [
        {"k": 0},
        {"score": Unknown()},
        {"score": NoRollouts()},
        {"first": -1},
        {"k": 101},
        {"tuning": {"sample_rank": -1}},
        {"tuning": {"capacity": 2**40}},
        {"tuning": {"least_per_thread": 1}},
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
    k = data.draw(st.integers(1, n), "k")
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
    message = device.insight_message().decode()
    with pytest.raises((ArgumentError, BeliefError)) as caught:
        select_top_k(alpha, beta, k, **how)
    assert str(caught.value) == message, f"one fault, one sentence, {place}"


def test_what_changes_meanwhile_gives_some_answer_in_the_pool(device: ctypes.CDLL) -> None:
    n = 3_000
    pool, settled_pool, new = settled(n), settled(n, seed=1), np.ones(n, np.float32)
    listed, invalid = np.arange(n), np.full(n, np.nan, np.float32)
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            for values in (new, settled_pool[0], invalid, settled_pool[1]):
                pool[0][:] = values
                for outside in (2**60, n, -1):
                    listed[:] = outside
                    listed[:] = np.arange(n)

    changing = threading.Thread(target=change)
    changing.start()
    try:
        for order in range(12):
            code, _, indices, _ = emulate(
                device,
                *pool,
                2_100 if order % 2 else 20,
                candidates=listed if order % 4 > 1 else None,
                tuning=(USUAL, TOO_FEW, TOO_MANY)[order % 3],
                order=order,
                multiprocessors=2,
            )
            assert code in (DONE, BAD_BELIEF, BAD_CANDIDATE, TOO_FEW_ELIGIBLE, CHANGED)
            if code == DONE:
                assert ((indices >= 0) & (indices < n)).all()
    finally:
        stop.set()
        changing.join()


def test_the_index_is_recovered_from_its_hash_beyond_32_bits(device: ctypes.CDLL) -> None:
    for index in (0, 1, 2**31 - 1, 2**31, 2**32 + 1, 2**40 + 12345, 2**62):
        for key in (0, 1, 2**64 - 1, 0x123456789ABCDEF0):
            assert device.emulated_recovers(ctypes.c_uint64(key), ctypes.c_int64(index))
