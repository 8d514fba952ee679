from __future__ import annotations

import numpy as np
import pytest
import torch

from insight_ext import ArgumentError
from insight_ext.selectors import InSight, Uniform
from insight_ext.simulate import make_learner, run_trial


class Kept(Uniform):
    """Keeps what it observes, a row for each step."""

    def __init__(self, pool_size):
        super().__init__(pool_size)
        self.groups, self.mixed = [], []

    def observe(self, indices, successes, rollouts, *, step):
        self.groups.append(len(indices))
        self.mixed.append(int(((successes > 0) & (successes < rollouts)).sum()))
        assert len(set(indices.tolist())) == len(indices)
        super().observe(indices, successes, rollouts, step=step)


def test_dynamic_sampling_trains_on_a_step_of_mixed_groups_and_observes_all_that_it_rolled_out():
    learner, selector = make_learner("kinds", seed=3, prompts=1_000), Kept(1_000)
    trial = run_trial(learner, selector, steps=4, prompts=16, dynamic=True)
    assert selector.mixed == [16] * 4
    assert min(selector.groups) > 16
    assert learner.lessons.sum() == learner.visits.sum() == 4 * 16
    np.testing.assert_allclose(trial.mixed, np.array(selector.mixed) / selector.groups)


def test_a_step_of_dynamic_sampling_ends_with_the_pool():
    learner, selector = make_learner("kinds", seed=3, prompts=40), Kept(40)
    run_trial(learner, selector, steps=2, prompts=30, dynamic=True)
    assert selector.mixed[0] < 30 <= selector.groups[0] <= 40


@pytest.mark.parametrize("name", ["logistic", "kinds"])
def test_a_step_without_a_mixed_group_teaches_nothing(name, monkeypatch):
    learner = make_learner(name, prompts=40)
    monkeypatch.setattr(learner, "answer", lambda indices, rollouts: torch.zeros_like(indices))
    trial = run_trial(learner, Kept(40), steps=2, prompts=8, dynamic=True)
    assert trial.skill.tolist() == [trial.skill[0]] * 3
    assert trial.mixed.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("dynamic", [False, True])
def test_more_prompts_than_the_pool_has_are_refused(dynamic):
    learner = make_learner("logistic", prompts=40)
    with pytest.raises(ArgumentError, match="41"):
        run_trial(learner, Uniform(40), steps=1, prompts=41, dynamic=dynamic)


def test_without_it_a_step_is_what_was_selected():
    learner = make_learner("logistic", seed=3, prompts=500)
    trial = run_trial(learner, InSight(500), steps=3, prompts=16)
    assert learner.visits.sum() == 3 * 16
    assert trial.mixed.shape == (3,)
    assert torch.equal(torch.tensor(trial.skill).diff() > 0, torch.ones(3, dtype=torch.bool))
