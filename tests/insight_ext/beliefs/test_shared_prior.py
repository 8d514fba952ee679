from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from insight_ext import ArgumentError, CheckpointError
from insight_ext.beliefs.beta import BetaPosteriors
from insight_ext.beliefs.empirical import fit_beta
from insight_ext.beliefs.pool import Prompt, PromptPool
from insight_ext.beliefs.pool_change import PoolChange
from insight_ext.beliefs.shared_prior import JUDGED, MEMORY, START, STEPS, SharedPrior, kinds_of
from insight_ext.selectors import InSight
from insight_ext.state import carried

KINDS = torch.tensor([0, 0, 0, 1, 1, 1])
FEATURES = torch.eye(2)[KINDS]


def rates(prior: SharedPrior) -> torch.Tensor:
    """What each prompt's kind has shown: the means of priors of strength 1."""
    return prior.sides(START)[0]


def observed(prior: SharedPrior, *groups: tuple[int, int]) -> SharedPrior:
    for prompt, wins in groups:
        prior.observe(torch.tensor([prompt]), torch.tensor([wins]), torch.tensor([8]))
    return prior


def test_all_prompts_of_a_kind_have_its_rate_and_the_others_keep_theirs():
    prior = SharedPrior(KINDS)
    prior.observe(torch.tensor([0, 2]), torch.tensor([8, 0]), torch.tensor([8, 8]))
    assert rates(prior).tolist() == [0.5] * 6
    assert rates(observed(SharedPrior(KINDS), (0, 8)))[3:].tolist() == [0.5] * 3


def test_half_of_what_a_kind_showed_is_forgotten_after_its_memory_and_after_some_steps():
    once = observed(SharedPrior(KINDS), (0, 0))
    many = torch.tensor([MEMORY])
    once.observe(torch.tensor([1]), many, many)
    wrong = float(once.tried[0] - once.right[0])
    assert wrong == pytest.approx(8 * 2 ** -(1 + 1 / STEPS), rel=1e-5)
    steps = observed(SharedPrior(KINDS), (0, 0), *[(3, 8)] * int(STEPS))
    assert float(steps.tried[0]) == pytest.approx(8 / 2)


def test_a_hopeless_kind_is_asked_again_when_the_others_have_moved_on():
    selector = InSight(200, features=torch.eye(2)[torch.arange(200) // 100], candidate_ratio=None)
    selector.observe(torch.arange(30), torch.zeros(30, dtype=torch.int64), 8, step=0)
    asked = []
    for step in range(1, 60):
        chosen = selector.select(4, step=step)
        selector.observe(chosen, 7 * (chosen >= 100), 8, step=step)
        asked.append(int((chosen < 100).sum()))
    assert not any(asked[:3])
    assert any(asked)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 8)), max_size=40), st.floats(0, 1))
def test_a_belief_is_its_present_prior_and_its_own_faded_evidence(groups, decay):
    beliefs = BetaPosteriors(6, START, decay, kinds=KINDS)
    wins, losses = [0.0] * 6, [0.0] * 6
    for prompt, won in groups:
        beliefs.observe([prompt], [won], 8)
        wins[prompt] = decay * wins[prompt] + won
        losses[prompt] = decay * losses[prompt] + 8 - won
    alpha, beta = beliefs.shared.sides(START)
    assert (beliefs.alpha - alpha).tolist() == pytest.approx(wins, abs=1e-4)
    assert (beliefs.beta - beta).tolist() == pytest.approx(losses, abs=1e-4)
    assert bool((beliefs.alpha >= alpha).all())


def test_a_hopeless_kind_is_left_without_a_visit_to_each_of_its_prompts():
    kinds = torch.arange(200) // 100
    selector = InSight(200, features=torch.eye(2)[kinds], candidate_ratio=None)
    first = selector.select(20, step=0)
    selector.observe(first, 4 * kinds[first], 8, step=0)
    assert bool((kinds[selector.select(20, step=1)] == 1).all())


def test_without_features_nothing_is_shared():
    selector = InSight(6)
    assert selector.posterior.shared is None
    selector.observe([0], [8], 8, step=0)
    assert selector.posterior.alpha[1:].tolist() == [1.0] * 5


def test_repeats_of_a_prompt_are_worth_less():
    selector = InSight(6, features=FEATURES, decay=0.0)
    selector.observe([0, 3], [4, 4], 8, step=0)
    for step in (1, 2, 3):
        selector.observe([0], [4], 8, step=step)
    scores = selector.explain([0, 3])["score"]
    assert scores[0] < scores[1]


def test_a_resumed_run_goes_on_to_the_bit():
    one, other = (InSight(6, features=FEATURES, candidate_ratio=2, seed=3) for _ in range(2))
    for step in range(5):
        one.observe(one.select(2, step=step), [step % 9, 3], 8, step=step)
    other.load_state_dict(one.state_dict())
    for step in range(5, 12):
        chosen = one.select(2, step=step)
        assert torch.equal(chosen, other.select(2, step=step))
        for selector in (one, other):
            selector.observe(chosen, [step % 9, 2], 8, step=step)
    assert torch.equal(one.posterior.alpha, other.posterior.alpha)


def test_a_run_with_other_features_does_not_go_on():
    saved = InSight(6, features=FEATURES).state_dict()
    with pytest.raises(CheckpointError, match="features"):
        InSight(6, features=1.0 - FEATURES[:, :1]).load_state_dict(saved)
    with pytest.raises(CheckpointError, match="features"):
        InSight(6).load_state_dict(saved)


def test_a_prompt_that_joins_the_pool_begins_with_what_its_kind_has_shown():
    def pool(ids):
        return PromptPool([Prompt(name, name, "1") for name in ids])

    earlier, later = pool("abcdef"), pool("xfeabdcy")
    run = InSight(6, features=FEATURES)
    run.observe([0, 3], [0, 8], 8, step=0)
    # The kinds are numbered the other way round in the new pool.
    fresh = InSight(8, features=torch.tensor([0.0, 0, 0, 1, 1, 0, 1, 1])[:, None])
    change = PoolChange(earlier.state_dict(), later)
    fresh.load_state_dict(carried(run.state_dict(), fresh.state_dict(), change))
    m = rates(fresh.posterior.shared)
    assert m[0] == m[1] > 0.9
    assert m[7] == m[6] < 0.1
    assert fresh.predict([0, 7]).tolist() == m[[0, 7]].tolist()


def test_features_that_tell_nothing_are_warned_of_and_others_not():
    kinds = torch.arange(JUDGED) % 8
    visited, answers = torch.arange(JUDGED), torch.full((JUDGED,), 8)
    told = SharedPrior(kinds)
    told.observe(visited, kinds, answers)
    assert told.gain == pytest.approx(1.0)
    nothing = SharedPrior(kinds)
    with pytest.warns(UserWarning, match="cannot be told from nothing"):
        nothing.observe(visited, torch.arange(JUDGED) // 8 % 8, answers)
    assert nothing.gain < 0.01


def test_equal_rows_are_a_kind_and_many_different_ones_are_clustered():
    assert kinds_of(FEATURES).tolist() in (KINDS.tolist(), (1 - KINDS).tolist())
    line = torch.linspace(0, 1, 500)[:, None]
    kinds = kinds_of(line)
    assert 8 < len(kinds.unique()) <= 32
    assert int((kinds[1:] != kinds[:-1]).sum()) == len(kinds.unique()) - 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": torch.ones(6, 2)}, "column 0 is 1 for every prompt"),
        ({"features": torch.zeros(5, 2)}, r"expected shape \(6, d\)"),
        ({"features": FEATURES, "weight": "draw"}, "features: expected without weight and inf"),
        (
            {"features": FEATURES, "prior": (torch.ones(6), torch.tensor([1.0, 2, 0.5, 1, 1, 1]))},
            r"prior beta\[2\]: expected at least 1 where prompts have kinds.* got 0.5",
        ),
    ],
)
def test_features_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ArgumentError, match=message):
        InSight(6, **options)


def shown(groups, kinds, start=(0.5, 0.5)):
    """The rate of each kind after steps of (prompt, right of 8), one group a step."""
    right, tried = np.zeros(2), np.zeros(2)
    for prompt, won in groups:
        of_kind = np.bincount([kinds[prompt]], minlength=2)
        kept = 0.5 ** (8 * of_kind / MEMORY + 1 / STEPS)
        right, tried = kept * right + won * of_kind, kept * tried + 8 * of_kind
    return ((right + start[0]) / (tried + sum(start)))[kinds]


@pytest.mark.parametrize("strength", [0.0, 8.0, 24.0])
def test_given_success_rates_are_answers_on_top_of_what_the_kind_has_shown(strength):
    kinds, given = KINDS.numpy(), np.array([0.0, 0.25, 0.5, 0.75, 1.0, 0.125])
    prior = torch.from_numpy(given)
    selector = InSight(6, features=KINDS[:, None].float(), prior=prior, prior_strength=strength)
    groups = [(0, 8), (4, 0), (0, 3), (5, 2)]
    own = np.zeros((6, 2))
    for step, (prompt, won) in enumerate(groups):
        selector.observe([prompt], [won], 8, step=step)
        own[prompt] = 0.5 * own[prompt] + [won, 8 - won]
    m = shown(groups, kinds)
    alpha, beta = m + strength * given + own[:, 0], 1 - m + strength * (1 - given) + own[:, 1]
    np.testing.assert_allclose(selector.posterior.alpha.numpy(), alpha, rtol=1e-5)
    np.testing.assert_allclose(selector.posterior.beta.numpy(), beta, rtol=1e-5)
    np.testing.assert_allclose(
        selector.predict(range(6)).numpy(), alpha / (alpha + beta), rtol=1e-5
    )


def test_a_given_beta_distribution_is_what_every_kind_starts_from():
    start = (0.6, 1.8)
    selector = InSight(6, features=FEATURES, prior=start)
    assert selector.predict(range(6)).tolist() == pytest.approx([0.25] * 6)
    groups = [(1, 6), (1, 8)]
    for step, (prompt, won) in enumerate(groups):
        selector.observe([prompt], [won], 8, step=step)
    m = shown(groups, KINDS.numpy(), start)
    seen = [2.4 * m[1] + 0.5 * 6 + 8, 2.4 * (1 - m[1]) + 0.5 * 2]
    assert selector.explain([1])["alpha"].tolist() == pytest.approx(seen[:1])
    assert selector.explain([1])["beta"].tolist() == pytest.approx(seen[1:])
    assert selector.predict([0, 3]).tolist() == pytest.approx([m[0], 0.25])


def test_a_fitted_beta_distribution_is_what_every_kind_starts_from():
    n = 400
    kinds = torch.arange(n) // 200
    selector = InSight(n, features=torch.eye(2)[kinds], prior="empirical", decay=1.0)
    assert selector.explain([0, n - 1])["alpha"].tolist() == [0.5, 0.5]
    assert selector.explain([0, n - 1])["beta"].tolist() == [0.5, 0.5]
    wins = torch.arange(100) % 9
    selector.observe(range(100), wins, 8, step=0)
    alpha, beta = selector.posterior.prior
    fitted = fit_beta(wins, torch.full((100,), 8), torch.ones(100))
    assert (alpha, beta) == pytest.approx(fitted, rel=1e-3)
    assert selector.predict([n - 1]).tolist() == pytest.approx([alpha / (alpha + beta)])
    # The first kind's rate, and the answers of a prompt of it on top.
    strength, right, tried = alpha + beta, float(wins.sum()), 800.0
    m = (right + alpha) / (tried + strength)
    assert selector.explain([3])["alpha"].tolist() == pytest.approx([strength * m + 3], rel=1e-4)


@pytest.mark.parametrize("prior", ["rates", (0.6, 1.8), "empirical"], ids=["rates", "pair", "fit"])
def test_a_run_with_features_and_a_prior_resumes_to_the_bit(prior):
    n = 120
    features = torch.eye(3)[torch.arange(n) % 3]
    given = torch.linspace(0, 1, n) if prior == "rates" else prior
    one, other = (InSight(n, features=features, prior=given, candidate_ratio=2) for _ in range(2))
    for step in range(8):
        chosen = one.select(12, step=step)
        one.observe(chosen, chosen % 9, 8, step=step)
    other.load_state_dict(one.state_dict())
    for step in range(8, 16):
        chosen = one.select(12, step=step)
        assert torch.equal(chosen, other.select(12, step=step))
        for selector in (one, other):
            selector.observe(chosen, chosen % 9, 8, step=step)
    for side in ("alpha", "beta"):
        assert torch.equal(getattr(one.posterior, side), getattr(other.posterior, side))


def test_a_run_with_another_prior_does_not_go_on():
    saved = InSight(6, features=FEATURES, prior=torch.full((6,), 0.25)).state_dict()
    for prior in (torch.full((6,), 0.5), (0.5, 0.5), "empirical"):
        with pytest.raises(CheckpointError, match="expected"):
            InSight(6, features=FEATURES, prior=prior).load_state_dict(saved)


def test_the_gain_is_the_adjusted_share_of_the_variance_between_kinds():
    random = np.random.default_rng(0)
    kinds = np.arange(1024) % 60
    successes = np.minimum(kinds // 10 + random.integers(0, 5, 1024), 8)
    prior = SharedPrior(torch.from_numpy(kinds))
    prior.observe(torch.arange(1024), torch.from_numpy(successes), torch.full((1024,), 8))
    success_rates = successes / 8
    parts = [success_rates[kinds == kind] for kind in range(60)]
    within = sum(len(part) * np.var(part) for part in parts) / (1024 - 60)
    assert prior.gain == pytest.approx(1 - within / np.var(success_rates, ddof=1), abs=1e-6)
