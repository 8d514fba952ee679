from __future__ import annotations

import math

import pytest
import torch

from insight_ext import ArgumentError, Prompt
from lightning_integration.grpo.reward_sum import RewardSum
from lightning_integration.grpo.rewards import exact_match

PROMPTS = [Prompt("a", "1+1=", "2"), Prompt("b", "1+2=", "3")]
COMPLETIONS = ["2", "four"]


def length(prompt, completion):
    return len(completion)


def number(prompt, completion):
    return float(completion) if completion.isdigit() else None


def test_one_reward_is_the_outcome_and_the_sum():
    one = RewardSum(exact_match)
    scores = one.score(PROMPTS, COMPLETIONS)
    assert one.names == ["exact_match"]
    assert scores.tolist() == [[1.0], [0.0]]
    assert one.total(scores).tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    "outcome", ["exact_match", "lightning_integration.grpo.rewards:exact_match", exact_match]
)
def test_the_outcome_stands_first_however_it_is_named(outcome):
    given = [length, "lightning_integration.grpo.rewards:exact_match"]
    both = RewardSum(given, [0.5, 2.0], outcome)
    scores = both.score(PROMPTS, COMPLETIONS)
    assert both.names == ["exact_match", "length"]
    assert scores.tolist() == [[1.0, 1.0], [0.0, 4.0]]
    assert both.total(scores).tolist() == [2.5, 2.0]


def test_an_outcome_without_weight_is_known_and_not_trained_on():
    both = RewardSum([exact_match, length], [0.0, 1.0], "exact_match")
    scores = both.score(PROMPTS, COMPLETIONS)
    assert scores[:, 0].tolist() == [1.0, 0.0]
    assert both.total(scores).tolist() == [1.0, 4.0]


def test_a_sum_is_known_where_each_weighted_reward_is():
    scores = torch.tensor([[1.0, math.nan], [math.nan, 1.0], [1.0, 1.0]])
    known = {
        weights: RewardSum([exact_match, number], weights, exact_match).total(scores).isnan()
        for weights in ((1.0, 1.0), (0.0, 1.0))
    }
    assert known[1.0, 1.0].tolist() == [True, True, False]
    assert known[0.0, 1.0].tolist() == [True, False, False]


def test_each_reward_may_fail_on_its_own_share(caplog):
    def fails(prompt, completion):
        raise ValueError

    both = RewardSum([exact_match, fails], outcome="exact_match", max_failed=1.0)
    scores = both.score(PROMPTS, COMPLETIONS)
    assert scores[:, 0].tolist() == [1.0, 0.0]
    assert scores[:, 1].isnan().all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "outcome: .* one of exact_match, length, got None"),
        ({"outcome": "correct"}, "outcome: .* one of exact_match, length, got 'correct'"),
        ({"outcome": number}, "outcome: .* got <function number"),
        ({"outcome": length, "weights": [1.0]}, "reward_weights: expected 2 finite numbers"),
        ({"outcome": length, "weights": [0.0, 0.0]}, "reward_weights: .* not all 0"),
        ({"outcome": length, "weights": [1.0, math.inf]}, "reward_weights: .* got .*inf"),
    ],
    ids=["none", "unknown", "another function", "too few", "all zero", "infinite"],
)
def test_several_rewards_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ArgumentError, match=message):
        RewardSum([exact_match, length], **settings)


@pytest.mark.parametrize("given", [[], [length, length]], ids=["none", "twice"])
def test_rewards_without_names_of_their_own_are_refused(given):
    with pytest.raises(ArgumentError, match="reward: expected at least one, each with a name"):
        RewardSum(given, outcome="length")
