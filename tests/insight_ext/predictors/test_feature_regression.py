from __future__ import annotations

import math

import pytest
import torch

from insight_ext.predictors import FeatureRegression
from insight_ext.simulate import make_learner


def follow(learner, model, steps=12, prompts=128, seed=0):
    """Train the learner on random prompts and let the model watch."""
    random = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        chosen = torch.randperm(learner.settings.prompts, generator=random)[:prompts].sort().values
        model.observe(chosen, learner.train(chosen, 8), torch.full((prompts,), 8))
    return model


def test_the_skill_and_the_features_weight_are_found():
    learner = make_learner("logistic", prompts=4000, seed=1)
    model = follow(learner, FeatureRegression(4000, learner.features))
    intercept, slope = model.skill.coefficients.tolist()
    assert intercept == pytest.approx(learner.mean_skill, abs=0.25)
    assert slope == pytest.approx(-3 * 0.7, abs=0.25)
    assert model.spread == pytest.approx(3 * math.sqrt(1 - 0.7**2), abs=0.25)


def test_a_feature_that_says_nothing_gets_no_weight_and_a_wide_spread():
    learner = make_learner("logistic", prompts=4000, correlation=0.0, seed=2)
    model = follow(learner, FeatureRegression(4000, learner.features))
    assert abs(float(model.skill.coefficients[1])) < 0.25
    assert model.spread == pytest.approx(3.0, abs=0.4)


def test_predictions_of_unseen_prompts_come_true_as_often_as_they_say():
    learner = make_learner("logistic", prompts=6000, seed=3)
    model = follow(learner, FeatureRegression(6000, learner.features))
    alpha, beta = model.beliefs()
    unseen = model.visits == 0
    predicted, truth = (alpha / (alpha + beta))[unseen], torch.from_numpy(learner.success_rate())
    truth = truth[unseen]
    for low in (0.1, 0.3, 0.5, 0.7):
        inside = (predicted >= low) & (predicted < low + 0.2)
        assert float(truth[inside].mean()) == pytest.approx(low + 0.1, abs=0.07)
    # The strength is honest as well: the spread of the truth around p is that of the Beta.
    strength = (alpha + beta)[unseen]
    expected = (predicted * (1 - predicted) / (strength + 1)).mean()
    observed = ((truth - predicted) ** 2).mean()
    assert float(observed) == pytest.approx(float(expected), rel=0.15)


@pytest.mark.parametrize("novelty", [0.7, 1.0])
def test_what_repeats_teach_is_found_where_prompts_repeat(novelty):
    learner = make_learner("logistic", prompts=600, novelty=novelty, seed=4)
    model = FeatureRegression(600, learner.features)
    random = torch.Generator().manual_seed(0)
    for step in range(40):
        # Ever the same few, then fresh ones: the contrast tells.
        few = 150 if step % 20 < 12 else 600
        chosen = torch.randperm(few, generator=random)[:128].sort().values
        model.observe(chosen, learner.train(chosen, 8), torch.full((128,), 8))
    assert model.novelty == pytest.approx(novelty, abs=0.12)


def test_a_given_novelty_is_kept():
    model = FeatureRegression(100, novelty=0.6)
    model.observe(torch.arange(50), torch.full((50,), 4), torch.full((50,), 8))
    assert model.novelty == pytest.approx(0.6)


def test_all_right_and_all_wrong_batches_leave_finite_beliefs():
    model = FeatureRegression(20, torch.arange(20.0)[:, None])
    for successes in (0,) * 30 + (8,) * 30:
        model.observe(torch.arange(20), torch.full((20,), successes), torch.full((20,), 8))
        for side in model.beliefs():
            assert bool((torch.isfinite(side) & (side > 0)).all())


def test_beliefs_of_visited_prompts_loosen_with_time():
    model = FeatureRegression(20, own_drift=0.2)
    full = torch.full((1,), 8)
    model.observe(torch.tensor([0]), torch.tensor([4]), full)
    fresh = float(model.logits(torch.tensor([0]))[1])
    for i in range(1, 10):
        model.observe(torch.tensor([i]), torch.tensor([8 * (i % 2)]), full)
    assert float(model.logits(torch.tensor([0]))[1]) > fresh
