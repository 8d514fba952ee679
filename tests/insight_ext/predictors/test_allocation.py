from __future__ import annotations

import itertools

import pytest
import torch

from insight_ext import ArgumentError
from insight_ext.predictors import allocate_samples


def test_samples_are_dealt_as_well_as_any_allocation_could():
    rates = [0.8, 0.5, 0.2, 0.05]

    def solved(counts):
        return sum(1 - (1 - r) ** m for r, m in zip(rates, counts, strict=True))

    for budget in range(7):
        counts = allocate_samples(torch.tensor(rates), budget).tolist()
        assert sum(counts) == budget
        every = (c for c in itertools.product(range(budget + 1), repeat=4) if sum(c) == budget)
        assert solved(counts) == pytest.approx(max(map(solved, every)))


@pytest.mark.parametrize(
    ("rates", "budget"), [([1.2], 1), ([float("nan")], 1), ([], 1), ([0.5], -1)]
)
def test_bad_input_is_refused(rates, budget):
    with pytest.raises(ArgumentError, match="expected"):
        allocate_samples(torch.tensor(rates), budget)
