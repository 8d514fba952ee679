"""What the pool looks like, and what was lost or wasted."""

from __future__ import annotations

import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import betabinom

from insight_ext import BetaPosteriors, ObservationError, Prompt, PromptPool, SelectionLoop
from insight_ext.loop.metrics import occupancy
from insight_ext.runs.layout import Metric

POOL = PromptPool(Prompt(f"p{i}", f"{i}?", str(i), {"rate": 0.5}) for i in range(8))


@given(st.lists(st.integers(0, 8), min_size=1, max_size=8), st.integers(1, 16))
def test_the_shares_of_a_pool_add_up(successes, rollouts):
    beliefs = BetaPosteriors(8)
    beliefs.observe(list(range(len(successes))), successes=successes, rollouts=8)
    shares = occupancy(beliefs, rollouts)
    assert sum(shares.values()) == pytest.approx(1.0)
    assert all(share >= 0 for share in shares.values())


@given(st.lists(st.integers(0, 8), min_size=8, max_size=8), st.integers(1, 16))
def test_a_prompt_is_learnable_where_neither_all_right_nor_all_wrong_is_expected(wins, rollouts):
    beliefs = BetaPosteriors(8)
    beliefs.observe(list(range(8)), successes=wins, rollouts=8)
    alpha, beta = beliefs.alpha.double().numpy(), beliefs.beta.double().numpy()
    wrong, right = (betabinom.pmf(s, rollouts, alpha, beta) for s in (0, rollouts))
    shares = occupancy(beliefs, rollouts)
    clear = abs(wrong - 0.5).min() > 1e-9 and abs(right - 0.5).min() > 1e-9
    if clear:
        assert shares["hopeless"] == (wrong > 0.5).mean()
        assert shares["saturated"] == (right > 0.5).mean()


def test_a_prompt_that_failed_once_is_hopeless():
    beliefs = BetaPosteriors(1)
    beliefs.observe([0], successes=[0], rollouts=8)
    assert occupancy(beliefs, 8)["hopeless"] == 1.0


def test_answers_none_of_which_can_be_scored_are_warned_of():
    loop = SelectionLoop(POOL, rollouts=64)
    for group, *_ in loop.deal(8):
        loop.report(group, [None] * 64)
    with pytest.warns(UserWarning, match="none of 512 answers could be scored"):
        loop.end_step()


def test_rewards_that_vary_below_the_threshold_are_warned_of_early():
    loop = SelectionLoop(POOL, rollouts=2)
    for step in range(4):
        for group, *_ in loop.deal(8):
            loop.report(group, [0.1, 0.4])
        if step < 3:
            loop.end_step()
    with pytest.warns(UserWarning, match="though the rewards of 32 groups vary"):
        loop.end_step()


def test_answers_of_groups_without_a_gradient_are_wasted():
    loop = SelectionLoop(POOL, rollouts=2)
    for group, position, _ in loop.deal(4):
        loop.report(group, [1.0, float(position % 2)])
    metrics = loop.end_step()
    assert metrics["wasted_rollouts"] == 2 * 4 * (1 - metrics["frac_mixed"])
    assert metrics["visits_per_prompt"] == 0.5
    assert metrics["unvisited"] == 0.5


def test_groups_lost_as_stale_are_told_by_their_believed_difficulty():
    rates = torch.tensor([0.0] * 3 + [0.5] * 3 + [1.0] * 2)
    options = {"prior": rates, "prior_strength": 100.0}
    loop = SelectionLoop(POOL, rollouts=2, selector_options=options)
    loop.deal(8)
    metrics = loop.end_step()
    lost = [
        metrics[each.value] for each in (Metric.LOST_HARD, Metric.LOST_MIDDLE, Metric.LOST_EASY)
    ]
    assert lost == [3, 3, 2]
    assert metrics["groups_incomplete"] == 8


def test_a_resumed_loop_tells_the_same():
    one, other = (SelectionLoop(POOL, rollouts=2, history_every=100) for _ in range(2))
    for loop in (one, other):
        for group, *_ in loop.deal(3):
            loop.report(group, [1.0, 0.0])
        loop.end_step()
    resumed = SelectionLoop(POOL, rollouts=2, history_every=100)
    resumed.load_state_dict(other.state_dict())
    names = ("learnable", "unvisited", "wasted_rollouts", "visits_per_prompt")
    ends = [loop.end_step(look=True) for loop in (one, resumed)]
    assert [ends[0][name] for name in names] == [ends[1][name] for name in names]


def test_occupancy_is_told_where_the_pool_is_looked_at_and_never_of_an_earlier_step():
    loop = SelectionLoop(POOL, rollouts=2, history_every=4)
    told = {}
    for step in range(10):
        for group, *_ in loop.deal(1):
            loop.report(group, [1.0, 0.0])
        metrics = loop.end_step(look=True if step == 5 else None)
        if "learnable" in metrics:
            told[step] = metrics["unvisited"]
            assert told[step] == float((loop.selector.posterior.visits == 0).sum()) / len(POOL)
    assert list(told) == [0, 3, 5, 7]


def test_a_run_too_short_for_beliefs_is_warned_of():
    with pytest.warns(UserWarning, match=r"visits each of 8 prompts 1.9 times: per-prompt"):
        SelectionLoop(POOL).expect(15)


@pytest.mark.parametrize(
    ("selector", "options", "groups"),
    [
        ("insight", {}, 16),
        ("insight", {"prior": "meta:rate"}, 8),
        ("insight", {"prior": "empirical"}, 8),
        ("insight", {"features": "ngrams"}, 8),
        ("gps", {"features": "ngrams"}, 8),
        ("uniform", {}, 8),
        ("file_order", {}, 8),
    ],
)
def test_a_run_that_does_not_rest_on_visits_alone_is_not(selector, options, groups):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SelectionLoop(POOL, selector, selector_options=options).expect(groups)


def test_samples_are_kept_from_the_worst_to_the_best():
    loop = SelectionLoop(POOL, "file_order", rollouts=2, keep_samples=2)
    for group, position, _ in loop.deal(4):
        loop.report(group, [None, position / 4], completions=["?", f"answer {position}"])
    loop.end_step()
    assert [(s.id, s.completion, s.reward) for s in loop.samples] == [
        ("p0", "answer 0", 0.0),
        ("p3", "answer 3", 0.75),
    ]


def test_other_numbers_of_texts_than_of_rewards_are_refused():
    loop = SelectionLoop(POOL, rollouts=2)
    (dealt,) = loop.deal(1)
    with pytest.raises(ValueError, match="expected a text for each of 2 rewards, got 1"):
        loop.report(dealt.group, [1.0, 0.0], completions=["one"])


@pytest.mark.parametrize("completions", [5, "ab", b"ab", [None, "b"], [["a"], ["b"]], [{}, {}]])
def test_what_is_no_list_of_texts_is_refused(completions):
    loop = SelectionLoop(POOL, rollouts=2)
    (dealt,) = loop.deal(1)
    with pytest.raises(ObservationError, match="expected a text for each of 2 rewards, got"):
        loop.report(dealt.group, [1.0, 0.0], completions=completions)
