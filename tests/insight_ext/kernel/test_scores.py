from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from insight_ext import _C, reference
from insight_ext.errors import ArgumentError
from insight_ext.kernel.dispatch import execution
from insight_ext.kernel.ops import score
from insight_ext.kernel.scores import (
    ExpectedDifficulty,
    InverseEvidence,
    MixedGroup,
    Thompson,
    WeightedInformation,
)

TABLE = Path(__file__).parents[2] / "data" / "weighted_information.csv"
FIXED = [
    WeightedInformation(),
    WeightedInformation(rollouts=1),
    WeightedInformation(rollouts=64, eta=10.0, mu=0.7),
    WeightedInformation(weight="none"),
    WeightedInformation(information=False),
    ExpectedDifficulty(),
    ExpectedDifficulty(target=0.2),
    InverseEvidence(),
    MixedGroup(),
    MixedGroup(rollouts=3),
]


def ordinary_beliefs(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    exponents = torch.rand(2, n, generator=generator) * 7.3 - 0.3
    a, b = (10**exponents).float()
    return a, b


def test_scores_agree_with_the_30_digit_table():
    with TABLE.open() as file:
        rows = [{name: float(x) for name, x in row.items()} for row in csv.DictReader(file)]
    for row in rows:
        chosen = WeightedInformation(int(row["rollouts"]), row["eta"], row["mu"])
        alpha, beta = torch.tensor([row["alpha"]]), torch.tensor([row["beta"]])
        assert score(alpha, beta, chosen).item() == pytest.approx(row["score"], rel=1e-6), row


@pytest.mark.parametrize("chosen", FIXED, ids=str)
def test_scores_agree_with_the_reference(chosen):
    alpha, beta = ordinary_beliefs(3000, seed=1)
    got, expected = score(alpha, beta, chosen).double(), reference.score(alpha, beta, chosen)
    assert torch.all((got - expected).abs() <= 1e-6 * expected.abs() + 1e-12)


def test_the_test_values_of_the_method():
    visited = torch.tensor([1.0 + s for s in range(9)])
    expected = [0.02102, 0.04400, 0.06085, 0.06808, 0.06497, 0.05356, 0.03765, 0.02142, 0.00805]
    assert score(visited, 10.0 - visited).tolist() == pytest.approx(expected, abs=6e-6)
    assert score(torch.ones(1), torch.ones(1)).item() == pytest.approx(0.1699318, rel=1e-6)


@pytest.mark.parametrize(
    "chosen", [*FIXED, Thompson(), WeightedInformation(weight="draw")], ids=str
)
def test_scores_are_the_same_bits_on_every_instruction_set(chosen, monkeypatch):
    alpha, beta = ordinary_beliefs(1003, seed=2)
    results = []
    for instruction_set in _C.instruction_sets:
        monkeypatch.setattr(execution, "instruction_set", instruction_set)
        results.append(score(alpha, beta, chosen).view(torch.int32))
    for other in results[1:]:
        assert torch.equal(results[0], other)


@given(
    a=st.floats(0.125, 1e6, width=32),
    b=st.floats(0.125, 1e6, width=32),
    rollouts=st.integers(1, 64),
)
def test_information_is_symmetric_and_within_its_bounds(a, b, rollouts):
    alpha, beta = torch.tensor([a, b]), torch.tensor([b, a])
    chosen = WeightedInformation(rollouts=rollouts, weight="none")
    first, second = score(alpha, beta, chosen).tolist()
    assert first == second
    assert 0 <= first <= information_limit(a + b, rollouts) * (1 + 1e-6)


@pytest.mark.parametrize("rollouts", [1, 2, 3, 5, 8, 13, 32, 200])
def test_the_limit_that_prunes_holds_from_no_evidence_to_a_great_deal(rollouts):
    n = torch.logspace(-6, 7, 60, dtype=torch.float64)
    for p in (0.5, 0.49, 0.3, 0.05, 1e-3, 1e-6):
        exact = reference.information(n * p, n * (1 - p), rollouts)
        limits = torch.tensor([information_limit(x, rollouts) for x in n.tolist()])
        assert (exact <= limits.double() * (1 + 1e-6)).all()


def information_limit(n, rollouts):
    """csrc/score/weighted_information.h"""
    return 0.5 * math.log1p(rollouts / (n + 1 / (3 * n + 4 / rollouts)))


@pytest.mark.parametrize(
    ("a", "b"), [(1.0, 1.0), (0.3, 1.2), (0.05, 4.0), (40.0, 2.0), (300.0, 500.0)]
)
def test_draws_follow_the_beta_distribution(a, b):
    # With target 0 the score is -phi, so float32 keeps the draws that lie next to 0 apart.
    n = 20_000
    draws = -score(torch.full((n,), a), torch.full((n,), b), Thompson(target=0.0, seed=3))
    assert stats.kstest(draws.double().numpy(), stats.beta(a, b).cdf).pvalue > 1e-3


def test_draws_depend_on_seed_and_draw_and_index():
    alpha, beta = torch.full((100,), 2.0), torch.full((100,), 3.0)
    base = score(alpha, beta, Thompson(seed=1, draw=1))
    assert torch.equal(base, score(alpha, beta, Thompson(seed=1, draw=1)))
    assert base.unique().numel() == 100
    for other in (Thompson(seed=2, draw=1), Thompson(seed=1, draw=2)):
        assert not torch.isin(score(alpha, beta, other), base).any()


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: WeightedInformation(rollouts=0), "rollouts: expected 1 to 512, got 0"),
        (lambda: WeightedInformation(rollouts=2.0), "rollouts: expected an int, got 2.0"),
        (lambda: WeightedInformation(mu=3.0), r"mu: expected a number in \[0, 1\], got 3"),
        (lambda: WeightedInformation(mu=None), r"mu: expected a number in \[0, 1\], got None"),
        (lambda: WeightedInformation(seed="1"), r"seed: expected 0 to 2\^64 - 1, got '1'"),
        (lambda: WeightedInformation(eta=float("nan")), "eta: expected"),
        (lambda: WeightedInformation(weight="median"), "weight: expected 'mean'"),
        (lambda: WeightedInformation(weight="none", information=False), "information:"),
        (lambda: Thompson(draw=-1), "draw: expected 0"),
        (lambda: ExpectedDifficulty(target=2.0), "target: expected"),
        (lambda: MixedGroup(rollouts=513), "rollouts: expected"),
    ],
)
def test_a_score_names_the_argument_outside_its_domain(make, named):
    with pytest.raises(ArgumentError, match=named):
        make()
