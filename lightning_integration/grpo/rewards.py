"""Rewards: how good a completion is, from 0 to 1."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context

import reasoning_gym

from insight_ext import ArgumentError, Prompt
from insight_ext.plugins import imported
from lightning_integration.demo.tasks import Task, make_task

Reward = Callable[[Prompt, str], float]

MATH_SECONDS = 2


def reasoning_gym_score(prompt: Prompt, completion: str) -> float:
    """The score of reasoning-gym's own scorer; needs a prompt made by `tasks.make_pools`.

    Graded: a sum whose text contains the right answer, or a Countdown expression that misses the
    target, earns a little.

    Example:
        >>> from lightning_integration.demo.tasks import make_pools
        >>> prompt = make_pools("arithmetic", {"add-3": 1}, {"add-3": 1}, seed=0)[0][0]
        >>> reasoning_gym_score(prompt, prompt.answer[::-1])
        1.0
    """
    score = reasoning_gym.get_score_answer_fn(prompt.meta["generator"])
    return float(score(_task(prompt.meta["task"]).parse(completion), prompt.meta["entry"]))


@cache
def _task(name: str) -> Task:
    return make_task(name)


def exact_match(prompt: Prompt, completion: str) -> float:
    """1 if the completion is the answer, white space at both ends aside, else 0.

    Example:
        >>> exact_match(Prompt("a", "1+1=", "2"), " 2")
        1.0
    """
    return float(completion.strip() == prompt.answer.strip())


def math_verify(prompt: Prompt, completion: str) -> float:
    r"""1 if math-verify finds the completion's final answer equal to the answer, else 0.

    Also 0 if that takes more than `MATH_SECONDS`: a model may well write a tower of powers. Outside
    the main thread, where Python has no alarm clock, a helper process compares.

    Example:
        >>> math_verify(Prompt("a", "1/2 + 1/4 = ?", "3/4"), r"It is $\frac{6}{8}$.")
        1.0
    """
    if threading.current_thread() is threading.main_thread():
        return _math_equal(prompt.answer, completion, MATH_SECONDS)
    return _helper().submit(_math_equal, prompt.answer, completion, MATH_SECONDS).result()


def _math_equal(answer: str, completion: str, seconds: int) -> float:
    from math_verify import parse, verify

    gold = parse(f"${answer}$", parsing_timeout=seconds)
    given = parse(completion, parsing_timeout=seconds)
    return float(verify(gold, given, timeout_seconds=seconds))


@cache
def _helper() -> ProcessPoolExecutor:
    # Its jobs run in its main thread. Spawned: a fork would copy the locks of this one's threads.
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"))


REWARDS: dict[str, Reward] = {
    "reasoning_gym": reasoning_gym_score,
    "exact_match": exact_match,
    "math_verify": math_verify,
}


def make_reward(name: str) -> Reward:
    """The reward with this name in `REWARDS`, or at this import path (`module:function`).

    Raises:
        ArgumentError: an unknown name, or a path that does not lead to a function.

    Example:
        >>> path = "lightning_integration.grpo.rewards:exact_match"
        >>> make_reward(path) is make_reward("exact_match")
        True
    """
    if ":" in name:
        reward: Reward = imported("reward", name)
        if not callable(reward):
            raise ArgumentError(f"reward {name!r}: expected a function, got {reward!r}")
        return reward
    if name not in REWARDS:
        raise ArgumentError(
            f"reward: expected one of {', '.join(REWARDS)}, or an import path such as "
            f"'package.module:function', got {name!r}"
        )
    return REWARDS[name]
