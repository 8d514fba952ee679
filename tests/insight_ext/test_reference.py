from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from insight_ext import reference
from insight_ext.scores import WeightedInformation

TABLE = Path(__file__).parents[1] / "data" / "weighted_information.csv"


def rows() -> list[dict[str, float]]:
    with TABLE.open() as file:
        return [{name: float(x) for name, x in row.items()} for row in csv.DictReader(file)]


def beliefs(row: dict[str, float]) -> tuple[torch.Tensor, torch.Tensor]:
    return (
        torch.tensor([row["alpha"]], dtype=torch.float64),
        torch.tensor([row["beta"]], dtype=torch.float64),
    )


def test_the_reference_agrees_with_the_30_digit_table():
    for row in rows():
        alpha, beta = beliefs(row)
        rollouts = int(row["rollouts"])
        information = reference.information(alpha, beta, rollouts).item()
        assert information == pytest.approx(row["information_nats"], rel=2e-12), row
        chosen = WeightedInformation(rollouts, row["eta"], row["mu"])
        assert reference.score(alpha, beta, chosen).item() == pytest.approx(row["score"], rel=2e-12)


def test_the_tie_hash_is_splitmix64_over_the_mixed_seed():
    # First outputs of SplitMix64 started at 0, from its public test vector.
    assert reference.mix(0x9E3779B97F4A7C15) == 0xE220A8397B1DCDAF
    assert reference.mix(2 * 0x9E3779B97F4A7C15 % 2**64) == 0x6E789E6AA1B965F4


def test_the_order_is_score_then_hash():
    scores = torch.tensor([0.5, 0.7, 0.5, 0.5])
    expected = sorted([0, 2, 3], key=lambda i: -reference.tie_hash(9, i))
    assert reference.order(scores, seed=9) == [1, *expected]
