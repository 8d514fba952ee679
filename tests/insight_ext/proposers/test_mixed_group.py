from __future__ import annotations

import torch
from scipy.special import betaln

from insight_ext.proposers import MixedGroup
from insight_ext.proposers.mixed_group import mixed_probability


def test_the_probability_is_the_ratio_of_beta_functions():
    a, b = torch.tensor([1.0, 0.5, 3.0, 40.0]), torch.tensor([1.0, 0.7, 9.0, 2.0])
    for rollouts in (1, 2, 8, 16):
        x, y = a.double().numpy(), b.double().numpy()
        expected = (
            1
            - torch.from_numpy(betaln(x + rollouts, y) - betaln(x, y)).exp()
            - torch.from_numpy(betaln(x, y + rollouts) - betaln(x, y)).exp()
        )
        torch.testing.assert_close(
            mixed_probability(a, b, rollouts).double(), expected, rtol=0, atol=1e-6
        )


def test_one_answer_is_never_mixed():
    assert float(mixed_probability(torch.tensor([2.0]), torch.tensor([3.0]), 1)) < 1e-6


def test_two_answers_differ_with_twice_the_expected_product():
    # E[2 phi (1 - phi)] = 2 a b / (n (n + 1)) = 2 * 2 * 3 / 30
    value = float(mixed_probability(torch.tensor([2.0]), torch.tensor([3.0]), 2))
    assert abs(value - 0.4) < 1e-6


def test_the_likeliest_to_be_mixed_is_selected():
    proposer = MixedGroup(3)
    proposer.observe([0, 1, 2], [0, 5, 8], 8)
    assert proposer.select(1).tolist() == [1]
