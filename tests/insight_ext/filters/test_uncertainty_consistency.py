from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy as scipy_entropy
from scipy.stats import pointbiserialr, zscore

from insight_ext import ArgumentError, CheckpointError, ObservationError
from insight_ext.beliefs.group import Group
from insight_ext.filters import UncertaintyConsistency, entropy, perplexity
from insight_ext.filters.uncertainty_consistency import consistency

K = 8
UNCERTAINTY = st.lists(st.floats(1.0, 50.0), min_size=K, max_size=K, unique=True)
MIXED = st.lists(st.booleans(), min_size=K, max_size=K).filter(lambda b: 0 < sum(b) < K)


def test_a_case_by_hand():
    # mean 1/2, sd 1/2: advantages 1, -1, 1, -1.
    by_hand = (1 / 2 + 1 / 4 + 0.1 * (-1 / 5 - 1 / 10)) / 4
    assert consistency([1, 0, 1, 0], [2.0, 5.0, 4.0, 10.0], 0.1) == pytest.approx(
        by_hand, rel=1e-14
    )


@given(MIXED, UNCERTAINTY)
def test_with_gamma_one_it_is_a_scaled_point_biserial_correlation(correct, uncertainty):
    certainty = 1.0 / torch.tensor(uncertainty, dtype=torch.float64)
    correlation = pointbiserialr(correct, certainty.numpy()).statistic
    expected = float(certainty.std(correction=0)) * correlation
    assert consistency(correct, uncertainty, 1.0) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(MIXED, UNCERTAINTY, st.floats(0.0, 2.0))
def test_it_is_the_weighted_difference_of_mean_certainties(correct, uncertainty, gamma):
    right = [1 / u for u, c in zip(uncertainty, correct, strict=True) if c]
    wrong = [1 / u for u, c in zip(uncertainty, correct, strict=True) if not c]
    p = len(right) / K
    expected = math.sqrt(p * (1 - p)) * (sum(right) / len(right) - gamma * sum(wrong) / len(wrong))
    assert consistency(correct, uncertainty, gamma) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("reward", [0.0, 0.1, 1.0])
def test_a_group_without_spread_scores_zero_exactly(reward):
    assert consistency([reward] * 7, [1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0]) == 0.0


def test_three_of_ten_groups_are_kept_and_none_without_spread():
    alike = [Group(i, (1.0, 1.0), perplexity=(9.0, 9.0)) for i in range(5)]
    mixed = [
        Group(5 + i, (1.0, 0.0), perplexity=(1.0 + u, 9.0)) for i, u in enumerate((3, 1, 4, 0, 2))
    ]
    verdict = UncertaintyConsistency().judge([alike + mixed], 10)
    assert verdict.train == [6, 8, 9]


def test_answers_that_could_not_be_scored_are_left_out_with_their_uncertainty():
    scored = Group(0, (1.0, 0.0, 1.0), perplexity=(2.0, 5.0, 4.0))
    more = Group(0, (1.0, math.nan, 0.0, 1.0), perplexity=(2.0, 0.1, 5.0, 4.0))
    chosen = UncertaintyConsistency()
    assert chosen.value(more) == chosen.value(scored) == consistency([1, 0, 1], [2, 5, 4])


def test_perplexity_looks_at_tokens_only():
    logprobs = torch.tensor([[0.5, 0.125, 0.3], [0.25, 0.25, 0.25]]).log()
    mask = torch.tensor([[True, True, False], [True, True, True]])
    assert perplexity(logprobs, mask).tolist() == pytest.approx([4.0, 4.0])


def test_an_answer_without_tokens_has_no_perplexity():
    with pytest.raises(ObservationError, match="at least one token"):
        perplexity(torch.zeros(2, 3), torch.tensor([[True] * 3, [False] * 3]))


@given(
    st.lists(st.tuples(st.integers(0, 10), st.floats(1.0, 50.0)), min_size=2, max_size=64).filter(
        lambda pairs: len({tenths for tenths, _ in pairs}) > 1
    ),
    st.floats(0.0, 2.0),
)
def test_graded_rewards_of_any_group_size_are_standardised(pairs, gamma):
    rewards, uncertainty = np.array(pairs).T
    advantage = zscore(rewards / 10)
    weights = np.where(advantage > 0, 1.0, gamma)
    expected = np.mean(weights * advantage / uncertainty)
    value = consistency((rewards / 10).tolist(), uncertainty.tolist(), gamma)
    assert value == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_entropy_is_the_mean_over_tokens_of_that_of_the_choices():
    logits = torch.randn(2, 3, 7, generator=torch.Generator().manual_seed(0)) * 3.0
    mask = torch.tensor([[True, True, False], [True, True, True]])
    each = scipy_entropy(torch.softmax(logits.double(), -1).numpy(), axis=-1)
    expected = [each[0, :2].mean(), each[1].mean()]
    assert entropy(logits, mask).tolist() == pytest.approx(expected, rel=1e-12)


def test_choices_that_are_ruled_out_have_no_part_in_the_entropy():
    logits = torch.tensor([[[0.0, 0.0, -torch.inf]]])
    assert entropy(logits, torch.tensor([[True]])).tolist() == pytest.approx([math.log(2)])


def test_a_filter_says_which_uncertainty_it_needs():
    assert UncertaintyConsistency().needs_uncertainty == "perplexity"
    chosen = UncertaintyConsistency(uncertainty="entropy")
    assert chosen.needs_uncertainty == "entropy"
    with pytest.raises(ArgumentError, match=r"expected groups with the entropy .*filters\.entropy"):
        chosen.judge([[Group(0, (0.0, 1.0))]], 1)
    with pytest.raises(CheckpointError, match="expected needs_uncertainty entropy, .* perplexity"):
        chosen.load_state_dict(UncertaintyConsistency().state_dict())
