from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from insight_ext import ArgumentError, Prompt
from lightning_integration.demo.tasks import make_pools
from lightning_integration.grpo import rewards
from lightning_integration.grpo.rewards import (
    REWARDS,
    exact_match,
    make_reward,
    math_verify,
    reasoning_gym_score,
)


def test_exact_match_ignores_white_space_at_the_ends_only():
    prompt = Prompt("a", "?", "1 2")
    assert exact_match(prompt, " 1 2\n") == 1.0
    assert exact_match(prompt, "12") == 0.0


@pytest.mark.parametrize(
    ("answer", "completion", "reward"),
    [
        ("3/4", r"so the answer is $\frac{6}{8}$", 1.0),
        ("3/4", "0.75", 1.0),
        ("3/4", "0.7", 0.0),
        ("12", r"\boxed{12}", 1.0),
        ("12", "no idea", 0.0),
    ],
)
def test_math_verify_compares_values(answer, completion, reward):
    assert math_verify(Prompt("a", "?", answer), completion) == reward


TOWERS = [r"$9^{9^{9^{9}}}$", r"\boxed{10^{10^{10}}}"]


@pytest.mark.parametrize("tower", TOWERS)
def test_a_tower_of_powers_is_wrong_and_not_computed(tower, monkeypatch):
    monkeypatch.setattr(rewards, "MATH_SECONDS", 1)
    assert math_verify(Prompt("a", "?", "3/4"), tower) == 0.0


def test_math_verify_has_a_time_limit_in_other_threads_too(monkeypatch):
    monkeypatch.setattr(rewards, "MATH_SECONDS", 1)
    prompt = Prompt("a", "?", "3/4")
    with ThreadPoolExecutor(1) as thread:
        jobs = [thread.submit(math_verify, prompt, text) for text in (TOWERS[0], "0.75")]
        assert [job.result() for job in jobs] == [0.0, 1.0]


def test_the_scorer_of_sums_is_graded():
    prompt = make_pools("arithmetic", {"add-4": 1}, {"add-4": 1}, seed=0)[0][0]
    right = prompt.answer[::-1]
    assert reasoning_gym_score(prompt, right) == 1.0
    assert 0 < reasoning_gym_score(prompt, right + "7") < 1
    assert reasoning_gym_score(prompt, "") == 0.0


def test_countdown_pays_little_for_a_miss():
    prompt = make_pools("countdown", {"countdown-3": 1}, {"countdown-3": 1}, seed=0)[0][0]
    assert 0 < reasoning_gym_score(prompt, "1+1") < 0.1


def test_rewards_are_found_by_name():
    assert all(make_reward(name) is reward for name, reward in REWARDS.items())
    with pytest.raises(ArgumentError, match="reasoning_gym, exact_match, math_verify"):
        make_reward("vibes")


@pytest.mark.parametrize("path", ["no_such_module:score", "math:no_such_name", "math:pi"])
def test_a_path_without_a_function_is_refused(path):
    with pytest.raises(ArgumentError, match=f"reward '{path}'"):
        make_reward(path)
