from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from insight_ext import reference

TABLE = Path(__file__).parents[2] / "data" / "weighted_information.csv"


def rows() -> list[dict[str, float]]:
    with TABLE.open() as file:
        return [{name: float(x) for name, x in row.items()} for row in csv.DictReader(file)]


def column(some: list[dict[str, float]], name: str) -> torch.Tensor:
    return torch.tensor([row[name] for row in some], dtype=torch.float64)


def test_the_reference_agrees_with_the_30_digit_table():
    for rollouts in sorted({int(row["rollouts"]) for row in rows()}):
        some = [row for row in rows() if row["rollouts"] == rollouts]
        alpha, beta = column(some, "alpha"), column(some, "beta")
        information = reference.information(alpha, beta, rollouts)
        assert information.tolist() == pytest.approx(
            column(some, "information_nats").tolist(), rel=2e-12
        )
        weighted = [
            reference.weight(p, row["eta"], row["mu"])
            for p, row in zip(alpha / (alpha + beta), some, strict=True)
        ]
        scores = torch.stack(weighted) * information
        assert scores.tolist() == pytest.approx(column(some, "score").tolist(), rel=2e-12)


def test_the_tie_hash_is_splitmix64_over_the_mixed_seed():
    # First outputs of SplitMix64 started at 0, from its public test vector.
    assert reference.mix(0x9E3779B97F4A7C15) == 0xE220A8397B1DCDAF
    assert reference.mix(2 * 0x9E3779B97F4A7C15 % 2**64) == 0x6E789E6AA1B965F4


def test_the_order_is_score_then_hash():
    scores = torch.tensor([0.5, 0.7, 0.5, 0.5])
    expected = sorted([0, 2, 3], key=lambda i: -reference.tie_hash(9, i))
    assert reference.order(scores, seed=9) == [1, *expected]
