from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_integration.grpo.loss import (
    clipped_policy_loss,
    group_advantages,
    kl_to_reference,
)


def test_advantages_by_hand():
    rewards = torch.tensor([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0], [0.5, 0.0, 0.5, 1.0]])
    one_of_four = [math.sqrt(3), *[-1 / math.sqrt(3)] * 3]
    graded = [0.0, -math.sqrt(2), 0.0, math.sqrt(2)]
    expected = torch.tensor([one_of_four, [0.0] * 4, graded])
    torch.testing.assert_close(group_advantages(rewards), expected)
    plain = torch.tensor([[0.75, -0.25, -0.25, -0.25], [0.0] * 4, [0.0, -0.5, 0.0, 0.5]])
    torch.testing.assert_close(group_advantages(rewards, standardize=False), plain)


@given(st.floats(0, 1, width=32), st.integers(2, 33))
def test_equal_rewards_give_no_advantage_whatever_the_rounding(reward, rollouts):
    assert not group_advantages(torch.full((1, rollouts), reward)).any()


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss"),
    [
        (1.0, 2.0, -2.0),
        (1.1, 1.0, -1.1),
        (1.5, 1.0, -1.28),
        (0.5, 1.0, -0.5),
        (0.5, -1.0, 0.8),
        (1.5, -1.0, 1.5),
    ],
)
def test_the_clipped_loss_by_hand(ratio, advantage, loss):
    new, old = torch.tensor([math.log(ratio) - 1.0]), torch.tensor([-1.0])
    got = clipped_policy_loss(new, old, torch.tensor([advantage]), 0.2, 0.28)
    torch.testing.assert_close(got, torch.tensor([loss]))


def test_a_clipped_token_has_no_gradient():
    new = torch.tensor([math.log(1.5), math.log(1.5)], requires_grad=True)
    clipped_policy_loss(new, torch.zeros(2), torch.tensor([1.0, -1.0])).sum().backward()
    torch.testing.assert_close(new.grad, torch.tensor([0.0, 1.5]))


def test_kl_by_hand():
    got = kl_to_reference(torch.tensor([0.5]).log(), torch.tensor([0.25]).log())
    torch.testing.assert_close(got, torch.tensor([0.5 - math.log(0.5) - 1]))


def test_kl_is_unbiased_under_the_policy():
    policy, reference = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.3, 0.3, 0.4])
    estimate = (policy * kl_to_reference(policy.log(), reference.log())).sum()
    torch.testing.assert_close(estimate, (policy * (policy / reference).log()).sum())
