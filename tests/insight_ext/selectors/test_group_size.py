"""One K: that of a score is the group size of the run that it chooses for."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch

from insight_ext import ArgumentError, Prompt, PromptPool, SelectionLoop
from insight_ext.curators.rank import rank
from insight_ext.kernel import scores
from insight_ext.offline.logs import GroupLog
from insight_ext.selectors import SELECTORS, make_selector
from insight_ext.selectors.kernel_scored import KernelScoredSelector
from insight_ext.simulate import Setting, compare
from insight_ext.simulate.arms import selector_of

POOL = PromptPool(Prompt(f"p{i}", "?", "x") for i in range(400))
K_SCORED = [
    name
    for name, kind in SELECTORS.items()
    if issubclass(kind, KernelScoredSelector) and hasattr(make_selector(name, 2).score, "rollouts")
]
WITH_K = pytest.mark.parametrize("name", K_SCORED)


def test_every_score_that_has_a_k_belongs_to_a_strategy_that_is_tested_here():
    kinds = [kind for kind in vars(scores).values() if isinstance(kind, type)]
    with_k = {
        kind
        for kind in kinds
        if issubclass(kind, scores.Score)
        and kind is not scores.Score
        and "rollouts" in {field.name for field in fields(kind)}
    }
    assert with_k == {type(make_selector(name, 2).score) for name in K_SCORED}
    assert set(K_SCORED) == {"insight", "mixed_group"}


def observed(selector, rollouts):
    """A selector of the whole pool that has seen beliefs of many kinds."""
    random = np.random.default_rng(3)
    for step in range(3):
        successes = random.binomial(rollouts, random.random(len(POOL)))
        selector.observe(range(len(POOL)), successes, rollouts, step=step)
    return selector


@WITH_K
@pytest.mark.parametrize("rollouts", [2, 16, 64])
def test_the_loop_gives_its_k_to_the_score(name, rollouts):
    options = {"candidate_ratio": None}
    loop = SelectionLoop(POOL, name, rollouts=rollouts, selector_options=options)
    own = make_selector(name, len(POOL), rollouts=rollouts, **options)
    eight = make_selector(name, len(POOL), **options)
    selectors = [observed(each, rollouts) for each in (loop.selector, own, eight)]
    first, second, other = (each.explain(range(len(POOL)))["score"] for each in selectors)
    assert torch.equal(first, second)
    assert not torch.allclose(first, other)
    assert torch.equal(*(each.select(64, step=3) for each in selectors[:2]))


@WITH_K
def test_another_k_than_the_loops_is_refused(name):
    message = r"expected rollouts 8, as in the loop, got 16; give it to the loop alone"
    with pytest.raises(ArgumentError, match=message):
        SelectionLoop(POOL, name, rollouts=8, selector_options={"rollouts": 16})
    with pytest.raises(ArgumentError, match=message):
        SelectionLoop(POOL, make_selector(name, len(POOL), rollouts=16), rollouts=8)
    loop = SelectionLoop(POOL, name, rollouts=16, selector_options={"rollouts": 16})
    assert loop.selector.score.rollouts == 16


@WITH_K
def test_a_simulated_run_gives_its_k_to_the_score_and_refuses_another(name):
    setting = Setting("logistic", pool=50, steps=2, prompts=8, rollouts=16)
    assert selector_of(name, setting.learner_of(0), 0, 16).score.rollouts == 16
    with pytest.raises(ArgumentError, match="expected rollouts 16, .* got 8"):
        compare([setting], [f"{name}:rollouts=8"], seeds=2)


@WITH_K
def test_a_ranking_takes_the_k_of_the_log(name):
    n = 300
    random = np.random.default_rng(1)
    rollouts = np.full(n, 64)
    rollouts[:5] = 60  # of which some answers could not be scored
    log = GroupLog(
        tuple(f"p{i}" for i in range(n)),
        np.arange(n),
        random.binomial(rollouts, random.random(n)),
        rollouts,
        np.zeros(n, dtype=np.int64),
        None,
    )
    ranked = {k: rank(log, name, 60, options={"rollouts": k} if k else None) for k in (0, 8, 64)}
    assert ranked[0].ids == ranked[64].ids != ranked[8].ids
    assert ranked[0].why["score"].tolist() == ranked[64].why["score"].tolist()
