from __future__ import annotations

import torch

from insight_ext.selectors import Gps
from insight_ext.selectors.gps import greedy_batch


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
    selector = Gps(60, features=features, diversity=5.0)
    chosen = selector.select(10)
    assert 4 <= int((chosen < 30).sum()) <= 6


def test_the_batch_before_counts():
    features = torch.cat((torch.eye(2)[:1].repeat(30, 1), torch.eye(2)[1:].repeat(30, 1)))
    selector = Gps(60, features=features, diversity=5.0)
    selector._previous = torch.tensor([1.0, 0.0])
    assert int(selector.select(1)) >= 30


def test_the_gain_of_a_single_prompt_is_the_formula():
    features = torch.tensor([[3.0, 4.0], [1.0, 0.0], [0.0, -2.0]])
    selector = Gps(3, features=features, diversity=0.5, target=0.4)
    selector.observe([0, 2], [7, 2], 8)
    selector._previous = torch.tensor([0.6, 0.8])
    terms = selector.explain([0, 1, 2])
    cosine = torch.tensor([1.0, 0.6, -0.8])
    expected = -((terms["success_rate"] - 0.4) ** 2) + 0.5 * (1 - cosine)
    torch.testing.assert_close(terms["score"], expected)
