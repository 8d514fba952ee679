from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from insight_ext import ArgumentError, CheckpointError
from insight_ext.beliefs.beta import BetaPosteriors
from insight_ext.beliefs.pool import Prompt, PromptPool
from insight_ext.beliefs.pool_change import PoolChange
from insight_ext.beliefs.shared_prior import JUDGED, MEMORY, STEPS, SharedPrior, kinds_of
from insight_ext.selectors import InSight
from insight_ext.state import carried

KINDS = torch.tensor([0, 0, 0, 1, 1, 1])
FEATURES = torch.eye(2)[KINDS]


def observed(prior: SharedPrior, *groups: tuple[int, int]) -> SharedPrior:
    for prompt, wins in groups:
        prior.observe(torch.tensor([prompt]), torch.tensor([wins]), torch.tensor([8]))
    return prior


def test_all_prompts_of_a_kind_have_its_rate_and_the_others_keep_theirs():
    prior = SharedPrior(KINDS)
    prior.observe(torch.tensor([0, 2]), torch.tensor([8, 0]), torch.tensor([8, 8]))
    assert prior.rates.tolist() == [0.5] * 6
    assert observed(SharedPrior(KINDS), (0, 8)).rates[3:].tolist() == [0.5] * 3


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
    beliefs = BetaPosteriors(6, SharedPrior(KINDS), decay)
    wins, losses = [0.0] * 6, [0.0] * 6
    for prompt, won in groups:
        beliefs.observe([prompt], [won], 8)
        wins[prompt] = decay * wins[prompt] + won
        losses[prompt] = decay * losses[prompt] + 8 - won
    alpha, beta = beliefs.shared.sides()
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
    rates = fresh.posterior.shared.rates
    assert rates[0] == rates[1] > 0.9
    assert rates[7] == rates[6] < 0.1
    assert fresh.predict([0, 7]).tolist() == rates[[0, 7]].tolist()


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
        ({"features": FEATURES, "prior": (1.0, 2.0)}, "features: expected without prior"),
        ({"features": FEATURES, "weight": "draw"}, "features: expected without prior, weight"),
    ],
)
def test_features_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ArgumentError, match=message):
        InSight(6, **options)
