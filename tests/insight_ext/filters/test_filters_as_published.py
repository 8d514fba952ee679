"""Filters and curators with the papers' settings, against independent computations.

Rewards are graded; among the groups are solved and failed ones, and one whose rewards are all equal
without being right.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from insight_ext import Group
from insight_ext.curators import lim, point_biserial
from insight_ext.filters import VCRL, DynamicSampling, Learnability, Speed, UncertaintyConsistency
from insight_ext.offline.logs import GroupLog

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*generation batches gave"),
    pytest.mark.filterwarnings("ignore:Precision loss"),
]
GROUPS = pytest.mark.parametrize("rollouts", [2, 3, 5, 8, 16, 64])
N = 40


def drawn(rollouts, seed=0):
    """Rewards and perplexities of N groups, and the groups."""
    random = np.random.default_rng((seed, rollouts))
    right = random.random((N, rollouts)) < random.random((N, 1))
    rewards = np.where(right, 1.0, random.integers(0, 10, (N, rollouts)) / 10)
    rewards[:3] = np.array([[1.0], [0.0], [0.5]])
    perplexities = 1.0 + random.gamma(2.0, 1.0, (N, rollouts))
    rows = zip(rewards.tolist(), perplexities.tolist(), strict=True)
    groups = [Group(i, tuple(r), perplexity=tuple(u)) for i, (r, u) in enumerate(rows)]
    return rewards, perplexities, groups


def largest(values, allowed, count):
    """Positions of the largest values among the allowed, at least one."""
    order = [i for i in np.argsort(-values, kind="stable") if allowed[i]]
    return sorted(order[: max(1, count)])


@GROUPS
def test_dapo_keeps_groups_with_right_and_wrong_answers(rollouts):
    rewards, _, groups = drawn(rollouts)
    right = (rewards == 1.0).sum(1)
    kept = np.flatnonzero((right > 0) & (right < rollouts))
    chosen = DynamicSampling(success_threshold=1.0).judge([groups], N, refillable=False).train
    assert chosen == kept.tolist()
    varied = DynamicSampling(success_threshold=1.0, by_spread=True)
    spread = np.flatnonzero(rewards.std(1) > 1e-9)
    assert varied.judge([groups], N, refillable=False).train == spread.tolist()


@GROUPS
def test_uncertainty_consistency_keeps_the_largest_thirty_percent(rollouts):
    rewards, perplexities, groups = drawn(rollouts)
    with np.errstate(invalid="ignore"):
        advantage = np.nan_to_num(stats.zscore(rewards, axis=1))
    positive, negative = np.maximum(advantage, 0), np.minimum(advantage, 0)
    consistency = ((positive + 0.1 * negative) / perplexities).mean(1)
    expected = largest(consistency, rewards.std(1) > 1e-9, round(0.3 * N))
    assert UncertaintyConsistency(success_threshold=1.0).judge([groups], N).train == expected


@GROUPS
def test_lilo_keeps_the_most_learnable_half(rollouts):
    rewards, _, groups = drawn(rollouts)
    variance = np.var(rewards == 1.0, axis=1)
    chosen = Learnability(success_threshold=1.0).judge([groups], N).train
    expected = largest(variance, rewards.std(1) > 1e-9, round(0.5 * N))
    assert sorted(variance[chosen]) == pytest.approx(sorted(variance[expected]))


@GROUPS
@pytest.mark.parametrize(("steps", "threshold"), [(0, 0.3), (20, 0.8)])
def test_vcrl_keeps_the_variances_above_its_threshold(rollouts, steps, threshold):
    rewards, _, groups = drawn(rollouts)
    half = [1] * (rollouts // 2) + [0] * (rollouts - rollouts // 2)
    share = np.var(rewards == 1.0, axis=1, ddof=1) / np.var(half, ddof=1)
    chosen = VCRL(success_threshold=1.0)
    chosen.steps = steps
    passed = np.flatnonzero(share >= threshold - 1e-12)
    assert chosen.judge([groups], N, refillable=False).train == passed.tolist()


@GROUPS
def test_speed_goes_on_with_prompts_that_are_neither_solved_nor_failed(rollouts):
    rewards, _, groups = drawn(rollouts)
    chosen = Speed(success_threshold=1.0)
    rate = (rewards == 1.0).mean(1)
    assert [chosen.passes(group) for group in groups] == ((rate > 0) & (rate < 1)).tolist()


def log_of(correct, uncertainty, epoch=None):
    """A log with a row for each answer of each prompt."""
    n, answers = correct.shape
    return GroupLog(
        ids=tuple(map(str, range(n))),
        prompt=np.repeat(np.arange(n), answers),
        successes=correct.ravel().astype(np.int64),
        rollouts=np.ones(n * answers, dtype=np.int64),
        step=np.zeros(n * answers, dtype=np.int64) if epoch is None else None,
        epoch=epoch,
        uncertainty=uncertainty.ravel(),
    )


@GROUPS
def test_the_offline_curator_keeps_the_smallest_point_biserial_correlations(rollouts):
    rewards, perplexities, _ = drawn(rollouts, seed=1)
    correct = rewards == 1.0
    perplexities[5] = 2.0  # no variance
    mixed = correct.any(1) & ~correct.all(1)
    mixed[5] = False
    expected = np.full(N, np.nan)
    for i in np.flatnonzero(mixed):
        expected[i] = stats.pointbiserialr(correct[i], perplexities[i]).statistic
    result = point_biserial(log_of(correct, perplexities))
    np.testing.assert_allclose(-result.scores, expected, rtol=1e-9, atol=1e-9)
    kept = np.argsort(expected, kind="stable")[: min(round(0.3 * N), int(mixed.sum()))]
    assert result.kept.tolist() == kept.tolist()


@GROUPS
def test_lim_is_the_normalised_distance_from_the_mean_curve(rollouts):
    random = np.random.default_rng(rollouts)
    epochs = 4
    curves = random.binomial(rollouts, random.random((N, 1)), (N, epochs))
    curves[0], curves[1] = rollouts, 0
    prompt = np.tile(np.arange(N), epochs)
    visits = GroupLog(
        ids=tuple(map(str, range(N))),
        prompt=prompt,
        successes=curves.T.ravel(),
        rollouts=np.full(N * epochs, rollouts),
        step=None,
        epoch=np.repeat(np.arange(epochs), N),
    )
    rates = curves / rollouts
    mean = rates.mean(0)
    scores = [1 - sum((row - mean) ** 2) / sum((1 - mean) ** 2) for row in rates]
    result = lim(visits)
    np.testing.assert_allclose(result.scores, scores, atol=1e-12)
    assert result.scores[0] == pytest.approx(0.0, abs=1e-12)
    assert set(result.kept.tolist()) == {i for i, score in enumerate(scores) if score >= 0.6}
