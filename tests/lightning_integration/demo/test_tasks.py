from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insight_ext import ArgumentError, PromptPool
from lightning_integration.demo.tasks import TASKS, make_pools, make_task
from lightning_integration.grpo.rewards import reasoning_gym_score

ALL = {"number": 4, "add-1": 4, "add-3": 4, "add-6": 4, "multiply-3": 4}


def test_operands_stand_in_fields_least_significant_digit_first():
    task = make_task("arithmetic")
    assert task.render({"metadata": {"expression": "814 + 7"}}) == "418   +7     ="
    assert task.render({"metadata": {"expression": "120"}}) == "021          ="


def test_pools_are_a_function_of_the_seed():
    first, again, other = (make_pools("arithmetic", ALL, ALL, seed) for seed in (3, 3, 4))
    assert [pool.fingerprint for pool in first] == [pool.fingerprint for pool in again]
    assert first[0].fingerprint != other[0].fingerprint


def test_no_problem_occurs_twice_within_or_between_the_pools():
    train, test = make_pools("arithmetic", {"add-1": 90}, {"add-1": 20}, seed=0)
    assert len({prompt.prompt for prompt in [*train, *test]}) == 110


def test_pools_have_the_kinds_asked_for():
    train, test = make_pools("arithmetic", ALL, {"add-2": 3}, seed=0)
    kinds = [prompt.meta["kind"] for prompt in train]
    assert {kind: kinds.count(kind) for kind in kinds} == ALL
    assert [prompt.meta["kind"] for prompt in test] == ["add-2"] * 3


@pytest.mark.parametrize(
    ("task", "kinds"), [("arithmetic", ALL), ("countdown", {"countdown-3": 4})]
)
def test_reasoning_gym_accepts_its_own_answers_in_our_notation(task, kinds):
    for prompt in make_pools(task, kinds, kinds, seed=1)[0]:
        text = prompt.answer[::-1] if task == "arithmetic" else prompt.answer.replace(" ", "")
        assert reasoning_gym_score(prompt, text) == 1.0


def test_prompts_use_the_alphabet_and_survive_a_file(tmp_path):
    pool = make_pools(
        "countdown", {"countdown-2": 3, "countdown-4": 3}, {"countdown-2": 1}, seed=0
    )[0]
    assert set("".join(prompt.prompt for prompt in pool)) <= set(make_task("countdown").alphabet)
    pool.to_jsonl(tmp_path / "pool.jsonl")
    read = PromptPool.from_jsonl(tmp_path / "pool.jsonl")
    assert reasoning_gym_score(read[0], read[0].answer.replace(" ", "")) == 1.0


@pytest.mark.parametrize("name", TASKS)
@given(seed=st.integers(0, 2**32))
def test_masterly_demonstrations_are_right(name, seed):
    task = make_task(name)
    for kind in task.kinds:
        prompt, text = task.demonstration(kind, 1.0, random.Random(seed))
        assert set(prompt + text) <= set(task.alphabet)
        assert len(text) <= task.max_answer_length
        if name == "countdown":
            numbers, _, target = prompt.rstrip(":").partition("=")
            used = re.findall(r"\d+", text)
            assert sorted(used) == sorted(numbers.split(","))
            assert eval(text) == int(target)
        else:
            width = task.WIDTH
            left, right = prompt[:width].strip()[::-1], prompt[width + 1 : -1].strip()[::-1]
            value = eval(f"{left}{prompt[width]}{right}") if right else int(left)
            assert int(task.parse(text)) == value


def test_demonstrations_without_mastery_are_often_wrong():
    task, rng = make_task("arithmetic"), random.Random(0)
    wrong = 0
    for _ in range(200):
        prompt, text = task.demonstration("add-5", 0.0, rng)
        left, right = prompt[:6].strip()[::-1], prompt[7:-1].strip()[::-1]
        wrong += int(task.parse(text)) != int(left) + int(right)
    assert wrong > 100


def test_countdown_reads_nothing_that_only_a_computer_algebra_system_could_finish():
    assert make_task("countdown").parse("9**9**9**9") == ""
    assert make_task("countdown").parse("(1+2)*3") == "(1+2)*3"


def test_unknown_task_and_kind_are_named():
    with pytest.raises(ArgumentError, match="arithmetic, countdown, got 'chess'"):
        make_task("chess")
    with pytest.raises(ArgumentError, match="got add-9"):
        make_pools("arithmetic", {"add-9": 1}, {"add-1": 1}, seed=0)


def test_more_problems_than_a_kind_has_is_an_error():
    with pytest.raises(ArgumentError, match="expected 500 distinct problems, got 121"):
        make_pools("arithmetic", {"add-1": 499}, {"add-1": 1}, seed=0)
