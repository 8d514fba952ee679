from __future__ import annotations

import torch

from insight_ext.proposers import Gps
from insight_ext.proposers.gps import greedy_batch


def brute_force(gains, directions, k, diversity):
    chosen: list[int] = []
    for _ in range(k):
        best, at = -float("inf"), -1
        for i in range(len(gains)):
            if i in chosen:
                continue
            gain = float(gains[i])
            if chosen:
                gain += (
                    diversity
                    * sum(1 - float(directions[i] @ directions[j]) for j in chosen)
                    / len(chosen)
                )
            if gain > best:
                best, at = gain, i
        chosen.append(at)
    return chosen


def test_the_greedy_batch_is_the_formula():
    random = torch.Generator().manual_seed(3)
    directions = torch.nn.functional.normalize(torch.randn(12, 4, generator=random), dim=1)
    gains = -torch.rand(12, generator=random)
    for diversity in (0.0, 0.5, 3.0):
        expected = brute_force(gains, directions, 6, diversity)
        assert greedy_batch(gains, directions, 6, diversity).tolist() == expected


def test_diversity_spreads_the_batch():
    features = torch.cat((torch.eye(2)[:1].repeat(30, 1), torch.eye(2)[1:].repeat(30, 1)))
    proposer = Gps(60, features=features, diversity=5.0)
    chosen = proposer.select(10)
    assert 4 <= int((chosen < 30).sum()) <= 6


def test_the_batch_before_counts():
    features = torch.cat((torch.eye(2)[:1].repeat(30, 1), torch.eye(2)[1:].repeat(30, 1)))
    proposer = Gps(60, features=features, diversity=5.0)
    proposer._previous = torch.tensor([1.0, 0.0])
    assert int(proposer.select(1)) >= 30
