"""Two pools of reasoning-gym's problems, each written as one line that follows three examples."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from insight_ext import Prompt

Item = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """Problems of one kind.

    Args:
        dataset: reasoning-gym's name of it.
        settings: its settings.
        line: question and answer of an item as the model is to see them; None leaves it out.
    """

    dataset: str
    settings: Mapping[str, Any]
    line: Callable[[Item], tuple[str, str] | None]


@dataclass(frozen=True)
class Task:
    """A pool: its kinds, the examples that every prompt begins with, tokens of an answer."""

    examples: str
    kinds: Mapping[str, Kind]
    tokens: int


def _sum(item: Item) -> tuple[str, str] | None:
    found = re.search(r"problem: (\d+ \+ \d+) =", item["question"])
    return (f"{found[1]} =", item["answer"]) if found else None


def _difference(item: Item) -> tuple[str, str] | None:
    found = re.search(r"problem: (\d+ - \d+) =", item["question"])
    return (f"{found[1]} =", item["answer"]) if found and item["answer"][0] != "-" else None


def _product(item: Item) -> tuple[str, str]:
    found = re.search(r"multiplication: (\d+ \* \d+)\.", item["question"])
    assert found is not None
    return f"{found[1]} =", item["answer"]


def _sorted(item: Item) -> tuple[str, str] | None:
    if item["metadata"]["direction"] != "ascending":
        return None
    numbers, answer = (
        [str(int(float(number))) for number in item["metadata"][name]]
        for name in ("original_numbers", "sorted_numbers")
    )
    return f"{' '.join(numbers)} ->", " ".join(answer)


def _terms(digits: int) -> dict[str, int]:
    return {"min_terms": 2, "max_terms": 2, "min_digits": digits, "max_digits": digits}


def _numbers(count: int, digits: int) -> dict[str, Any]:
    return {
        "min_numbers": count,
        "max_numbers": count,
        "min_decimals": 0,
        "max_decimals": 0,
        "min_value": 10 ** (digits - 1),
        "max_value": 10**digits - 1,
    }


TASKS = {
    "arithmetic": Task(
        "3 + 4 = 7\n12 - 5 = 7\n6 * 8 = 48\n",
        {
            "sum-1": Kind("chain_sum", _terms(1), _sum),
            "difference-1": Kind("chain_sum", _terms(1), _difference),
            "product-1": Kind("products", _terms(1), _product),
            "sum-2": Kind("chain_sum", _terms(2), _sum),
            "difference-2": Kind("chain_sum", _terms(2), _difference),
            "sum-3": Kind("chain_sum", _terms(3), _sum),
            "product-2": Kind("products", _terms(2), _product),
        },
        tokens=6,
    ),
    "sorting": Task(
        "4 2 -> 2 4\n5 92 44 -> 5 44 92\n63 20 -> 20 63\n",
        {
            f"{count} of {digits}": Kind("number_sorting", _numbers(count, digits), _sorted)
            for count, digits in [(2, 1), (2, 2), (2, 3), (3, 1), (3, 2), (4, 2)]
        },
        tokens=13,
    ),
}


def problems(task: str, pool: int, held_out: int, seed: int) -> tuple[list[Prompt], list[Prompt]]:
    """The pool and the held-out prompts: as many of each kind, no question twice.

    Where a kind has too few different questions, it has fewer prompts.
    """
    parts: tuple[list[Prompt], list[Prompt]] = ([], [])
    for name, kind in TASKS[task].kinds.items():
        lines = list(_different(kind, pool + held_out, seed))
        cut = len(lines) * pool // (pool + held_out)
        for part, chosen in zip(parts, (lines[:cut], lines[cut:]), strict=True):
            part += [
                Prompt(f"{name}/{question}", question, answer, {"kind": name})
                for question, answer in chosen
            ]
    return parts


def _different(kind: Kind, count: int, seed: int) -> Iterator[tuple[str, str]]:
    """Up to `count` questions with their answers; a small kind may have fewer."""
    import reasoning_gym

    tries = 20 * count
    items = reasoning_gym.create_dataset(kind.dataset, size=tries, seed=seed, **kind.settings)
    seen: set[str] = set()
    for item in items:
        found = kind.line(item)
        if found is not None and found[0] not in seen:
            seen.add(found[0])
            yield found
            if len(seen) == count:
                return
