from __future__ import annotations

import json
import logging
import math
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from insight_ext import ArgumentError, ObservationError, Prompt, PromptPool
from lightning_integration.demo.tasks import make_pools
from lightning_integration.grpo.rewards import (
    REWARDS,
    FailureLimit,
    MathVerify,
    exact_match,
    make_reward,
    math_verify,
    reasoning_gym_score,
    score_completions,
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


def test_an_answer_that_cannot_be_parsed_is_named_and_makes_no_completion_wrong(caplog):
    prompts = [Prompt("a", "?", r"\frac{1}{"), Prompt("b", "?", "3"), Prompt("c", "?", "", ())]
    with caplog.at_level(logging.WARNING):
        assert score_completions(math_verify, prompts, ["2", "2", "2"]) == [None, 0.0, None]
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "for prompt 'a': ValueError: math-verify cannot parse the prompt's answer" in said[0]


def test_any_of_the_accepted_answers_is_right():
    prompt = Prompt("a", "?", "1/2", other_answers=("3", "x+1"))
    for completion, reward in (("3", 1.0), ("1/2", 1.0), ("x+1", 1.0), ("4", 0.0)):
        assert exact_match(prompt, completion) == reward
        assert math_verify(prompt, f"${completion}$") == reward


HOSTILE = {
    "tower": r"$9^{9^{9^{9}}}$",
    "boxed tower": r"\boxed{10^{10^{10}}}",
    "plain tower": "9**9**9**9",
    "factorial": r"\boxed{99999999!}",
    "parentheses": r"\boxed{" + "(" * 3000 + "1" + ")" * 3000 + "}",
    "fractions": r"\boxed{" + r"\frac{1}{" * 2000 + "1" + "}" * 2000 + "}",
    "roots": "$" + r"\sqrt{" * 1000 + "2" + "}" * 1000 + "$",
    "sum": r"$\sum_{i=1}^{10^{9}} i^{i}$",
    "power of a sum": r"\boxed{(x+1)^{100000}}",
    "binomial": r"\boxed{\binom{10^9}{5\cdot 10^8}}",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_an_expression_that_nobody_can_finish_is_unscorable(text):
    assert MathVerify(seconds=0.3)(Prompt("a", "?", "3/4"), text) is None


def test_the_answers_after_a_hostile_one_are_scored():
    prompts = [Prompt("a", "?", "3/4")] * 3
    texts = [HOSTILE["tower"], "0.75", "0.7"]
    reward = MathVerify(seconds=0.3, processes=1)
    assert reward.score_batch(prompts, texts) == [None, 1.0, 0.0]


def test_a_step_has_a_budget_and_the_next_one_another():
    reward = MathVerify(seconds=600.0, step_seconds=0.3, processes=1)
    prompt = Prompt("a", "?", "3/4")
    assert reward.score_batch([prompt] * 40, [HOSTILE["tower"]] * 40) == [None] * 40
    assert MathVerify(processes=1)(prompt, "0.75") == 1.0


def test_math_verify_works_in_other_threads_too():
    prompt = Prompt("a", "?", "3/4")
    with ThreadPoolExecutor(3) as threads:
        jobs = [threads.submit(math_verify, prompt, text) for text in ("0.75", "3", "6/8")]
        assert [job.result() for job in jobs] == [1.0, 0.0, 1.0]


# What runs where it is evaluated, by the notation of the task that would have to let it through.
PROGRAM = "__import__('os').system('touch {marker}')"
EVALUATING = ["countdown", "puzzle24", "simple_integration", "intermediate_integration"]
EVALUATING += ["polynomial_multiplication", "n_queens", "string_insertion", "codeio"]


@pytest.mark.parametrize("task", ["arithmetic", "countdown"])
@pytest.mark.parametrize("generator", EVALUATING)
def test_a_pool_cannot_have_a_completion_executed(task, generator, tmp_path):
    marker = tmp_path / "executed"
    program = PROGRAM.format(marker=marker)
    entry = {
        "answer": "1",
        "metadata": {"numbers": [1], "target": 1, "variable": "x", "integrand": program},
    }
    row = {"id": "a", "prompt": "?", "answer": "1", "task": task, "generator": generator}
    (tmp_path / "pool.jsonl").write_text(json.dumps({**row, "entry": entry}))
    prompt = PromptPool.from_jsonl(tmp_path / "pool.jsonl")[0]
    completions = [program, program[::-1], f"1+{program}", f"({program})"]
    if (task, generator) == ("countdown", "countdown"):
        assert all(reasoning_gym_score(prompt, text) < 0.1 for text in completions)
    else:
        with pytest.raises(ArgumentError, match=f"got '{task}' with '{generator}'"):
            reasoning_gym_score(prompt, completions[0])
    assert not marker.exists()


@pytest.mark.parametrize(
    "meta",
    [
        {},
        {"task": "countdown", "generator": "countdown"},
        {"task": ["countdown"], "generator": {}, "entry": {}},
        {"task": "countdown", "generator": "basic_arithmetic", "entry": {}},
    ],
)
def test_a_prompt_of_no_task_is_named(meta):
    with pytest.raises(ArgumentError, match="prompt 'a': expected an entry, a task and its gen"):
        reasoning_gym_score(Prompt("a", "?", "1", meta), "1")


def test_math_verify_executes_nothing(tmp_path):
    marker = tmp_path / "executed"
    program = PROGRAM.format(marker=marker)
    for text in (program, rf"\boxed{{{program}}}", f"${program}$", f"the answer is ({program})"):
        math_verify(Prompt("a", "?", "2"), text)
    with pytest.raises(ValueError, match="math-verify cannot parse the prompt's answer"):
        math_verify(Prompt("a", "?", program), "2")
    assert not marker.exists()


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


TEN = [Prompt(f"p{i}", "?", str(i)) for i in range(10)]
TEXTS = [str(i) for i in range(10)]


@pytest.mark.parametrize("workers", [1, 4])
def test_rewards_come_in_the_order_of_the_completions(workers):
    def reward(prompt, text):
        return int(prompt.answer) + float(text)

    got = score_completions(reward, TEN, TEXTS, workers=workers)
    assert got == [2.0 * i for i in range(10)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (math.nan, None),
        (torch.tensor(math.nan), None),
        (True, 1.0),
        (np.float32(0.5), 0.5),
        (torch.tensor(0.25), 0.25),
    ],
)
def test_what_a_reward_cannot_tell_is_none_and_no_failure(value, expected):
    got = score_completions(lambda *_: value, TEN, TEXTS, limit=FailureLimit(0.0))
    assert got == [expected] * 10


@pytest.mark.parametrize("value", ["good", [1.0], math.inf, {"score": 1}])
def test_what_is_no_finite_number_is_a_failure(value):
    with pytest.raises(ObservationError, match="got 2 failures, the last for prompt 'p1'"):
        score_completions(lambda *_: value, TEN, TEXTS, limit=FailureLimit(0.001))


def failing_on(*answers):
    def reward(prompt, text):
        if prompt.answer in answers:
            raise KeyError("verdict")
        return 1.0

    return reward


@pytest.mark.parametrize("workers", [1, 4])
def test_failures_within_the_share_are_logged_with_prompt_and_completion(workers, caplog):
    with caplog.at_level(logging.WARNING):
        got = score_completions(failing_on("3", "7"), TEN, TEXTS, workers=workers)
    assert got == [None if i in (3, 7) else 1.0 for i in range(10)]
    said = sorted(record.getMessage() for record in caplog.records)
    assert len(said) == 2
    assert "prompt 'p3': KeyError: 'verdict'; the completion was '3'" in said[0]


@pytest.mark.parametrize("workers", [1, 4])
def test_failures_beyond_the_share_end_the_step(workers):
    reward = failing_on("3", "7", "8")
    with pytest.raises(ObservationError, match=r"at most 2 of the latest 1,000 .* 3 failures"):
        score_completions(reward, TEN, TEXTS, workers=workers, limit=FailureLimit(0.002))


@pytest.mark.parametrize("workers", [1, 3])
def test_a_reward_that_ends_the_program_has_failed_on_its_completion(workers):
    def exits(prompt, completion):
        sys.exit(3) if completion == "3" else None
        return 1.0

    prompts = [Prompt(f"p{i}", "?", "1") for i in range(5)]
    rewards = score_completions(exits, prompts, list("12345"), workers=workers)
    assert rewards == [1.0, 1.0, None, 1.0, 1.0]


def test_a_prompt_on_which_the_reward_always_fails_is_not_the_end():
    limit = FailureLimit(0.1)
    for _ in range(200):
        score_completions(failing_on("1"), TEN, TEXTS, limit=limit)
    with pytest.raises(ObservationError, match="got 101 failures"):
        score_completions(failing_on(*TEXTS), TEN, TEXTS, limit=limit)


def test_no_failure_is_allowed_where_the_share_is_none():
    with pytest.raises(ObservationError, match="at most 0 of"):
        score_completions(failing_on("1"), TEN[:3], TEXTS[:3], limit=FailureLimit(0.0))


@pytest.mark.parametrize("workers", [1, 4])
def test_a_reward_that_hangs_costs_its_own_completion_only(workers):
    never = threading.Event()

    def reward(prompt, text):
        if prompt.answer == "4":
            never.wait()
        return 1.0

    got = score_completions(reward, TEN, TEXTS, workers=workers, seconds=0.2)
    assert got == [None if i == 4 else 1.0 for i in range(10)]


@pytest.mark.parametrize("workers", [1, 4])
def test_a_step_ends_at_its_time_whatever_the_reward_does(workers):
    never = threading.Event()
    got = score_completions(lambda *_: never.wait(), TEN, TEXTS, workers=workers, step_seconds=0.2)
    assert got == [None] * 10


def test_a_reward_that_catches_every_exception_is_stopped_too():
    never = threading.Event()

    def reward(prompt, text):
        try:
            never.wait()
        except Exception:
            return 0.0

    assert score_completions(reward, TEN[:1], TEXTS[:1], seconds=0.1) == [None]


def test_alarms_of_the_caller_and_of_the_reward_are_left_alone():
    rung = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    signal.setitimer(signal.ITIMER_REAL, 3600)

    def reward(prompt, text):
        own = signal.signal(signal.SIGALRM, lambda *_: None)
        signal.alarm(60)
        signal.alarm(0)
        signal.signal(signal.SIGALRM, own)
        return 1.0

    try:
        assert score_completions(reward, TEN, TEXTS) == [1.0] * 10
        assert 3500 < signal.getitimer(signal.ITIMER_REAL)[0] <= 3600
        signal.raise_signal(signal.SIGALRM)
        assert rung == [1]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Batched:
    """Counts its calls and answers with what it was made with."""

    def __init__(self, values):
        self.values = values
        self.calls = 0

    def score_batch(self, prompts, completions):
        self.calls += 1
        return self.values


def test_a_reward_that_takes_batches_is_called_once():
    reward = Batched([1.0, None, math.nan])
    assert score_completions(reward, TEN[:3], TEXTS[:3]) == [1.0, None, None]
    assert reward.calls == 1
    with pytest.raises(ObservationError, match="score_batch to return 2 numbers, got 3"):
        score_completions(reward, TEN[:2], TEXTS[:2])


def test_a_wrong_setting_ends_the_step_at_once():
    with pytest.raises(ArgumentError, match="prompt 'p0': expected an entry"):
        score_completions(reasoning_gym_score, TEN, TEXTS, limit=FailureLimit(1.0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers: expected at least 1, got 0"),
        ({"seconds": 0.0}, "seconds: expected more than 0"),
        ({"step_seconds": math.nan}, "step_seconds: expected more than 0, got nan"),
    ],
)
def test_arguments_of_scoring_are_checked(options, message):
    with pytest.raises(ArgumentError, match=message):
        score_completions(exact_match, TEN, TEXTS, **options)
    with pytest.raises(ArgumentError, match="max_failed: expected a share"):
        FailureLimit(1.5)
    with pytest.raises(ArgumentError, match="one for each of 10 prompts, got 1"):
        score_completions(exact_match, TEN, TEXTS[:1])
