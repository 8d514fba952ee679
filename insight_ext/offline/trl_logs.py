"""TRL's logs of completions, counted into groups.

With `log_completions=True`, `GRPOTrainer` writes `completions/completions_00010.parquet` at every
logging step (TRL 0.28 to 1.16): `step`, `prompt` (a text, or a list of messages), `completion`, one
column per reward function under that function's name, columns logged by the user, `advantage`.
Older versions (from 0.16) log the same columns as a table to Weights & Biases, `step` as text and
before 0.17 the reward as `reward`; export it as JSONL or CSV.

The trainer logs the latest generation only: with `logging_steps` larger than one generation the
others are missing, and with smaller ones the same generation is written again, which counts once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from insight_ext.beliefs.pool import PromptPool
from insight_ext.errors import ArgumentError, ObservationError
from insight_ext.offline.tables import Table

RESERVED = ("id", "step", "epoch", "prompt", "completion", "advantage")


def is_completion_log(table: Table) -> bool:
    """Whether a row is one completion and not one group."""
    return "successes" not in table.columns and {"prompt", "completion"} <= set(table.columns)


def read_completions(
    tables: Sequence[Table],
    pool: PromptPool | None = None,
    reward: str | None = None,
    success_threshold: float = 1.0,
) -> list[Table]:
    """Count completions into one row per prompt and step: id, step, successes, rollouts.

    A prompt's id is the column `id` if there is one (log it with `log_extra`), else its text: of a
    conversation the text of the user's message, or the JSON of all messages if there are several.
    With a pool, the text is looked up there.

    Args:
        tables: the log's files.
        pool: where to look prompts up that have no id.
        reward: the column of the reward; None: `reward`, or the only column of numbers.
        success_threshold: the smallest reward of a success.

    Returns:
        One table per file and step; rows without a reward (TRL's unscorable completions) are left
        out, and so is a generation that was logged before.

    Raises:
        ArgumentError: no column of the reward, or several (they are listed); a pool in which two
            prompts have the same text.
        ObservationError: a missing column, a reward that is not a number, or a prompt that is not
            in the pool (file and row named).
    """
    ids_by_text = _ids_by_text(pool) if pool is not None else None
    counted, before = [], None
    for table in tables:
        table.need("step", "prompt", "completion")
        column = _reward_column(table, reward)
        blocks: dict[Any, list[int]] = {}
        for row, step in enumerate(table.columns["step"]):
            blocks.setdefault(step, []).append(row)
        for step, rows in blocks.items():
            ids = [_id(table, row, ids_by_text) for row in rows]
            generation = (ids, [str(table.columns["completion"][row]) for row in rows])
            if generation == before:
                continue
            before = generation
            rewards = [_reward(table, row, column) for row in rows]
            counted.append(_counted(table, step, rows, ids, rewards, success_threshold))
    return counted


def _counted(
    table: Table,
    step: Any,
    rows: Sequence[int],
    ids: Sequence[Any],
    rewards: Sequence[float | None],
    success_threshold: float,
) -> Table:
    first: dict[Any, int] = {}
    groups: dict[Any, list[bool]] = {}
    for row, name, reward in zip(rows, ids, rewards, strict=True):
        if reward is not None:
            first.setdefault(name, row)
            groups.setdefault(name, []).append(reward >= success_threshold)
    columns: dict[str, Any] = {
        "id": list(groups),
        "step": [step] * len(groups),
        "successes": np.array([sum(group) for group in groups.values()], dtype=np.int64),
        "rollouts": np.array([len(group) for group in groups.values()], dtype=np.int64),
    }
    return Table(table.path, columns, [table.places[row] for row in first.values()])


def _id(table: Table, row: int, ids_by_text: dict[str, str] | None) -> Any:
    if "id" in table.columns:
        return table.columns["id"][row]
    text = _text(table.columns["prompt"][row])
    if ids_by_text is None:
        return text
    if text not in ids_by_text:
        raise ObservationError(
            f"{table.where(row)}: expected a prompt of the pool, got {text[:80]!r}; give the pool "
            "that the run was trained on, or log a column id"
        )
    return ids_by_text[text]


def _text(prompt: Any) -> str:
    if isinstance(prompt, str):
        return prompt
    users = [message["content"] for message in prompt if message.get("role") == "user"]
    only_one = len(users) == 1 and isinstance(users[0], str)
    return str(users[0]) if only_one else json.dumps(prompt, sort_keys=True)


def _ids_by_text(pool: PromptPool) -> dict[str, str]:
    ids: dict[str, str] = {}
    for prompt in pool:
        other = ids.setdefault(prompt.prompt, prompt.id)
        if other != prompt.id:
            raise ArgumentError(
                f"the prompts {other!r} and {prompt.id!r} of the pool have the same text: expected "
                "different ones, since the log tells prompts apart by their text; log a column id"
            )
    return ids


def _reward_column(table: Table, reward: str | None) -> str:
    if reward is not None:
        table.need(reward)
        return reward
    if "reward" in table.columns:
        return "reward"
    numbers = [name for name in table.columns if name not in RESERVED and _is_numeric(table, name)]
    if len(numbers) != 1:
        raise ArgumentError(
            f"{table.path}: expected one column of rewards, found {', '.join(numbers) or 'none'}; "
            "name it with reward (--reward)"
        )
    return numbers[0]


def _is_numeric(table: Table, name: str) -> bool:
    for value in table.columns[name]:
        if value is not None:
            return _number(value) is not None
    return False


def _reward(table: Table, row: int, column: str) -> float | None:
    value = table.columns[column][row]
    if value is None or value == "":
        return None
    number = _number(value)
    if number is None:
        raise ObservationError(
            f"{table.where(row)}: expected {column} to be a number, got {value!r}"
        )
    return None if np.isnan(number) else number


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
