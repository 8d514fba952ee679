"""Rewards: how good a completion is, from 0 to 1, or that nobody can say."""

from __future__ import annotations

import logging
import math
import signal
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache, partial
from inspect import signature
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, SupportsFloat

from insight_ext import ArgumentError, InsightError, ObservationError, Prompt
from insight_ext.plugins import check_above_0, check_at_least, find, need
from lightning_integration.demo.tasks import task_of
from lightning_integration.grpo.scorer_pool import ScorerPool

Reward = Callable[[Prompt, str], float | None]

LOGGER = logging.getLogger(__name__)


class ScorerReward(ABC):
    """A reward whose scorer evaluates what a model wrote, and so works in processes of its own.

    None for a completion that takes too much time or memory; see `ScorerPool`.

    Args:
        seconds: processor time for each completion.
        step_seconds: time for all completions of a call of `score_batch`.
        processes: at most so many; None for one a processor, up to 8.
    """

    scorer: str  # the package's name too

    def __init__(
        self, seconds: float = 2.0, step_seconds: float = 60.0, processes: int | None = None
    ) -> None:
        self.seconds = seconds
        self.step_seconds = step_seconds
        self.processes = processes

    def __call__(self, prompt: Prompt, completion: str) -> float | None:
        (reward,) = self.score_batch([prompt], [completion])
        if isinstance(reward, Exception):
            raise reward
        return reward

    def score_batch(
        self, prompts: Sequence[Prompt], completions: Sequence[str]
    ) -> list[float | Exception | None]:
        """The reward of each completion, side by side; an exception where there can be none.

        Raises:
            ArgumentError: a prompt that it cannot have.
            EngineError: a scoring process cannot start.
            InsightError: the scorer's package is missing.
        """
        requests = [self._request(*pair) for pair in zip(prompts, completions, strict=True)]
        pool = _pool(self.scorer, self.processes)
        answers = pool.score(requests, self.seconds, self.step_seconds)
        return [ValueError(each) if isinstance(each, str) else each for each in answers]

    @abstractmethod
    def _request(self, prompt: Prompt, completion: str) -> Sequence[Any]:
        """The scorer's arguments."""


@cache
def _pool(scorer: str, processes: int | None) -> ScorerPool:
    need(f"reward {scorer}", scorer)
    return ScorerPool(scorer, processes)


class ReasoningGym(ScorerReward):
    """The score of reasoning-gym's own scorer; needs a prompt made by `tasks.make_pools`.

    Graded: a sum whose text contains the right answer, or a Countdown expression that misses the
    target, earns a little. Some of reasoning-gym's scorers execute what they are given, and a pool
    is a file from anywhere: only the generators of `demo.tasks` are asked, and only about answers
    in their notation.

    Examples:
        >>> from lightning_integration.demo.tasks import make_pools
        >>> prompt = make_pools("arithmetic", {"add-3": 1}, {"add-3": 1}, seed=0)[0][0]
        >>> reasoning_gym_score(prompt, prompt.answer[::-1])
        1.0
    """

    scorer = "reasoning_gym"

    def _request(self, prompt: Prompt, completion: str) -> Sequence[Any]:
        answer = task_of(prompt).parse(completion)
        return prompt.meta["generator"], answer, prompt.meta["entry"]


class MathVerify(ScorerReward):
    r"""1 if math-verify finds the completion's final answer equal to one of the answers, else 0.

    Examples:
        >>> math_verify(Prompt("a", "1/2 + 1/4 = ?", "3/4"), r"It is $\frac{6}{8}$.")
        1.0
        >>> math_verify(Prompt("a", "1+1=", r"\frac{"), "2")
        Traceback (most recent call last):
        ...
        ValueError: math-verify cannot parse the prompt's answer '\\frac{'; correct it
        >>> MathVerify(seconds=0.2)(Prompt("a", "1+1=", "2"), r"$9^{9^{9^9}}$") is None
        True
    """

    scorer = "math_verify"

    def _request(self, prompt: Prompt, completion: str) -> Sequence[Any]:
        return prompt.answers, completion


def exact_match(prompt: Prompt, completion: str) -> float:
    """1 if the completion is one of the answers, white space at both ends aside, else 0.

    Examples:
        >>> exact_match(Prompt("a", "1+1=", "2"), " 2")
        1.0
    """
    return float(completion.strip() in map(str.strip, prompt.answers))


# The scorer of an answer in a task's notation takes less than starting a second process.
reasoning_gym_score = ReasoningGym(processes=1)
math_verify = MathVerify()

REWARDS: dict[str, Reward] = {
    "reasoning_gym": reasoning_gym_score,
    "exact_match": exact_match,
    "math_verify": math_verify,
}


def make_reward(name: str) -> Reward:
    """The reward with this name in `REWARDS`, or at this import path (`module:function`).

    Raises:
        ArgumentError: an unknown name, or a path that does not lead to a reward.

    Examples:
        >>> path = "lightning_integration.grpo.rewards:exact_match"
        >>> make_reward(path) is make_reward("exact_match")
        True
    """
    return checked_reward(find("reward", REWARDS, None, name))


def checked_reward(reward: Reward) -> Reward:
    """The reward, if a prompt and a completion are what it takes; it is not called.

    Raises:
        ArgumentError: a function of something else, such as TRL's or verl's rewards are.

    Examples:
        >>> checked_reward(lambda completions, **fields: [1.0])
        Traceback (most recent call last):
        ...
        insight_ext.errors.ArgumentError: reward <lambda>: expected a function of a prompt and a \
completion's text, got one of (completions, **fields)
    """
    try:
        parameters = signature(reward)
    except ValueError:  # some functions in C do not tell
        return reward
    try:
        parameters.bind(None, "")
    except TypeError as error:
        raise ArgumentError(
            f"reward {name_of(reward)}: expected a function of a prompt and a completion's text, "
            f"got one of {parameters}"
        ) from error
    return reward


def name_of(reward: Reward) -> str:
    """What messages and metrics call a reward: its name in `REWARDS`, or its function's.

    Examples:
        >>> name_of(math_verify), name_of(exact_match)
        ('math_verify', 'exact_match')
    """
    known = (name for name, each in REWARDS.items() if each is reward)
    return next(known, getattr(reward, "__name__", type(reward).__name__))


class FailureLimit:
    """How often a reward may fail before the run ends: on a share of the latest 1,000 completions.

    So a prompt on which it always fails does not end the run, nor the one that resumes with it.

    Args:
        share: in [0, 1]; 0 allows no failure at all.

    Raises:
        ArgumentError: another share.
    """

    LATEST = 1000

    def __init__(self, share: float) -> None:
        if not 0 <= share <= 1:
            raise ArgumentError(f"max_failed: expected a share in [0, 1], got {share}")
        self.share = share
        self.allowed = max(1, int(share * self.LATEST)) if share else 0
        self._latest: deque[bool] = deque(maxlen=self.LATEST)

    def add(self, failed: bool) -> int:
        """Count a completion; returns on how many of the latest the reward failed."""
        self._latest.append(failed)
        return sum(self._latest) if failed else 0


def score_completions(
    reward: Reward,
    prompts: Sequence[Prompt],
    completions: Sequence[str],
    *,
    workers: int = 1,
    seconds: float = 60.0,
    step_seconds: float = 600.0,
    limit: FailureLimit | None = None,
) -> list[float | None]:
    """The rewards of a step's completions; None for each that could not be scored.

    A reward fails on a completion if it raises, takes too long, or returns what is no finite
    number. None and NaN are its own word that it cannot tell, and no failure. Each failure is
    logged with the prompt's id and the completion.

    Args:
        reward: a function of a prompt and a completion's text. If it has a method
            `score_batch(prompts, completions)`, that is called once for all of them.
        prompts, completions: G of each; completion i answers prompt i.
        workers: 1 calls the reward here, one completion after another. More call it in so many
            threads, for a reward that waits for something else, such as a judge on a server; it
            must then allow for that, and cannot use signals.
        seconds: longest time for one completion. A reward in a thread cannot be interrupted: its
            answer is not waited for.
        step_seconds: longest time for all of them.
        limit: how often the reward may fail, counted over all calls with the same limit; a share
            of 0.1 if None.

    Returns:
        G numbers or None.

    Raises:
        ArgumentError: an argument outside its domain.
        ObservationError: more failures than allowed; not one number for each completion from
            `score_batch`.
        InsightError: what the reward raises of this kind, at once: a setting is wrong.

    Determinism: that of the reward, as long as no limit of time is met.

    Examples:
        >>> prompts = [Prompt("a", "1+1=", "2"), Prompt("b", "1+2=", "3")]
        >>> score_completions(exact_match, prompts, ["2", "4"])
        [1.0, 0.0]
        >>> score_completions(lambda prompt, text: float(text), prompts, ["0.5", "half"])
        [0.5, None]
    """
    if len(prompts) != len(completions):
        raise ArgumentError(
            f"completions: expected one for each of {len(prompts)} prompts, got {len(completions)}"
        )
    check_at_least(1, workers=workers)
    check_above_0(seconds=seconds, step_seconds=step_seconds)
    if hasattr(reward, "score_batch"):
        outcomes = _in_one_batch(reward, prompts, completions, step_seconds)
    else:
        way = _one_by_one if workers == 1 else partial(_side_by_side, workers)
        outcomes = way(reward, prompts, completions, seconds, step_seconds)
    limit = FailureLimit(0.1) if limit is None else limit
    rewards: list[float | None] = [None] * len(completions)
    for i, outcome in outcomes:
        try:
            rewards[i] = _number(outcome)
            limit.add(False)
        except InsightError:
            raise
        except Exception as error:
            failed = limit.add(True)
            told = (
                f"for prompt {prompts[i].id!r}: {type(error).__name__}: {error}; the completion "
                f"was {completions[i]!r:.1000}"
            )
            if failed > limit.allowed:
                raise ObservationError(
                    f"reward {name_of(reward)}: expected it to fail on at most {limit.allowed} of "
                    "the latest "
                    f"{limit.LATEST:,} completions (max_failed = {limit.share:g}), got {failed} "
                    f"failures, the last {told}; mend the reward, give it more time, or allow more "
                    "failures"
                ) from error
            LOGGER.warning("the reward failed, and the completion does not count, %s", told)
    return rewards


# Of each completion's number: what the reward returned or raised.
_Outcomes = Iterator[tuple[int, Any]]


def _number(outcome: Any) -> float | None:
    """A reward as a number; what the reward raised is raised here."""
    if isinstance(outcome, Exception):
        raise outcome
    if outcome is None:
        return None
    if not isinstance(outcome, SupportsFloat):
        raise TypeError(f"expected a number or None, got {outcome!r:.80}")
    value = float(outcome)
    if math.isinf(value):
        raise ValueError(f"expected a finite number, got {value}")
    return None if math.isnan(value) else value


def _in_one_batch(
    reward: Any, prompts: Sequence[Prompt], completions: Sequence[str], step_seconds: float
) -> _Outcomes:
    values = _outcome(lambda: list(reward.score_batch(prompts, completions)), step_seconds)
    if isinstance(values, Exception):
        values = [values] * len(completions)
    if len(values) != len(completions):
        raise ObservationError(
            f"reward: expected score_batch to return {len(completions)} numbers, got {len(values)}"
        )
    yield from enumerate(values)


def _one_by_one(
    reward: Reward,
    prompts: Sequence[Prompt],
    completions: Sequence[str],
    seconds: float,
    step_seconds: float,
) -> _Outcomes:
    deadline = monotonic() + step_seconds
    for i, pair in enumerate(zip(prompts, completions, strict=True)):
        yield i, _outcome(partial(reward, *pair), min(seconds, deadline - monotonic()))


def _side_by_side(
    workers: int,
    reward: Reward,
    prompts: Sequence[Prompt],
    completions: Sequence[str],
    seconds: float,
    step_seconds: float,
) -> _Outcomes:
    deadline = monotonic() + step_seconds
    waiting: SimpleQueue[int] = SimpleQueue()
    answered: SimpleQueue[tuple[int, Any]] = SimpleQueue()
    started: dict[int, float] = {}

    def work() -> None:
        while True:
            try:
                i = waiting.get_nowait()
            except Empty:
                return
            started[i] = monotonic()
            answered.put((i, _outcome(partial(reward, prompts[i], completions[i]), math.inf)))

    def start() -> None:
        # A thread that never comes back must not keep the program from its end.
        threading.Thread(target=work, name="reward", daemon=True).start()

    missing = set(range(len(completions)))
    for i in missing:
        waiting.put(i)
    for _ in range(workers):
        start()
    try:
        while missing:
            late = [i for i in missing & started.keys() if monotonic() - started[i] > seconds]
            for i in late:
                missing.remove(i)
                start()  # in the place of the one that is stuck
                yield i, _took_longer_than(seconds)
            if monotonic() > deadline:
                break
            try:
                i, outcome = answered.get(timeout=min(0.1, seconds, step_seconds))
            except Empty:
                continue
            if i in missing:
                missing.remove(i)
                yield i, outcome
        for i in sorted(missing):
            yield i, _took_longer_than(step_seconds)
    finally:
        with suppress(Empty):
            while True:
                waiting.get_nowait()


class _TimeUp(BaseException):
    """Not an Exception, so that a reward that catches these does not catch it."""


def _outcome(call: Callable[[], Any], seconds: float) -> Any:
    """What the call returns or raises; a TimeoutError if it takes longer than this."""
    if seconds <= 0:
        return _took_longer_than(0)
    started = monotonic()
    try:
        with _alarm(seconds):
            value = call()
    except _TimeUp:
        return _took_longer_than(seconds)
    except Exception as error:
        return error
    except SystemExit as error:  # of a verifier that was written as a program
        return RuntimeError(f"it asked the program to end: {error!r}")
    return value if monotonic() - started <= seconds else _took_longer_than(seconds)


def _took_longer_than(seconds: float) -> TimeoutError:
    return TimeoutError(f"it took longer than the {seconds:.3g} seconds that were left for it")


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raises _TimeUp after so many seconds, in the main thread; elsewhere Python has no alarm.

    A reward that sets an alarm of its own replaces this one.
    """
    if threading.current_thread() is not threading.main_thread() or math.isinf(seconds):
        yield
        return

    def ring(*_: Any) -> None:
        raise _TimeUp

    handler = signal.signal(signal.SIGALRM, ring)
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    started = monotonic()
    try:
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, handler or signal.SIG_DFL)
        if left:
            left = max(left - (monotonic() - started), 1e-3)
            signal.setitimer(signal.ITIMER_REAL, left, interval)
