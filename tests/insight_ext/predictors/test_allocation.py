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


def test_a_bin_of_difficulty_shares_its_samples():
    rates = torch.rand(100, generator=torch.Generator().manual_seed(0))
    counts = allocate_samples(rates, 731, bins=7)
    assert int(counts.sum()) == 731
    in_order = counts[rates.argsort()].tolist()
    sizes = [15, 15, 14, 14, 14, 14, 14]
    means = [float(part.mean()) for part in rates.double().sort().values.split(sizes)]
    parts = [part.tolist() for part in torch.tensor(in_order).split(sizes)]
    assert all(max(part) - min(part) <= 1 for part in parts)
    # What the last sample of any bin added is worth no less than one more would be elsewhere.
    gained = [m * (1 - m) ** (max(part) - 1) for m, part in zip(means, parts, strict=True)]
    next_ones = [m * (1 - m) ** min(part) for m, part in zip(means, parts, strict=True)]
    assert min(gained) >= max(next_ones) - 1e-12


def test_as_many_bins_as_prompts_are_prompts_and_one_bin_is_none():
    rates = torch.tensor([0.9, 0.1, 0.5, 0.4])
    assert torch.equal(allocate_samples(rates, 9, bins=4), allocate_samples(rates, 9))
    assert sorted(allocate_samples(rates, 10, bins=1).tolist()) == [2, 2, 3, 3]


@pytest.mark.parametrize("bins", [0, 5])
def test_bins_outside_their_domain_are_refused(bins):
    with pytest.raises(ArgumentError, match=r"bins: expected an integer in \[1, 4\]"):
        allocate_samples(torch.full((4,), 0.5), 3, bins=bins)


@pytest.mark.parametrize(
    ("rates", "budget"), [([1.2], 1), ([float("nan")], 1), ([], 1), ([0.5], -1)]
)
def test_bad_input_is_refused(rates, budget):
    with pytest.raises(ArgumentError, match="expected"):
        allocate_samples(torch.tensor(rates), budget)
