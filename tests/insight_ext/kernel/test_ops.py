from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from insight_ext import _C, reference
from insight_ext.errors import ArgumentError, BeliefError
from insight_ext.kernel import dispatch
from insight_ext.kernel.dispatch import execution, set_num_threads
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
    WeightedInformation(weight="none"),
    WeightedInformation(information=False),
    WeightedInformation(weight="draw", seed=4),
    Thompson(seed=4),
    ExpectedDifficulty(),
    InverseEvidence(),
    MixedGroup(),
]


def oracle(alpha, beta, k, chosen, seed, allowed=None):
    """The specification: score everything, sort everything."""
    scores = score(alpha, beta, chosen)
    order = reference.order(scores, seed)
    if allowed is not None:
        order = [i for i in order if i in allowed]
    return order[:k], scores[order[:k]]


def random_pool(n: int, seed: int, kind: str = "mixed") -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    if kind == "constant":
        return torch.ones(n), torch.ones(n)
    if kind == "two-valued":
        unseen = torch.rand(n, generator=generator) < 0.5
        return torch.where(unseen, 1.0, 3.0), torch.where(unseen, 1.0, 7.0)
    if kind == "counts":
        return tuple(torch.randint(1, 9, (2, n), generator=generator).float())
    a, b = 0.5 + 60 * torch.rand(2, n, generator=generator) ** 2
    if kind == "one ulp":
        ulps = torch.randint(0, 2, (2, n), generator=generator, dtype=torch.int32)
        a, b = (torch.full((2, n), 5.0).view(torch.int32) + ulps).view(torch.float32)
    if kind in ("ascending", "descending"):
        order = score(a, b).argsort(descending=kind == "descending")
        a, b = a[order], b[order]
    return a.contiguous(), b.contiguous()


KINDS = ["constant", "two-valued", "counts", "mixed", "one ulp", "ascending", "descending"]


@pytest.mark.parametrize("chosen", SCORES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_selection_is_the_oracles_for_every_kind_of_pool(chosen, kind):
    n = 1501
    alpha, beta = random_pool(n, seed=5, kind=kind)
    order, scores = oracle(alpha, beta, n, chosen, seed=11)
    for k in (1, 64, n // 2, n - 1, n):
        got = select_top_k(alpha, beta, k, chosen, seed=11)
        assert got.indices.tolist() == order[:k]
        assert torch.equal(got.scores, scores[:k])


@given(
    values=st.lists(st.sampled_from([0.25, 1.0, 1.5, 2.0, 9.0, 1e6]), min_size=2, max_size=200),
    data=st.data(),
)
@settings(max_examples=60)
def test_selection_is_the_oracles_for_any_input(values, data):
    alpha, beta = torch.tensor(values), torch.tensor(values[::-1])
    n = len(values)
    seed = data.draw(st.integers(0, 2**64 - 1))
    excluded = data.draw(st.lists(st.integers(0, n - 1), max_size=n - 1))
    allowed = set(range(n)) - set(excluded)
    k = data.draw(st.integers(1, len(allowed)))
    chosen = data.draw(st.sampled_from(SCORES))
    order, scores = oracle(alpha, beta, k, chosen, seed, allowed)
    got = select_top_k(alpha, beta, k, chosen, seed=seed, exclude=excluded)
    assert got.indices.tolist() == order
    assert torch.equal(got.scores, scores)


@pytest.fixture
def restored():
    before = (execution.threads, execution.instruction_set, execution.tuning)
    yield
    execution.threads, execution.instruction_set, execution.tuning = before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chosen", SCORES[:5], ids=str)
def test_threads_instruction_sets_and_tuning_change_nothing(kind, chosen, restored):
    n, k = 40_003, 100
    alpha, beta = random_pool(n, seed=6, kind=kind)
    expected = select_top_k(alpha, beta, k, chosen, seed=2)
    best = torch.topk(score(alpha, beta, chosen), k).values
    assert torch.equal(expected.scores, best)
    many = {"block": 256, "least_per_thread": 1}
    scarce = {"block": 512, "least_per_thread": 1, "sample_rank": 100, "capacity": 101}
    hopeless = scarce | {"sample_rank": 1}
    for instruction_set in _C.instruction_sets:
        for threads, tuning in ((1, {}), (5, many), (3, scarce), (2, hopeless)):
            execution.threads, execution.tuning = threads, {"cpu": tuning}
            execution.instruction_set = instruction_set
            got = select_top_k(alpha, beta, k, chosen, seed=2)
            assert torch.equal(got.indices, expected.indices)
            assert torch.equal(got.scores, expected.scores)


def test_ten_repeats_are_the_same_bytes(restored):
    alpha, beta = random_pool(300_000, seed=7, kind="counts")
    execution.threads = 4
    first = select_top_k(alpha, beta, 500)
    for _ in range(9):
        assert torch.equal(select_top_k(alpha, beta, 500).indices, first.indices)


def test_a_larger_k_extends_a_smaller_ones_answer():
    alpha, beta = random_pool(9_000, seed=8, kind="counts")
    longest = select_top_k(alpha, beta, 3000, seed=1).indices
    for k in (1, 2, 63, 64, 65, 1000):
        assert torch.equal(select_top_k(alpha, beta, k, seed=1).indices, longest[:k])


def test_the_selected_scores_do_not_depend_on_the_pools_order():
    alpha, beta = random_pool(5_000, seed=9)
    shuffled = torch.randperm(5_000, generator=torch.Generator().manual_seed(0))
    first = select_top_k(alpha, beta, 50)
    second = select_top_k(alpha[shuffled].contiguous(), beta[shuffled].contiguous(), 50)
    assert torch.equal(first.scores, second.scores)


def test_the_seed_decides_among_unseen_prompts():
    alpha = torch.ones(10_000)
    picks = [set(select_top_k(alpha, alpha, 100, seed=s).indices.tolist()) for s in (0, 1)]
    assert len(picks[0] & picks[1]) < 20
    assert max(picks[0]) > 5_000


def test_candidates_and_exclude_in_both_forms_agree_with_the_oracle():
    n, k = 3_000, 40
    alpha, beta = random_pool(n, seed=10, kind="counts")
    generator = torch.Generator().manual_seed(1)
    candidates = torch.randint(0, n, (900,), generator=generator)  # with repeats
    excluded = candidates[:300]
    allowed = set(candidates.tolist()) - set(excluded.tolist())
    expected, _ = oracle(alpha, beta, k, WeightedInformation(), 3, allowed)
    mask = torch.zeros(n, dtype=torch.bool)
    mask[candidates] = True
    out = torch.zeros(n, dtype=torch.bool)
    out[excluded] = True
    for some in (candidates, mask, candidates.tolist(), candidates.numpy()):
        for without in (excluded, out):
            got = select_top_k(alpha, beta, k, seed=3, candidates=some, exclude=without)
            assert got.indices.tolist() == expected


def test_unsorted_is_the_same_set_by_ascending_index():
    alpha, beta = random_pool(2_000, seed=12)
    ordered = select_top_k(alpha, beta, 77)
    unordered = select_top_k(alpha, beta, 77, sorted=False)
    assert torch.equal(unordered.indices, ordered.indices.sort().values)
    assert torch.equal(unordered.scores, score(alpha, beta)[unordered.indices])


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 0.0, -0.0, -1.0])
@pytest.mark.parametrize("n", [3, 100_000])
def test_the_first_bad_belief_is_named(bad, n, restored):
    execution.threads = 3
    alpha, beta = random_pool(n, seed=13)
    first = n // 2
    beta[first] = alpha[n - 1] = bad
    for call in (lambda: select_top_k(alpha, beta, 2), lambda: score(alpha, beta)):
        with pytest.raises(BeliefError, match=f"at index {first}") as caught:
            call()
        assert caught.value.index == first
    with pytest.raises(BeliefError, match=f"at index {n - 1}"):
        select_top_k(alpha, beta, 1, candidates=[0, n - 1, first])
    assert select_top_k(alpha, beta, 1, candidates=[0]).indices.tolist() == [0]


def test_extreme_beliefs_are_scored_and_ranked():
    tiny, huge = 1e-45, 3.4e38
    values = [tiny, 1e-30, 0.1, 1.0, 1e20, huge]
    alpha = torch.tensor([a for a in values for _ in values])
    beta = torch.tensor([b for _ in values for b in values])
    for chosen in SCORES:
        scores = score(alpha, beta, chosen)
        assert torch.isfinite(scores).all()
        assert select_top_k(alpha, beta, 36, chosen).indices.tolist() == reference.order(scores)
        assert select_top_k(alpha, beta, 9, chosen).indices.tolist() == reference.order(scores)[:9]


def test_arrays_of_other_libraries_are_read_in_place():
    alpha, beta = random_pool(500, seed=14)
    expected = select_top_k(alpha, beta, 5).indices

    class Foreign:
        def __init__(self, tensor: torch.Tensor) -> None:
            self.tensor = tensor

        def __dlpack__(self, **options: object) -> object:
            return self.tensor.__dlpack__(**options)

        def __dlpack_device__(self) -> tuple[int, int]:
            return self.tensor.__dlpack_device__()

    assert torch.equal(select_top_k(alpha.numpy(), beta.numpy(), 5).indices, expected)
    assert torch.equal(select_top_k(Foreign(alpha), Foreign(beta), 5).indices, expected)


def test_an_unaligned_start_changes_nothing():
    alpha, beta = random_pool(5_001, seed=15)
    got = select_top_k(alpha[1:], beta[1:], 30).indices
    assert torch.equal(got, select_top_k(alpha[1:].clone(), beta[1:].clone(), 30).indices)


def test_wrong_arguments_are_named_with_what_came():
    alpha, beta = random_pool(10, seed=16)
    cases = [
        (lambda: select_top_k(alpha, beta, 0), "k: expected 1 to the pool's 10 prompts, got 0"),
        (lambda: select_top_k(alpha, beta, 11), "got 11"),
        (lambda: select_top_k(alpha, beta, 2.0), "k: expected an int, got 2.0"),
        (lambda: select_top_k(alpha, beta, 2, "insight"), "score: expected an object"),
        (lambda: select_top_k(alpha, beta, 1, seed=-1), "seed: expected 0 to"),
        (lambda: select_top_k(alpha.double(), beta, 1), "alpha: expected dtype float32"),
        (lambda: select_top_k(alpha, beta[:5], 1), "beta: expected alpha's shape"),
        (lambda: select_top_k(alpha[::2], beta[::2], 1), "expected contiguous"),
        (lambda: select_top_k(alpha[:, None], beta, 1), "alpha: expected shape"),
        (lambda: select_top_k([1.0], beta, 1), "alpha: expected a tensor"),
        (lambda: select_top_k(alpha, beta, 1, candidates=[10]), "got 10 at position 0"),
        (lambda: select_top_k(alpha, beta, 1, candidates=[0, -1]), "got -1 at position 1"),
        (lambda: select_top_k(alpha, beta, 1, exclude=[3, 12]), "got 12 at position 1"),
        (lambda: select_top_k(alpha, beta, 3, candidates=[1, 1, 2]), "most the 2 eligible"),
        (lambda: select_top_k(alpha, beta, 1, exclude=range(10)), "most the 0 eligible"),
        (lambda: select_top_k(alpha, beta, 1, candidates=beta > 99), "most the 0 eligible"),
        (lambda: select_top_k(alpha, beta, 1, candidates=torch.ones(3, dtype=torch.bool)), "mask"),
        (lambda: select_top_k(alpha, beta, 1, exclude=torch.ones(3)), "int64 indices or a bool"),
        (lambda: set_num_threads(0), "threads: expected at least 1"),
    ]
    for call, message in cases:
        with pytest.raises(ArgumentError, match=message):
            call()


@pytest.mark.parametrize("chosen", SCORES, ids=str)
@pytest.mark.parametrize("kind", ["constant", "counts", "mixed"])
@pytest.mark.parametrize("sorted", [True, False])
def test_parts_of_a_pool_are_ordered_as_the_whole(chosen, kind, sorted):
    alpha, beta = random_pool(5_003, seed=19, kind=kind)
    whole = select_top_k(alpha, beta, 70, chosen, seed=9, exclude=[4_000, 1], sorted=sorted)
    cuts = [0, 1, 70, 1_700, 5_003]
    found = []
    for start, end in itertools.pairwise(cuts):
        a, b, gone = alpha[start:end], beta[start:end], [i - start for i in (1, 4_000)]
        gone = [i for i in gone if 0 <= i < len(a)]
        k = min(70, len(a) - len(gone))
        found.append(select_top_k(a, b, k, chosen, seed=9, first=start, exclude=gone))
    parts = [torch.cat(column) for column in zip(*found, strict=True)]
    merged = merge_top_k(*parts, 70, seed=9, sorted=sorted)
    assert torch.equal(merged.indices, whole.indices)
    assert torch.equal(merged.scores, whole.scores)
    scores = [score(alpha[s:e], beta[s:e], chosen, first=s) for s, e in itertools.pairwise(cuts)]
    assert torch.equal(torch.cat(scores), score(alpha, beta, chosen))


@pytest.mark.parametrize("first", [1, 2**31 - 7, 99_999_999_000, 2**62])
def test_ties_follow_the_hash_of_the_place_in_the_whole_pool(first):
    alpha = torch.ones(1_000)
    expected = sorted(range(first, first + 1_000), key=lambda i: -reference.tie_hash(5, i))
    assert select_top_k(alpha, alpha, 1_000, seed=5, first=first).indices.tolist() == expected
    best = select_top_k(alpha, alpha, 9, seed=5, first=first, sorted=False)
    assert best.indices.tolist() == sorted(expected[:9])
    listed = select_top_k(alpha, alpha, 2, seed=5, first=first, candidates=[7, 3])
    assert set(listed.indices.tolist()) == {first + 3, first + 7}


def test_the_first_bad_belief_is_named_by_its_place_in_the_whole_pool():
    alpha, beta = random_pool(100, seed=20)
    beta[40] = float("nan")
    for call in (select_top_k, score):
        arguments = (2,) if call is select_top_k else ()
        with pytest.raises(BeliefError, match="at index 10000000040") as caught:
            call(alpha, beta, *arguments, first=10**10)
        assert caught.value.index == 10**10 + 40


@pytest.mark.parametrize("first", [-1, 2**63 - 1, 1.0, True])
def test_a_first_place_that_int64_cannot_count_from_is_refused(first):
    with pytest.raises(ArgumentError, match="first: expected an int from 0 on"):
        select_top_k(torch.ones(3), torch.ones(3), 1, first=first)


def test_fewer_than_k_prompts_cannot_be_merged():
    with pytest.raises(ArgumentError, match="most the 2 eligible prompts, got 3"):
        merge_top_k(torch.tensor([5, 8]), torch.ones(2), 3)


def test_nothing_is_scored_in_an_empty_pool():
    assert score(torch.empty(0), torch.empty(0)).shape == (0,)


def test_the_operators_pass_opcheck_and_compile_without_a_graph_break():
    alpha, beta = random_pool(300, seed=17)
    arguments = [0, [8.0, 3.0, 0.3], 0, 0]
    torch.library.opcheck(dispatch.score_operator, (alpha, beta, 7, *arguments))
    torch.library.opcheck(
        dispatch.select_operator, (alpha, beta, 7, 5, *arguments, 1, True, None, None)
    )

    @torch.compile(fullgraph=True, backend="eager")
    def compiled(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return score(a, b) * 2, select_top_k(a, b, 5, seed=1).indices

    scores, indices = compiled(alpha, beta)
    assert torch.equal(scores, score(alpha, beta) * 2)
    assert torch.equal(indices, select_top_k(alpha, beta, 5, seed=1).indices)


def test_numpy_masks_are_accepted():
    alpha, beta = random_pool(100, seed=18)
    mask = np.arange(100) < 10
    assert max(select_top_k(alpha, beta, 10, candidates=mask).indices.tolist()) == 9


def test_no_candidates_are_not_all_candidates():
    with pytest.raises(ArgumentError, match="at least the 2 prompts to select, got none"):
        select_top_k(torch.ones(5), torch.ones(5), 2, candidates=[])


@pytest.mark.parametrize("masked", [False, True])
def test_candidates_of_another_pool_are_named_and_not_read(masked):
    alpha = torch.ones(100_000)
    strangers = torch.cat([torch.arange(1024), torch.arange(4096) + 40_000_000_000])
    exclude = torch.zeros(100_000, dtype=torch.bool) if masked else None
    with pytest.raises(ArgumentError, match="candidates: .*got 40000000000 at position 1024"):
        select_top_k(alpha, alpha, 512, candidates=strangers, exclude=exclude)


def test_loops_that_the_processor_cannot_run_are_refused(restored):
    alpha = torch.ones(100)
    for instruction_set in ("avx1024", "AVX2", ""):
        execution.instruction_set = instruction_set
        for call in (lambda: score(alpha, alpha), lambda: select_top_k(alpha, alpha, 3)):
            with pytest.raises(ArgumentError, match=f"instruction_set.* got {instruction_set}"):
                call()


def test_flushed_denormals_change_nothing():
    alpha, beta = random_pool(3_000, seed=21)
    alpha[::5] = 1e-44
    expected = select_top_k(alpha, beta, 50)
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush denormals")
    try:
        got = select_top_k(alpha, beta, 50)
        assert alpha[0] * torch.ones(()) == 0, "the caller's setting is left as it was"
    finally:
        torch.set_flush_denormal(False)
    assert torch.equal(got.indices, expected.indices)
    assert torch.equal(got.scores, expected.scores)


def test_what_cannot_be_merged_is_named():
    indices, scores = torch.tensor([5, 8, 9]), torch.tensor([0.1, float("nan"), 0.3])
    cases = [
        (
            lambda: merge_top_k(indices, scores, 2),
            "scores: expected numbers, got NaN at position 1",
        ),
        (lambda: merge_top_k(indices, scores, 0), "k: expected 1 or more, got 0"),
        (lambda: merge_top_k(indices, scores[:2], 1), "one for each of 3 prompts, got 2"),
        (lambda: merge_top_k(indices.int(), scores, 1), "indices: expected dtype int64"),
        (lambda: merge_top_k(indices, scores.double(), 1), "scores: expected dtype float32"),
        (lambda: merge_top_k(indices.to("meta"), scores, 1), "indices: expected the CPU, got meta"),
        (lambda: merge_top_k([5, 8, 9], scores, 1), "indices: expected a tensor, got list"),
    ]
    for call, message in cases:
        with pytest.raises(ArgumentError, match=message):
            call()
    strided = torch.arange(6, dtype=torch.float32)[::2]
    assert merge_top_k(indices, strided, 1).indices.tolist() == [9]


def test_what_cannot_be_drawn_is_named():
    for arguments, message in (
        ((5, 6, 0, 0), "count: expected 0 to the 5 there are, got 6"),
        ((5, -1, 0, 0), "count: expected 0 to the 5"),
        ((-5, 0, 0, 0), "size: expected 0 to"),
        ((5, 2.0, 0, 0), "count: expected an int, got 2.0"),
        ((5, 2, None, 0), "seed: expected an int, got None"),
    ):
        with pytest.raises(ArgumentError, match=message):
            draw_distinct(*arguments)


class Unknown(Score):
    kind = 8

    def parameters(self):
        return [8.0, 3.0, 0.3]


class TooFewNumbers(Unknown):
    kind = 0

    def parameters(self):
        return [8.0]


class NoRollouts(Unknown):
    kind = 0

    def parameters(self):
        return [0.0, 3.0, 0.3]


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (Unknown(), "score: expected a kind from 0 to 7, got 8"),
        (TooFewNumbers(), "parameters: expected 3 numbers for this score, got 1"),
        (NoRollouts(), "rollouts: expected 1 to 512, got 0"),
    ],
)
def test_a_score_that_the_kernel_does_not_know_is_refused(chosen, message):
    alpha = torch.ones(100)
    for call in (
        lambda: score(alpha, alpha, chosen),
        lambda: select_top_k(alpha, alpha, 3, chosen),
    ):
        with pytest.raises(ArgumentError, match=message):
            call()


@pytest.mark.parametrize("threads", [0, -1, 2.5, True, "2"])
def test_a_number_of_threads_that_is_none_is_refused(threads):
    with pytest.raises(ArgumentError, match="threads: expected at least 1 or None"):
        set_num_threads(threads)


def test_no_number_of_threads_is_too_large(restored):
    alpha, beta = random_pool(70_000, seed=22)
    expected = select_top_k(alpha, beta, 9).indices
    set_num_threads(2**80)
    assert torch.equal(select_top_k(alpha, beta, 9).indices, expected)
