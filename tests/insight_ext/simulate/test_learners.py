from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from insight_ext import ArgumentError
from insight_ext.simulate import LEARNERS, make_learner

EVERY = pytest.mark.parametrize("name", LEARNERS)


@EVERY
def test_equal_seeds_give_equal_learners(name):
    one, other = (make_learner(name, prompts=300, seed=5) for _ in range(2))
    for _ in range(3):
        assert torch.equal(one.train(torch.arange(64), 8), other.train(torch.arange(64), 8))
    assert one.level == other.level


def test_the_skill_grows_by_the_batchs_mean_of_4_p_1_minus_p():
    learner = make_learner("logistic", prompts=500, seed=1)
    p = learner.success_rate(np.arange(100))
    learner.train(torch.arange(100), 8)
    assert learner.level == pytest.approx(-2.0 + 0.08 * float((4 * p * (1 - p)).mean()))


def test_each_further_visit_teaches_seven_tenths_of_the_one_before():
    learner = make_learner("logistic_novelty", prompts=1, rate=0.001, seed=1)
    gains = []
    for _ in range(4):
        before = learner.level
        learner.train(torch.tensor([0]), 8)
        gains.append(learner.level - before)
    ratios = [b / a for a, b in itertools.pairwise(gains)]
    assert ratios == pytest.approx([0.7] * 3, rel=5e-3)


@pytest.mark.parametrize("correlation", [0.0, 0.7, -0.4, 1.0])
def test_the_feature_has_the_chosen_correlation(correlation):
    learner = make_learner("logistic", prompts=40_000, correlation=correlation)
    measured = np.corrcoef(learner.features[:, 0].numpy(), learner.difficulty)[0, 1]
    assert measured == pytest.approx(correlation, abs=0.02)


@EVERY
def test_a_learner_tells_success_rates_of_two_other_models(name):
    learner = make_learner(name, prompts=2000)
    weaker, stronger = learner.references.double().numpy().T
    assert ((weaker >= 0) & (weaker <= stronger) & (stronger <= 1)).all()
    known = stronger > 0  # of the others the key is wrong
    truth = learner.success_rate()
    assert (truth[~known] == 0).all()
    assert 0.3 < np.corrcoef(weaker[known], truth[known])[0, 1] < 0.99
    assert weaker[known].mean() == pytest.approx(truth[known].mean(), abs=0.1)


def test_topics_grow_apart_and_share_what_transfers():
    alone = make_learner("topics", prompts=800, transfer=0.0)
    shared = make_learner("topics", prompts=800, transfer=1.0)
    for learner in (alone, shared):
        only = torch.from_numpy(np.flatnonzero(learner.topic == 0))
        learner.train(only, 8)
    assert (alone.skill > -2.0).tolist() == [True] + [False] * 7
    assert np.ptp(shared.skill) == 0.0
    assert alone.level == pytest.approx(shared.level)


def test_what_is_not_practised_is_forgotten():
    learner = make_learner("forgetting", prompts=400)
    learner.skill[:] = 1.0
    only = torch.from_numpy(np.flatnonzero(learner.topic == 0))
    learner.train(only, 8)
    shared = 0.2 * 0.08  # at most
    assert 1.0 - 0.03 <= learner.skill[1] <= 1.0 - 0.03 + shared


def test_the_verifier_errs_as_often_as_it_should():
    learner = make_learner("noisy_verifier", prompts=20_000)
    broken = np.isinf(learner.difficulty)
    assert broken.mean() == pytest.approx(0.2, abs=0.01)
    passed = learner.train(torch.arange(20_000), 100).numpy() / 100
    assert passed[broken].mean() == pytest.approx(0.05, abs=0.005)
    easy = learner.success_rate() > 0.999
    assert passed[easy].mean() == pytest.approx(0.9, abs=0.01)


def test_broken_prompts_teach_nothing():
    learner = make_learner("noisy_verifier", prompts=1000)
    learner.train(torch.from_numpy(np.flatnonzero(np.isinf(learner.difficulty))), 8)
    assert learner.level == -2.0


@pytest.mark.parametrize(
    "changes", [{"prompts": 0}, {"correlation": 1.5}, {"novelty": -0.1}, {"colour": 1}]
)
def test_settings_outside_their_domain_are_refused(changes):
    with pytest.raises(ArgumentError):
        make_learner("logistic", **changes)


def test_an_unknown_learner_lists_the_known_ones():
    with pytest.raises(ArgumentError, match="unknown learner 'genius'.*logistic_novelty"):
        make_learner("genius")


def test_deepscaler_starts_with_the_recorded_share_of_mixed_groups():
    learner = make_learner("deepscaler", prompts=40_000)
    p = learner.success_rate()
    assert p.mean() == pytest.approx(0.409, abs=0.01)
    assert (1 - p**8 - (1 - p) ** 8).mean() == pytest.approx(0.519, abs=0.015)


def test_prompts_move_by_their_own_speed_where_learnability_is_theirs():
    learner = make_learner("learnability", prompts=20_000)
    before = learner.success_rate()
    learner.skill += 1.6
    after = learner.success_rate()
    moved = np.log(after / (1 - after)) - np.log(before / (1 - before))
    assert moved.mean() == pytest.approx(1.6, abs=0.05)
    assert moved.std() == pytest.approx(1.25, abs=0.05)


def test_kinds_keep_their_shares_in_a_pool_of_any_size():
    small, large = (make_learner("kinds", prompts=n) for n in (2_000, 40_000))
    shares = [np.bincount(learner.kind) / len(learner.kind) for learner in (small, large)]
    np.testing.assert_allclose(*shares, atol=1e-3)


def test_groups_all_right_or_all_wrong_teach_a_learner_of_kinds_nothing():
    learner = make_learner("kinds")
    hopeless = np.flatnonzero(learner.success_rate() < 1e-4)[:32]
    before = learner.skill.copy()
    assert learner.train(torch.from_numpy(hopeless), 8).sum() == 0
    assert (learner.skill <= before).all()


def test_wandering_keeps_the_spread_of_the_difficulties():
    learner = make_learner("kinds", prompts=20_000)
    before = learner.difficulty.copy()
    for _ in range(200):
        learner.train(torch.arange(32), 8)
    assert learner.difficulty.std() == pytest.approx(before.std(), rel=0.05)
    assert np.corrcoef(before, learner.difficulty)[0, 1] == pytest.approx(
        np.exp(-200 * learner.settings.wander), abs=0.05
    )


def test_a_file_that_is_no_fit_is_refused(tmp_path):
    (tmp_path / "fit.json").write_text('{"kinds": []}')
    with pytest.raises(ArgumentError, match="fit.json: expected calibrated settings"):
        make_learner(str(tmp_path / "fit.json"))
