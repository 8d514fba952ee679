"""Each strategy named after a paper, with the paper's options, against an independent computation.

What is computed here shares no code with the package: mpmath, NumPy and SciPy, prompt by prompt.
"""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import torch
from scipy import stats

from insight_ext.selectors import (
    AdaRft,
    Bots,
    DifficultyPools,
    Dps,
    Greso,
    InSight,
    MixedGroup,
    Mopps,
    Prioritized,
)
from insight_ext.selectors.difficulty_pools import EASY, HARD, NORMAL
from insight_ext.selectors.greso import keep_probability

GROUPS = pytest.mark.parametrize("rollouts", [2, 3, 5, 8, 16, 64])


def observed(selector, rollouts, steps=5, prompts=6, seed=0, parts=False):
    """Steps of results for some of the prompts: [(prompts, successes)], all of them observed.

    With `parts` some of the answers are partly right.
    """
    random = np.random.default_rng(seed)
    history = []
    for step in range(steps):
        chosen = random.choice(selector.pool_size, prompts, replace=False)
        successes = random.binomial(rollouts, random.random(prompts))
        if parts:
            more = successes + random.random(prompts)
            successes = np.minimum(more, rollouts).astype(np.float32)
        successes[:2] = 0, rollouts
        history.append((chosen, successes))
        selector.observe(chosen, successes, np.full(prompts, rollouts), step=step)
    return history


def beliefs(history, n, rollouts, decay, prior=(1.0, 1.0)):
    """The Beta beliefs after these results, in float64."""
    a, b = np.full(n, prior[0]), np.full(n, prior[1])
    for chosen, successes in history:
        for i, s in zip(chosen, successes, strict=True):
            a[i] = decay * a[i] + (1 - decay) * prior[0] + s
            b[i] = decay * b[i] + (1 - decay) * prior[1] + rollouts - s
    return a, b


def entropy(a, b):
    """Of Beta(a, b), in nats."""
    return (
        mpmath.log(mpmath.beta(a, b))
        - (a - 1) * mpmath.digamma(a)
        - (b - 1) * mpmath.digamma(b)
        + (a + b - 2) * mpmath.digamma(a + b)
    )


WHOLE_AND_PARTS = pytest.mark.parametrize("parts", [False, True], ids=["whole", "parts"])


@GROUPS
@WHOLE_AND_PARTS
@pytest.mark.parametrize("prior", [(1.0, 1.0), (0.3, 0.45)], ids=["whole", "fractional"])
def test_insight_is_equations_13_15_and_16(rollouts, prior, parts):
    selector = InSight(12, decay=1.0, candidate_ratio=16, rollouts=rollouts, prior=prior)
    a, b = beliefs(observed(selector, rollouts, parts=parts), 12, rollouts, 1.0, prior)
    scores = selector.explain(range(12))["score"]
    with mpmath.workdps(40):
        for i in range(12):
            x, y = mpmath.mpf(a[i]), mpmath.mpf(b[i])
            gain = entropy(x, y)
            for s in range(rollouts + 1):
                chance = mpmath.binomial(rollouts, s) * mpmath.beta(x + s, y + rollouts - s)
                gain -= chance / mpmath.beta(x, y) * entropy(x + s, y + rollouts - s)
            p = x / (x + y)
            expected = p * (1 - p) * mpmath.exp(-3 * (p - mpmath.mpf("0.3")) ** 2) * gain
            assert float(scores[i]) == pytest.approx(float(expected), rel=2e-5)


@GROUPS
def test_insight_with_features_is_the_formula_of_its_docstring(rollouts):
    kinds = np.arange(12) % 3
    features = torch.eye(3)[torch.from_numpy(kinds)]
    selector = InSight(12, features=features, rollouts=rollouts, eta=2.0, mu=0.4)
    history = observed(selector, rollouts)
    right, tried = np.zeros(3), np.zeros(3)
    own, visits = np.zeros((12, 2)), np.zeros(12)
    for chosen, successes in history:
        counts = np.bincount(kinds[chosen], minlength=3) * rollouts
        kept = 0.5 ** (counts / 512 + 1 / 8)
        right = kept * right + np.bincount(kinds[chosen], successes, 3)
        tried = kept * tried + counts
        own[chosen] = 0.5 * own[chosen] + np.stack((successes, rollouts - successes), axis=1)
        visits[chosen] += 1
    m = ((right + 0.5) / (tried + 1))[kinds]
    n = 1 + own.sum(1)
    p = (m + own[:, 0]) / n
    expected = p * (1 - p) * n / (n + 1) * np.exp(-2.0 * (p - 0.4) ** 2)  # E[phi (1 - phi)], ...
    expected *= (np.log1p(rollouts / n) / 2) ** 0.1 / (1 + visits / 8)
    scores = selector.explain(range(12))["score"].double().numpy()
    np.testing.assert_allclose(scores, expected, rtol=1e-4)


@GROUPS
@WHOLE_AND_PARTS
def test_mapp_is_equation_15(rollouts, parts):
    selector = MixedGroup(12, rule="proportional", candidate_ratio=8, rollouts=rollouts)
    a, b = beliefs(observed(selector, rollouts, parts=parts), 12, rollouts, decay=0.5)
    scores = selector.explain(range(12))["score"]
    with mpmath.workdps(40):
        for i in range(12):
            whole = mpmath.beta(a[i], b[i])
            right = mpmath.beta(a[i] + rollouts, b[i]) / whole
            wrong = mpmath.beta(a[i], b[i] + rollouts) / whole
            assert float(scores[i]) == pytest.approx(float(1 - right - wrong), abs=1e-6)


def share_of_first(make, weights, trials=4000):
    """How often each prompt is the one selected, beside its share of the weights: a chi-squared."""
    counts = np.zeros(len(weights))
    for seed in range(trials):
        counts[int(make(seed).select(1, step=1))] += 1
    expected = trials * np.asarray(weights) / np.sum(weights)
    return stats.chisquare(counts, expected).pvalue


def test_mapp_draws_in_proportion_to_the_score():
    def make(seed):
        selector = MixedGroup(4, rule="proportional", seed=seed)
        selector.observe([0, 1, 2], [8, 4, 1], 8, step=0)
        return selector

    a, b = np.array([9.0, 5.0, 2.0, 1.0]), np.array([1.0, 5.0, 8.0, 1.0])
    mixed = [1 - sum(stats.betabinom.pmf([0, 8], 8, x, y)) for x, y in zip(a, b, strict=True)]
    assert share_of_first(make, mixed) > 1e-3
    top = MixedGroup(4)
    top.observe([0, 1, 2], [8, 4, 1], 8, step=0)
    assert int(top.select(1, step=1)) == int(np.argmax(mixed))


def test_kimi_draws_in_proportion_to_the_share_of_wrong_answers():
    def make(seed):
        selector = Prioritized(3, prior=(1e-6, 1e-6), seed=seed)
        selector.observe([0, 1, 2], [6, 4, 0], 8, step=0)
        return selector

    assert share_of_first(make, [2 / 8, 4 / 8, 8 / 8]) > 1e-3


@GROUPS
def test_kimis_weight_is_the_share_of_wrong_answers_in_groups_of_any_size(rollouts):
    selector = Prioritized(12, prior=(1e-6, 1e-6))
    right, tried = np.zeros(12), np.zeros(12)
    for chosen, successes in observed(selector, rollouts):
        right[chosen] += successes
        tried[chosen] += rollouts
    seen = np.flatnonzero(tried)
    weights = selector.explain(seen)["weight"].double().numpy()
    np.testing.assert_allclose(weights, 1 - right[seen] / tried[seen], atol=2e-6)


@GROUPS
def test_dps_is_a_markov_model_of_each_prompt(rollouts):
    n, memory = 10, 0.5
    selector = Dps(
        n, shared=False, persistence=1, memory=memory, error=0, first_visit=True, candidate_ratio=8
    )
    history = observed(selector, rollouts, steps=6, prompts=4)
    counts, before = np.ones((n, 3, 3)), np.full((n, 3), 1 / 3)
    present = before.copy()  # the distribution foretold for the step at hand
    for chosen, successes in history:
        seen = dict(zip(chosen.tolist(), successes.tolist(), strict=True))
        for i in range(n):
            posterior, moves = present[i], np.zeros((3, 3))
            if i in seen:
                state = 0 if seen[i] == 0 else 2 if seen[i] == rollouts else 1
                posterior = np.eye(3)[state]
                for old in range(3):
                    moves[state, old] = counts[i, state, old] / counts[i, :, old].sum()
                    moves[state, old] *= before[i, old]
                moves /= moves.sum()
            counts[i] = memory * counts[i] + (1 - memory) + moves
            before[i] = posterior
            present[i] = (counts[i] / counts[i].sum(0)) @ posterior
    scores = selector.explain(range(n))["score"].double().numpy()
    np.testing.assert_allclose(scores, present[:, 1], rtol=2e-5)
    top = selector.select(3, step=6, exclude=torch.empty(0, dtype=torch.int64))
    assert len(set(top.tolist())) == 3


def test_dps_takes_the_likeliest_to_be_mixed_of_the_candidates():
    selector = Dps(200, candidate_ratio=None, shared=False, persistence=1, error=0)
    observed(selector, 8, steps=9, prompts=60)
    scores = selector.explain(range(200))["score"]
    chosen = selector.select(20, step=9)
    assert scores[chosen].min() >= scores.sort(descending=True).values[19]


@GROUPS
def test_bots_mixes_own_results_with_interpolated_ones(rollouts):
    n, memory, sharing, decay = 12, 0.9, 0.1, 0.9
    random = np.random.default_rng(5)
    weaker = random.random(n) * 0.5
    references = np.stack((weaker, weaker + random.random(n) * 0.5), axis=1)
    selector = Bots(
        n,
        references=torch.from_numpy(references),
        memory=memory,
        sharing=sharing,
        decay=decay,
        candidate_ratio=None,
    )
    history = observed(selector, rollouts, steps=6)
    a, b, capability = np.ones(n), np.ones(n), None
    for chosen, successes in history:
        rates = successes / rollouts
        low, high = references[chosen].mean(0)
        estimate = (rates.mean() - low) / (high - low + 1e-6)
        if capability is None:
            capability = estimate
        else:
            capability = memory * capability + (1 - memory) * estimate
        q = np.clip(references[:, 0] + capability * (references[:, 1] - references[:, 0]), 0, 1)
        q[chosen] = rates
        own = np.zeros(n)
        own[chosen] = successes
        lost = np.zeros(n)
        lost[chosen] = rollouts - successes
        a = decay * a + (1 - decay) + (1 - sharing) * own + sharing * q * rollouts
        b = decay * b + (1 - decay) + (1 - sharing) * lost + sharing * (1 - q) * rollouts
    np.testing.assert_allclose(selector.posterior.alpha.numpy(), a, rtol=1e-4)
    np.testing.assert_allclose(selector.posterior.beta.numpy(), b, rtol=1e-4)


def test_groups_of_unequal_size_count_alike_where_a_rule_takes_the_mean_of_their_rates():
    won, tried = np.array([8, 1]), np.array([8, 2])
    references = torch.tensor([[0.1, 0.9]]).repeat(4, 1)
    selector = Bots(4, references=references)
    selector.observe([0, 1], won, tried, step=0)
    assert selector.capability == pytest.approx((np.mean(won / tried) - 0.1) / 0.8, rel=1e-4)
    ada = AdaRft(4, difficulty=torch.zeros(4))
    ada.observe([0, 1], won, tried, step=0)
    assert ada.target == pytest.approx(50 * math.tanh(2 * (np.mean(won / tried) - 0.5)))


def test_bots_takes_the_nearest_means_where_it_does_not_draw():
    selector = Bots(12, draw=False, candidate_ratio=None, target=0.6)
    observed(selector, 8)
    distance = (selector.posterior.mean - 0.6).abs()
    assert selector.select(4, step=5).tolist() == distance.argsort()[:4].tolist()


def test_bots_draws_by_a_softmax_of_the_distances_at_a_temperature():
    def make(seed):
        selector = Bots(3, draw=False, temperature=0.2, sharing=0.0, decay=1.0, seed=seed)
        selector.observe([0, 1, 2], [4, 1, 8], 8, step=0)
        return selector

    means = np.array([0.5, 0.2, 0.9])
    assert share_of_first(make, np.exp(-np.abs(means - 0.5) / 0.2)) > 1e-3


def test_a_low_temperature_of_bots_is_the_nearest():
    cold, coldest = (Bots(50, temperature=t, candidate_ratio=None) for t in (1e-6, 0.0))
    for selector in (cold, coldest):
        observed(selector, 8)
    chosen = [set(selector.select(8, step=5).tolist()) for selector in (cold, coldest)]
    assert chosen[0] == chosen[1]


@GROUPS
def test_greso_keeps_by_equation_4_and_adjusts_by_its_targets(rollouts):
    n = 24  # so that a step's share may be at either target, and between them
    selector = Greso(n)
    bases, streaks = [0.5, 0.5], [(0, 0)] * n  # of wrong and right; side and length
    random = np.random.default_rng(rollouts)
    for step in range(30):
        selector.select(n, step=step)
        outcomes = random.choice([0, 1, rollouts], n, p=[0.15, 0.75, 0.1])
        selector.observe(range(n), outcomes, rollouts, step=step)
        for i, s in enumerate(outcomes):
            if 0 < s < rollouts:
                streaks[i] = (0, 0)
            else:
                side = int(s == rollouts)
                length = streaks[i][1] + 1 if streaks[i][1] and streaks[i][0] == side else 1
                streaks[i] = (side, length)
        if step:  # each step here is an epoch
            for side, (outcome, target) in enumerate(((0, 1 / 6), (rollouts, 1 / 12))):
                up = np.mean(outcomes == outcome) < target
                bases[side] = min(max(bases[side] + (0.01 if up else -0.01), 0.05), 0.95)
        expected = [max(bases[side] ** length, 0.01) for side, length in streaks]
        keep = selector.explain(range(n))["keep"]
        assert keep.tolist() == pytest.approx(expected, rel=1e-4)
    assert keep_probability(torch.tensor([0.5]), torch.tensor([3])).tolist() == [0.125]


def test_greso_keeps_as_often_as_it_says():
    selector = Greso(2000, adjustment=0.0)
    for step in range(2):
        selector.observe(range(1000), [8] * 1000, 8, step=step)
    chosen = torch.cat([selector.select(50, step=step) for step in range(2, 12)])
    # Of an epoch's walk each of one half is kept one time in four.
    solved = int((chosen < 1000).sum())
    assert stats.binomtest(solved, 500, 0.25 / 1.25).pvalue > 1e-3


@GROUPS
def test_prime_rl_of_2025_deals_a_tenth_each_from_its_easy_and_its_hard_pool(rollouts):
    selector = DifficultyPools(400, easy_share=0.1, hard_share=0.1)
    successes = np.random.default_rng(0).integers(0, rollouts + 1, 400)
    successes[390:] = rollouts // 2  # normal in groups of any size
    selector.observe(range(400), successes, rollouts, step=0)
    rates = successes / rollouts
    pools = {"easy": rates > 0.8, "hard": rates < 0.2, "normal": (rates >= 0.2) & (rates <= 0.8)}
    members = {name: np.flatnonzero(pool) for name, pool in pools.items()}
    k = len(members["normal"]) // 8 * 10 // 2 + 3  # so many that shares are not whole
    dealt = selector.select(k, step=1).tolist()
    drawn = {name: np.isin(dealt, pool).sum() for name, pool in members.items()}
    tenth = int(k * 0.1)
    assert drawn == {"easy": tenth, "hard": tenth, "normal": k - 2 * tenth}
    # Where a pool is excluded whole, the normal one fills in.
    out = torch.from_numpy(members["easy"])
    dealt = selector.select(20, step=2, exclude=out).tolist()
    drawn = {name: np.isin(dealt, pool).sum() for name, pool in members.items()}
    assert drawn == {"easy": 0, "hard": 2, "normal": 18}


@pytest.mark.parametrize("kept", ["easy", "hard"])
def test_a_rate_at_a_border_of_prime_rl_is_normal(kept):
    share = {f"{kept}_share": 1.0}
    selector = DifficultyPools(11, **share)
    selector.observe(range(11), range(11), 10, step=0)
    pool = {"easy": {9, 10}, "hard": {0, 1}}[kept]
    assert set(selector.select(2, step=1).tolist()) == pool


@pytest.mark.parametrize(("easy", "hard"), [(0.2, 0.2), (0.7, 0.1)])
def test_prime_rl_of_2026_draws_by_the_weights_of_its_pools(easy, hard):
    rates = [0.0, 0.25, 0.375, 0.75, 0.875, 1.0, None]
    weights = [hard, hard, 1.0, 1.0, easy, easy, 1.0]

    def make(seed):
        selector = DifficultyPools(7, easy=0.75, hard=0.25, weights=(easy, hard), seed=seed)
        selector.observe(range(6), [round(8 * rate) for rate in rates[:6]], 8, step=0)
        return selector

    assert share_of_first(make, weights) > 1e-3


@GROUPS
def test_prime_rl_of_2026_sorts_groups_of_any_size_into_its_pools(rollouts):
    selector = DifficultyPools(rollouts + 1, easy=0.75, hard=0.25, weights=(0.2, 0.2))
    selector.observe(range(rollouts + 1), range(rollouts + 1), rollouts, step=0)
    shares = [Fraction(right, rollouts) for right in range(rollouts + 1)]
    easy, hard = Fraction(3, 4), Fraction(1, 4)
    expected = [EASY if p > easy else HARD if p <= hard else NORMAL for p in shares]
    assert selector.explain(range(rollouts + 1))["pool"].tolist() == expected


@GROUPS
def test_adarft_moves_its_target_and_takes_the_nearest(rollouts):
    n = 40
    difficulty = np.random.default_rng(1).random(n) * 100
    selector = AdaRft(n, difficulty=torch.from_numpy(difficulty), start=30.0)
    target = 30.0
    for chosen, successes in observed(selector, rollouts):
        assert len(chosen) == len(successes)
        reward = np.mean(successes / rollouts)
        target = min(max(target + 50 * math.tanh(2 * (reward - 0.5)), 0), 100)
    assert selector.target == pytest.approx(target, rel=1e-6)
    nearest = np.argsort(np.abs(difficulty - target))[:7]
    assert selector.select(7, step=5).tolist() == nearest.tolist()


@GROUPS
def test_mopps_starts_from_offline_answers(rollouts):
    offline = np.random.default_rng(2).integers(0, rollouts + 1, 9)
    rates = torch.from_numpy(offline / rollouts)
    selector = Mopps(9, prior=rates, prior_strength=3 * rollouts)
    history = observed(selector, rollouts, prompts=4)
    a, b = 3.0 * offline + 1.0, 3.0 * (rollouts - offline) + 1.0
    start = a.copy(), b.copy()
    for chosen, successes in history:
        for i, s in zip(chosen, successes, strict=True):
            a[i] = 0.5 * a[i] + 0.5 * start[0][i] + s
            b[i] = 0.5 * b[i] + 0.5 * start[1][i] + rollouts - s
    np.testing.assert_allclose(selector.posterior.alpha.numpy(), a, rtol=1e-5)
    np.testing.assert_allclose(selector.posterior.beta.numpy(), b, rtol=1e-5)


def test_mopps_takes_by_lot_what_falls_into_the_interval():
    n, rates = 4000, np.array([0.05, 0.35, 0.52, 0.7])
    kinds = np.arange(n) % 4
    selector = Mopps(n, rule="threshold", interval=(0.5, 0.8), candidate_ratio=None, decay=1.0)
    selector.observe(range(n), np.round(400 * rates[kinds]).astype(int), 400, step=0)
    chosen = kinds[selector.select(400, step=1).numpy()]
    # A draw of kind i falls into the interval with this probability, and then all are alike.
    successes = np.round(400 * rates)
    within = [np.diff(stats.beta.cdf([0.5, 0.8], 1 + s, 401 - s))[0] for s in successes]
    counts = np.bincount(chosen, minlength=4)
    assert counts[0] == counts[1] == 0
    assert stats.binomtest(int(counts[2]), 400, within[2] / sum(within)).pvalue > 1e-3


def test_a_draw_of_mopps_is_a_draw_of_the_belief():
    selector = Mopps(5000, candidate_ratio=None, decay=1.0)
    selector.observe(range(5000), [3] * 5000, 8, step=0)
    _, distances = selector._distances(0.0, None)
    assert stats.kstest(distances.double().numpy(), stats.beta(4, 6).cdf).pvalue > 1e-3
