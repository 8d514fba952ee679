"""Verifiable tasks from reasoning-gym, in a compact form that a very small model can learn.

A task renders the generator's problems as short texts over a small alphabet and reads answers
back for the generator's own scorer. It also writes demonstrations, some of them wrong on purpose,
from which a new model gets a first, unfinished skill (`warm_start`).
"""

from __future__ import annotations

import hashlib
import random
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from insight_ext import ArgumentError, Prompt, PromptPool
from insight_ext.plugins import need


@dataclass(frozen=True)
class Kind:
    """Problems of one difficulty: a reasoning-gym generator and its options."""

    generator: str
    options: Mapping[str, Any]


class Task(ABC):
    """A family of problems in one compact notation.

    Attributes:
        alphabet: every character of prompts and answers.
        kinds: the difficulties by name.
        max_answer_length: characters of the longest answer.
    """

    alphabet: str
    kinds: Mapping[str, Kind]
    max_answer_length: int

    @abstractmethod
    def render(self, entry: Mapping[str, Any]) -> str:
        """The prompt of a reasoning-gym entry."""

    @abstractmethod
    def parse(self, text: str) -> str:
        """The answer, as the generator's scorer reads it, of a completion."""

    @abstractmethod
    def demonstration(self, kind: str, mastery: float, rng: random.Random) -> tuple[str, str]:
        """A prompt and a completion that is right with a probability of at least `mastery`."""


class Arithmetic(Task):
    """Additions of two numbers of 1 to 6 digits, and beside them plain numbers and products.

    A plain number is a sum of one term: to be copied, solved from the start. A product is hopeless
    for a model of this size.

    Numbers are written least significant digit first, operands in fields of `WIDTH`, so that the
    digits that belong together stand at a constant distance: `814+707=` is `418   +707   =` and
    its answer `1251`. Flawed demonstrations lose carries.
    """

    WIDTH = 6
    alphabet = " 0123456789+*="
    max_answer_length = WIDTH + 1

    def __init__(self) -> None:
        def size(terms: int, least: int, most: int) -> dict[str, int]:
            return {
                "min_terms": terms,
                "max_terms": terms,
                "min_digits": least,
                "max_digits": most,
            }

        plus = {"operators": ["+"], "allow_parentheses": False}
        self.kinds = {
            "number": Kind("basic_arithmetic", size(1, 2, 5) | plus),
            **{
                f"add-{digits}": Kind("basic_arithmetic", size(2, digits, digits) | plus)
                for digits in range(1, self.WIDTH + 1)
            },
            "multiply-3": Kind("products", size(2, 3, 3)),
        }

    def render(self, entry: Mapping[str, Any]) -> str:
        return self._render(*entry["metadata"]["expression"].split())

    def _render(self, left: str, operator: str = " ", right: str = "") -> str:
        return f"{left[::-1]:{self.WIDTH}}{operator}{right[::-1]:{self.WIDTH}}="

    def parse(self, text: str) -> str:
        return text.strip()[::-1]

    def demonstration(self, kind: str, mastery: float, rng: random.Random) -> tuple[str, str]:
        if kind == "number":
            number = str(rng.randrange(10 ** rng.randint(2, 5)))
            return self._render(number), number[::-1]
        count = int(kind.rpartition("-")[2])
        if kind.startswith("multiply"):
            left, right = (rng.randrange(10 ** (count - 1), 10**count) for _ in range(2))
            answer = left * right
            if rng.random() >= mastery:
                answer = rng.randrange(10 ** (2 * count - 1), 10 ** (2 * count))
            return self._render(str(left), "*", str(right)), str(answer)[::-1]
        left, right = (rng.randrange(10**count) for _ in range(2))
        keep_carry = 1.0 if rng.random() < mastery else 0.2
        answer = _add_losing_carries(left, right, keep_carry, rng)
        return self._render(str(left), "+", str(right)), str(answer)[::-1]


def _add_losing_carries(left: int, right: int, keep: float, rng: random.Random) -> int:
    total, carry, place = 0, 0, 1
    while left or right or carry:
        carry, digit = divmod(left % 10 + right % 10 + carry, 10)
        carry *= rng.random() < keep
        total += digit * place
        left, right, place = left // 10, right // 10, place * 10
    return total


# Of Countdown, by how many operands there are: two of one digit would give too few problems.
LARGEST_OPERAND = {2: 40, 3: 9, 4: 9, 5: 9}


class Countdown(Task):
    """Reach a target with given numbers and + - *: the task of the InSight paper, in small.

    `2,5,9=19:` asks for an expression such as `9+2*5`. Flawed demonstrations use all the numbers
    but miss the target.
    """

    alphabet = "0123456789+-*()=,:"
    max_answer_length = 15

    def __init__(self) -> None:
        self.kinds = {
            f"countdown-{count}": Kind(
                "countdown",
                {
                    "min_numbers": count,
                    "max_numbers": count,
                    "min_value": 1,
                    "max_value": largest,
                    "min_target": 1,
                    "max_target": 99,
                    "operators": ("+", "-", "*"),
                },
            )
            for count, largest in LARGEST_OPERAND.items()
        }

    def render(self, entry: Mapping[str, Any]) -> str:
        return self._render(entry["metadata"]["numbers"], entry["metadata"]["target"])

    def _render(self, numbers: list[int], target: int) -> str:
        return f"{','.join(map(str, numbers))}={target}:"

    def parse(self, text: str) -> str:
        # The scorer hands the text to sympy, which executes it; for `9**9**9` it would take a day.
        return text if re.fullmatch(r"[(0-9][0-9()]*([+\-*][0-9()]+)*", text) else ""

    def demonstration(self, kind: str, mastery: float, rng: random.Random) -> tuple[str, str]:
        count = int(kind.rpartition("-")[2])
        while True:
            numbers = [rng.randint(1, LARGEST_OPERAND[count]) for _ in range(count)]
            answer = self._expression(numbers, rng)
            target = eval(answer, {"__builtins__": {}})
            if 1 <= target <= 99:
                break
        if rng.random() >= mastery:
            answer = self._expression(rng.sample(numbers, count), rng)
        return self._render(rng.sample(numbers, count), target), answer

    def _expression(self, numbers: list[int], rng: random.Random) -> str:
        return str(numbers[0]) + "".join(f"{rng.choice('+-*')}{n}" for n in numbers[1:])


TASKS: dict[str, type[Task]] = {"arithmetic": Arithmetic, "countdown": Countdown}


def make_task(name: str) -> Task:
    """The task with this name in `TASKS`."""
    if name not in TASKS:
        raise ArgumentError(f"task: expected one of {', '.join(TASKS)}, got {name!r}")
    return TASKS[name]()


@cache
def _written() -> dict[tuple[str, str], Task]:
    """The task of each pair of task and generator that `make_pools` writes into a pool."""
    tasks = {name: make_task(name) for name in TASKS}
    return {
        (name, kind.generator): task for name, task in tasks.items() for kind in task.kinds.values()
    }


def task_of(prompt: Prompt) -> Task:
    """The task of a prompt that `make_pools` made, or that a file claims it made.

    Raises:
        ArgumentError: `meta` names no task and generator that belong together, or holds no entry.

    Examples:
        >>> train, _ = make_pools("countdown", {"countdown-2": 1}, {"countdown-2": 1}, seed=0)
        >>> task_of(train[0]).parse("1+1")
        '1+1'
    """
    named = prompt.meta.get("task"), prompt.meta.get("generator")
    task = _written().get(named) if all(isinstance(name, str) for name in named) else None
    if task is None or not isinstance(prompt.meta.get("entry"), Mapping):
        pairs = ", ".join(map(" with ".join, _written()))
        raise ArgumentError(
            f"prompt {prompt.id!r}: expected an entry, a task and its generator as make_pools "
            f"writes them ({pairs}), got {named[0]!r:.80} with {named[1]!r:.80}; other scorers of "
            "reasoning-gym execute what a model writes, so give your own verifier instead"
        )
    return task


def make_pools(
    task_name: str, pool: Mapping[str, int], held_out: Mapping[str, int], seed: int
) -> tuple[PromptPool, PromptPool]:
    """Draw a training pool and a held-out pool of distinct problems.

    Args:
        task_name: a name in `TASKS`.
        pool, held_out: problems of each kind.
        seed: of everything drawn.

    Returns:
        The two pools. No problem occurs twice, within or between them. A prompt's `meta` holds the
        task, the kind, and reasoning-gym's generator and entry for its scorer.

    Raises:
        ArgumentError: an unknown task or kind, or more problems asked for than the kind has.
        InsightError: reasoning-gym is missing.

    Determinism: a function of the arguments.

    Examples:
        >>> train, test = make_pools("arithmetic", {"add-1": 3, "add-5": 2}, {"add-5": 1}, seed=0)
        >>> len(train), len(test), train[3].meta["kind"]
        (5, 1, 'add-5')
    """
    task = make_task(task_name)
    unknown = sorted({*pool, *held_out} - set(task.kinds))
    if unknown:
        raise ArgumentError(
            f"task {task_name!r}: expected kinds among {', '.join(task.kinds)}, "
            f"got {', '.join(unknown)}"
        )
    pools: tuple[list[Prompt], list[Prompt]] = ([], [])
    for kind in task.kinds:
        counts = (pool.get(kind, 0), held_out.get(kind, 0))
        prompts = _distinct(task_name, task, kind, sum(counts), seed)
        pools[0].extend(prompts[: counts[0]])
        pools[1].extend(prompts[counts[0] :])
    return PromptPool(pools[0]), PromptPool(pools[1])


def _distinct(task_name: str, task: Task, kind: str, count: int, seed: int) -> list[Prompt]:
    need("make_pools", "reasoning_gym")
    import reasoning_gym

    generator, options = task.kinds[kind].generator, task.kinds[kind].options
    # reasoning-gym draws problem i from seed + i: nearby seeds would share problems.
    first = int.from_bytes(hashlib.sha256(f"{kind}/{seed}".encode()).digest()[:6], "little")
    size = 20 * count + 1000
    entries = reasoning_gym.create_dataset(generator, seed=first, size=size, **options)
    found: dict[str, Prompt] = {}
    for index in range(size):
        if len(found) == count:
            break
        entry = entries[index]
        text = task.render(entry)
        meta = {"task": task_name, "kind": kind, "generator": generator, "entry": entry}
        prompt = Prompt(f"{kind}/{seed}/{index}", text, entry["answer"], meta)
        found.setdefault(text, prompt)
    if len(found) < count:
        raise ArgumentError(
            f"kind {kind!r}: expected {count} distinct problems, got {len(found)} from {size} draws"
        )
    return list(found.values())
