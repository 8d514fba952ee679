"""The CUDA back end on a real device, and its refusal where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from insight_ext import _C, build_info, select_top_k
from insight_ext.errors import ArgumentError, BeliefError, DeviceError
from insight_ext.kernel import dispatch, scores
from insight_ext.kernel.ops import score
from insight_ext.kernel.scores import WeightedInformation

built = pytest.mark.skipif("cuda" not in _C.back_ends, reason="built without CUDA")
gpu = pytest.mark.skipif(
    not (torch.cuda.is_available() and "cuda" in _C.back_ends), reason="no CUDA device, or no build"
)

# see csrc/cuda/cuda.h
WAYS = {
    "usual": {},
    "too few": {"unsampled": 0, "sample_rank": 1},
    "too many": {"unsampled": 0, "sample_rank": 2000, "capacity": 1},
}
SCORES = [
    WeightedInformation(),
    WeightedInformation(rollouts=1),
    scores.Thompson(seed=5, draw=2),
    scores.ExpectedDifficulty(),
    scores.InverseEvidence(),
    scores.MixedGroup(),
]


def settled(n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(seed)
    visits = random.integers(0, 25, n)
    solved = random.integers(0, 8 * visits + 1)
    alpha, beta = 1 + solved, 1 + 8 * visits - solved
    return torch.from_numpy(alpha.astype(np.float32)), torch.from_numpy(beta.astype(np.float32))


@pytest.fixture(params=WAYS.values(), ids=WAYS.keys())
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """The path that the kernel is made to take."""
    monkeypatch.setattr(dispatch.execution, "tuning", {"cuda": request.param})
    return request.param


def assert_same(alpha: torch.Tensor, beta: torch.Tensor, k: int, *how: object, **named) -> None:
    expected = select_top_k(alpha, beta, k, *how, **named)
    for name in ("candidates", "exclude"):
        if isinstance(named.get(name), torch.Tensor):
            named[name] = named[name].cuda()
    found = select_top_k(alpha.cuda(), beta.cuda(), k, *how, **named)
    assert torch.equal(found.indices.cpu(), expected.indices)
    assert torch.equal(found.scores.cpu().view(torch.int32), expected.scores.view(torch.int32))


@built
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device_the_error_says_what_is_missing_and_the_cpu_works() -> None:
    assert build_info()["device"] is None
    at = torch.ones(8).data_ptr() // 16 * 16
    request = dispatch.request_of((0, [8.0, 3.0, 0.3], 0, 0), (at, at, 1, 0))
    there = _C.Place("cuda")
    for call in (
        lambda: _C.device_name(there),
        lambda: _C.score_all(request, there, dispatch.result_of(0, at, 0, at, 16)),
    ):
        with pytest.raises(DeviceError, match="cudaGetDeviceCount: .*tensors on the CPU"):
            call()
    assert select_top_k(torch.ones(4), torch.ones(4), 2).indices.shape == (2,)


@built
def test_the_workspace_does_not_grow_with_the_pool() -> None:
    def needed(n: int, candidates: tuple[int, int, bool] | None = None) -> int:
        request = dispatch.request_of(beliefs=(0, 0, n, 0), k=4096, candidates=candidates)
        return _C.workspace_bytes(request, _C.Place("cuda"))

    assert needed(10**8) < needed(10**7) + (4 << 20)
    assert needed(10**8) < 32 << 20
    assert needed(10**8, (0, 9, False)) - needed(10**8) < 10**8 // 8 + 64
    assert needed(10**8, (0, 10**8, True)) == needed(10**8)
    request_of = dispatch.request_of
    assert _C.workspace_bytes(request_of(beliefs=(0, 0, 10**8, 0), k=4096), _C.Place()) == 0
    with pytest.raises(ArgumentError, match="k: expected at most 2\\^29 prompts on a GPU"):
        _C.workspace_bytes(request_of(beliefs=(0, 0, 10**10, 0), k=2**29 + 1), _C.Place("cuda"))


@gpu
@pytest.mark.parametrize("chosen", SCORES, ids=lambda chosen: type(chosen).__name__)
def test_a_part_of_a_pool_is_ordered_as_in_the_whole(way: dict[str, int], chosen) -> None:
    alpha, beta = settled(200_003)
    first = 99_000_000_000
    assert_same(alpha, beta, 5_000, chosen, first=first)
    assert_same(alpha, beta, 100, chosen, first=first, sorted=False, exclude=torch.arange(90))
    whole = score(alpha.cuda(), beta.cuda(), chosen)
    parts = [score(a.cuda(), b.cuda(), chosen, first=f) for a, b, f in in_two(alpha, beta)]
    assert torch.equal(torch.cat(parts), whole)


def in_two(alpha: torch.Tensor, beta: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor, int]]:
    at = len(alpha) // 3
    return [(alpha[:at], beta[:at], 0), (alpha[at:], beta[at:], at)]


@gpu
@pytest.mark.parametrize("k", [1, 256, 5_000, 65_536])
def test_the_selection_is_the_cpus(way: dict[str, int], k: int) -> None:
    for n in (200_003, 1_000_000):
        assert_same(*settled(n), k)


@gpu
@pytest.mark.parametrize("kind", SCORES, ids=lambda kind: type(kind).__name__)
def test_every_score_has_the_cpus_bits(kind: scores.Score) -> None:
    alpha, beta = settled(300_007)
    on_device = score(alpha.cuda(), beta.cuda(), kind).cpu()
    assert torch.equal(on_device.view(torch.int32), score(alpha, beta, kind).view(torch.int32))
    assert_same(alpha, beta, 300, kind, seed=3)


@gpu
def test_ties_follow_the_seeded_hash(way: dict[str, int]) -> None:
    ones = torch.ones(700_001)
    assert_same(ones, ones, 300, seed=2**63 + 1)


@gpu
@pytest.mark.parametrize("k", [1, 99_999, 100_000])
def test_any_k_sorted_or_by_index(k: int) -> None:
    assert_same(*settled(100_000), k)
    assert_same(*settled(100_000), k, sorted=False)


@gpu
@pytest.mark.parametrize("n", [1, 2, 31, 127, 2049, 65_537])
def test_any_size(n: int) -> None:
    for k in {1, n}:
        assert_same(*settled(n), k)


@gpu
def test_an_unaligned_start(way: dict[str, int]) -> None:
    alpha, beta = (values.cuda() for values in settled(150_000))
    found = select_top_k(alpha[1:], beta[1:], 64)
    expected = select_top_k(alpha[1:].cpu(), beta[1:].cpu(), 64)
    assert torch.equal(found.indices.cpu(), expected.indices)


@gpu
def test_restricted_pools(way: dict[str, int]) -> None:
    n = 150_001
    alpha, beta = settled(n)
    random = torch.Generator().manual_seed(0)
    listed = torch.randint(n, (40_000,), generator=random)
    mask = torch.rand(n, generator=random) < 0.4
    for candidates in (None, listed, mask):
        for exclude in (None, listed[:9_000], ~mask):
            if candidates is mask and exclude is not None and exclude.dtype == torch.bool:
                exclude = torch.rand(n, generator=random) < 0.5
            assert_same(alpha, beta, 200, candidates=candidates, exclude=exclude)


@gpu
def test_ten_repeats_are_byte_equal() -> None:
    alpha, beta = (values.cuda() for values in settled(3_000_000))
    first = select_top_k(alpha, beta, 4_096)
    for _ in range(9):
        again = select_top_k(alpha, beta, 4_096)
        assert torch.equal(again.indices, first.indices)
        assert torch.equal(again.scores, first.scores)


@gpu
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 0.0, -1.0])
def test_the_first_bad_belief_is_named(bad: float) -> None:
    alpha, beta = settled(400_000)
    beta[[123_456, 300_000]] = bad
    with pytest.raises(BeliefError) as error:
        select_top_k(alpha.cuda(), beta.cuda(), 5)
    assert error.value.index == 123_456
    with pytest.raises(BeliefError):
        score(alpha.cuda(), beta.cuda())


@gpu
def test_faults_of_lists_are_named() -> None:
    alpha, beta = (values.cuda() for values in settled(1_000))
    with pytest.raises(ArgumentError, match="candidates.*1000 at position 1"):
        select_top_k(alpha, beta, 1, candidates=torch.tensor([4, 1000]).cuda())
    with pytest.raises(ArgumentError, match="exclude.*-1 at position 0"):
        select_top_k(alpha, beta, 1, exclude=torch.tensor([-1]).cuda())
    with pytest.raises(ArgumentError, match="2 eligible"):
        select_top_k(alpha, beta, 3, candidates=torch.tensor([4, 5, 5]).cuda())
    with pytest.raises(ArgumentError, match="device"):
        select_top_k(alpha, beta, 3, candidates=torch.tensor([4, 5, 6]))


@gpu
def test_a_side_stream_sees_what_was_written_before_it() -> None:
    alpha, beta = (values.cuda() for values in settled(1_000_000))
    expected = select_top_k(alpha, beta, 100)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        copies = alpha.clone(), beta.clone()
        found = select_top_k(*copies, 100)
    torch.cuda.current_stream().wait_stream(stream)
    assert torch.equal(found.indices, expected.indices)


@gpu
def test_a_captured_graph_selects_from_the_beliefs_of_its_replay() -> None:
    alpha, beta = (values.cuda() for values in settled(500_000))
    select_top_k(alpha, beta, 128)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = select_top_k(alpha, beta, 128)
    for seed in (1, 2):
        alpha.copy_(settled(500_000, seed)[0])
        beta.copy_(settled(500_000, seed)[1])
        graph.replay()
        expected = select_top_k(alpha.cpu(), beta.cpu(), 128)
        assert torch.equal(captured.indices.cpu(), expected.indices)
    alpha[7] = float("nan")
    graph.replay()
    assert (captured.indices == -1).all()


@gpu
def test_a_pool_of_more_than_2_to_the_31() -> None:
    n = 2**31 + 4_099
    if torch.cuda.mem_get_info()[0] < 10 * n:
        pytest.skip(f"needs {10 * n} bytes of device memory")
    alpha, beta = torch.full((n,), 30.0, device="cuda"), torch.full((n,), 30.0, device="cuda")
    best = torch.tensor([5, 2**31 - 1, 2**31, n - 1], device="cuda")
    alpha[best], beta[best] = 1.0, 1.0
    found = select_top_k(alpha, beta, 4, sorted=False)
    assert found.indices.tolist() == best.tolist()


@gpu
def test_the_host_does_not_wait_inside_the_kernels_calls() -> None:
    alpha, beta = (values.cuda() for values in settled(100_000))
    select_top_k(alpha, beta, 10)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="global"):  # a wait or allocation would raise
        for kind in SCORES:
            select_top_k(alpha, beta, 10, kind)
            score(alpha, beta, kind)
