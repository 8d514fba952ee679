"""Logs with a row for each completion, counted into groups.

Known are, beside anybody's rows of an id or a prompt and a reward:

* TRL's `completions/completions_00010.parquet` (`log_completions=True`, TRL 0.28 to 1.16): `step`,
  `prompt` (as the chat template renders it, or messages), `completion`, a column for each reward
  function, `advantage`. Older versions log the same columns to Weights & Biases; export them.
  The trainer logs the latest generation only: where `logging_steps` is larger than one generation
  the others are missing, and where it is smaller one is written again, which counts once.
* verl's dumps of rollouts (`trainer.rollout_data_dir`): `input`, `output`, `gts`, `score`, `step`.
* verifiers' `results.jsonl`: `example_id`, `prompt`, `completion`, `reward`.
* lm-eval's `samples_*.jsonl` (`--log_samples`): `doc_id`, `filter`, a column for each metric.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from insight_ext.beliefs.group import (
    Threshold,
    is_far_below,
    lowest_success,
    threshold_between,
)
from insight_ext.data import fields
from insight_ext.data.prompt import conversation_text
from insight_ext.data.table import DataFile, Table
from insight_ext.data.values import (
    distinct,
    ids,
    is_numeric,
    number_lists,
    text_column,
    whole_numbers,
)
from insight_ext.errors import ArgumentError, ObservationError
from insight_ext.offline.group_rows import UNCERTAINTIES, uncertainty_column
from insight_ext.offline.prompt_ids import PromptIds
from insight_ext.offline.visits import (
    Columns,
    Visits,
    by_time,
    each_once,
    moments_of,
    parts_of,
    totals,
)

Integers = NDArray[Any]

# Of the answers that a run of this project records: whether one is right, by the run's threshold.
SUCCESS = "success"
OF_TRL = ("step", "prompt", "completion")
# What is no reward though it be a number.
NO_REWARD = (
    *fields.ID,
    *fields.ROW_NUMBER,
    *fields.LOGGED_PROMPT,
    *fields.COMPLETION,
    *fields.STEP,
    *UNCERTAINTIES,
    "epoch",
    "advantage",
)


@dataclass(frozen=True)
class CompletionColumns:
    """Where a file has the parts of a completion.

    Attributes:
        reward: its reward, or the rewards of all of a row's completions.
        id: None where prompts are known by their texts.
        prompt, time: None where there are none; time is a step, or an epoch where there is no step,
            and without either all is one moment.
        completion: None where it does not matter: only TRL logs a generation again.
        filter: of lm-eval's answers, if the file has several: the one whose rows count.
        uncertainty: of each completion; None where it is not asked for.
    """

    reward: str
    id: str | None
    prompt: str | None
    completion: str | None
    time: str | None
    filter: str | None
    uncertainty: str | None = None

    @property
    def of_reward(self) -> list[str]:
        """Those that rewards are read from."""
        return [self.reward, *(["filter"] if self.filter is not None else [])]

    @property
    def needed(self) -> list[str]:
        """Those that are read."""
        names = (self.id, self.prompt, self.time, self.completion, self.uncertainty)
        return [*self.of_reward, *(name for name in names if name is not None)]


def has_completions(file: DataFile, reward: str | None) -> bool:
    """Whether a row is one completion, or one prompt's list of them, and not one counted group."""
    if "successes" in file.names:
        return False
    named = reward is not None and file.has(reward.partition(",")[0])
    return named or fields.find(file, (*fields.COMPLETION, SUCCESS, *fields.REWARD)) is not None


def read_completions(
    files: Sequence[DataFile],
    prompts: PromptIds,
    reward: str | None = None,
    success_threshold: Threshold = 1.0,
    uncertainties: Sequence[str] = (),
) -> Columns:
    """Count completions into one visit per prompt and step: prompt, step, successes, rollouts.

    Where a log has epochs and no steps, an epoch takes the step's place, also in what is returned.
    With `uncertainties` each completion stays a row of its own, with its uncertainty.

    A prompt is known by the log's column `id`. Without one, by its text, of a conversation see
    `insight_ext.data.prompt.conversation_text`; with a pool the text is looked up there.
    A number such as `example_id` is its id where there is no pool, or the pool has no such text.

    Args:
        files: of the log.
        prompts: gives positions to prompts.
        reward: the column of the reward; None: see `insight_ext.data.fields.REWARD`, or the only
            column of numbers. Of lm-eval's several filters one is named as `exact_match,strict`.
        success_threshold: the smallest reward of a success; "auto": the middle between the lowest
            and the highest reward of the log, 1 where they are equal.
        uncertainties: columns of which the first that a file has is the completion's uncertainty.

    Returns:
        Visits by step, those of one step in the order of the file. Completions without a reward do
        not count, nor does a generation that was logged before.

    Raises:
        ArgumentError: no column of the reward, or several (they are listed); a text that prompts of
            the pool share though their answers differ.
        ObservationError: a missing column, a reward that is not a number, or a prompt that is not
            in the pool (file and row named); steps in some files and epochs in others.

    Warns:
        UserWarning: every group has one rollout although texts repeat; an id stands beside several
            texts; the threshold tells no rewards apart, though they vary.
    """
    seen = RewardRange()
    threshold = success_threshold
    if threshold == "auto":
        for file in files:
            columns = completion_columns(file, prompts, reward)
            for table in file.tables(columns.of_reward):
                seen.see(_rewards(table, columns).values)
        threshold = threshold_between(seen.low, seen.high)
    lowest = lowest_success(threshold)
    visits = Visits()
    generations = Generations()
    same = NamesAndTexts()
    times = set()
    for file in files:
        if not file.names:
            continue
        columns = completion_columns(file, prompts, reward)
        times.add("epoch" if columns.time == "epoch" else "step")
        if uncertainties:
            columns = replace(columns, uncertainty=uncertainty_column(file, uncertainties))
        of_file = Visits()
        for table in file.tables(columns.needed):
            names, name_of_row = _names(table, columns)
            of = prompts.of_texts if columns.id is None else prompts.of_ids
            prompt = of(table, names, name_of_row)
            step = np.zeros(len(table), dtype=np.int64)
            if columns.time is not None:
                step = whole_numbers(table, columns.time)
            rewards = _rewards(table, columns)
            seen.see(rewards.values)
            of_file.append(_counted(table, columns, step, prompt, rewards, lowest))
            generations.see(table, columns, step, prompt)
            same.see(table, columns, names, name_of_row)
        again = generations.logged_before()
        rows = of_file.columns()
        for part in parts_of(len(of_file), *rows.values()):
            new = ~np.isin(rows["step"][part], again)
            visits.append({name: values[part][new] for name, values in rows.items()})
    if not len(visits):
        return {"prompt": np.empty(0, dtype=np.int64)}
    found = by_time(visits.columns(), "step")
    if not uncertainties:
        found = _groups(found)
    same.warn(found)
    seen.warn(found, threshold)
    if len(times) > 1:
        raise ObservationError("expected the log's files to share a column step or epoch")
    return {times.pop() if name == "step" else name: values for name, values in found.items()}


def completion_columns(file: DataFile, prompts: PromptIds, reward: str | None) -> CompletionColumns:
    """Which columns of a file hold what; see `read_completions`."""
    column, filter_name = _reward_column(file, reward)
    name = fields.find(file, fields.ID)
    prompt = fields.find(file, fields.LOGGED_PROMPT)
    if name is None:
        number_of_row = fields.find(file, fields.ROW_NUMBER)
        by_text = prompt is not None and (
            number_of_row is None
            or (
                prompts.pool is not None and not _is_by_number(file, prompts, prompt, number_of_row)
            )
        )
        name = None if by_text else number_of_row
    if name is None and prompt is None:
        raise file.lacks("id or prompt")
    return CompletionColumns(
        reward=column,
        id=name,
        prompt=prompt,
        completion="completion" if all(map(file.has, OF_TRL)) else None,
        time=fields.find(file, (*fields.STEP, "epoch")),
        filter=filter_name,
    )


def _is_by_number(file: DataFile, prompts: PromptIds, prompt: str, number_of_row: str) -> bool:
    """Whether the pool knows the file's first prompt by its number and not by its text."""
    for table in file.tables([prompt, number_of_row]):
        text = _texts(table, prompt)[0][0].as_py()
        name = ids(table, number_of_row)[0].as_py()
        return not prompts.knows_text(text) and prompts.knows_id(name)
    return False


def _reward_column(file: DataFile, reward: str | None) -> tuple[str, str | None]:
    """The column of the reward, and lm-eval's filter whose rows count."""
    named, _, filter_name = (reward or "").partition(",")
    if reward is not None and file.has(reward):
        named, filter_name = reward, ""
    if reward is not None and not file.has(named):
        raise file.lacks(named)
    known = (SUCCESS, *fields.REWARD)
    column = named or fields.find(file, known) or _only_numbers(file)
    filters = [] if "filter" not in file.names else _filters(file)
    if filter_name and filter_name not in filters:
        raise file.lacks(f"filter of {filter_name} among {', '.join(filters) or 'none'}")
    if len(filters) > 1 and not filter_name:
        raise ArgumentError(
            f"{file.path}: expected the answers of one filter, found {', '.join(filters)}; name it "
            f"with the reward (--reward {column},{filters[0]})"
        )
    return column, filter_name or None


def _filters(file: DataFile) -> list[str]:
    found: dict[str, None] = {}
    for table in file.tables(["filter"]):
        found |= dict.fromkeys(map(str, table.values("filter")))
    return list(found)


def _only_numbers(file: DataFile) -> str:
    numeric: list[str] = []
    candidates = [name for name in file.names if name not in NO_REWARD]
    for table in file.tables(candidates):
        numeric = [name for name in candidates if is_numeric(table.column(name))]
        break
    if len(numeric) != 1:
        raise ArgumentError(
            f"{file.path}: expected one column of rewards, found {', '.join(numeric) or 'none'}; "
            "name it with reward (--reward)"
        )
    return numeric[0]


def _names(table: Table, columns: CompletionColumns) -> tuple[pa.Array, NDArray[np.int32]]:
    """What the prompts are known by, each once, and for each row which one it is about."""
    if columns.id is not None:
        return distinct(ids(table, columns.id))
    assert columns.prompt is not None, "a file without ids and prompts is refused"
    return _texts(table, columns.prompt)


def _texts(table: Table, column: str) -> tuple[pa.Array, NDArray[np.int32]]:
    """A column of texts or conversations, as the texts by which they are known."""

    def text(row: int, value: Any) -> str:
        if isinstance(value, list) and all(isinstance(message, dict) for message in value):
            return conversation_text(value)
        if isinstance(value, str):
            return value
        raise table.malformed(
            row, f"expected {column} to be a text or a list of messages, got {value!r:.80}"
        )

    return distinct(text_column(table, column, text))


class Rewards(NamedTuple):
    """The rewards of a table: those that count, the row of each; which of all, and their rows."""

    values: NDArray[np.float64]
    rows: Integers
    counts: NDArray[np.bool_]
    of: Integers


def _rewards(table: Table, columns: CompletionColumns) -> Rewards:
    rows, rewards = number_lists(table, columns.reward)
    counts = ~np.isnan(rewards)
    if columns.filter is not None:
        counts &= np.array([name == columns.filter for name in table.values("filter")])[rows]
    return Rewards(rewards[counts], rows[counts], counts, rows)


def _counted(
    table: Table,
    columns: CompletionColumns,
    step: Integers,
    prompt: Integers,
    rewards: Rewards,
    lowest: float,
) -> Columns:
    """A table's completions that have a reward: whether each was right, and its uncertainty."""
    values_of_rewards, rows, counts, of = rewards
    right = (values_of_rewards >= lowest).astype(np.int64)
    counted = {
        "step": step[rows],
        "prompt": prompt[rows],
        "successes": right,
        "rollouts": np.ones_like(right),
    }
    if columns.uncertainty is None:
        return counted
    among, values = number_lists(table, columns.uncertainty)
    if not np.array_equal(among, of):
        raise table.malformed(
            int((among != of).argmax()) if len(among) == len(of) else 0,
            f"expected {columns.uncertainty} to have a number for each {columns.reward}",
        )
    missing = np.isnan(values[counts])
    if missing.any():
        raise table.malformed(
            int(rows[missing.argmax()]),
            f"expected {columns.uncertainty} to be a number for each answer with a reward",
        )
    return {**counted, "uncertainty": values[counts]}


def _groups(completions: Columns) -> Columns:
    """Those of each step and prompt counted together, in the order in which they first come."""
    groups = Visits()
    step = completions["step"]
    for moment in moments_of(step, *completions.values()):
        prompt, successes, rollouts = each_once(completions, moment)
        at = np.full(len(prompt), step[moment.start])
        groups.append({"step": at, "prompt": prompt, "successes": successes, "rollouts": rollouts})
    return groups.columns()


class Generations:
    """Which steps hold the prompts and completions of the step before them once more."""

    def __init__(self) -> None:
        self._before = b""
        self._digests: dict[int, Any] = {}

    def see(
        self, table: Table, columns: CompletionColumns, step: Integers, prompt: Integers
    ) -> None:
        """Take in a table's completions."""
        if columns.completion is None:
            return
        values = table.values(columns.completion)
        for at, which, value in zip(step.tolist(), prompt.tolist(), values, strict=True):
            digest = self._digests.setdefault(at, hashlib.sha256())
            digest.update(b"%d " % which + str(value).encode("utf-8", "surrogatepass") + b"\0")

    def logged_before(self) -> list[int]:
        """The file's steps that repeat the one before; the next file follows on its last step."""
        again = []
        for step, digest in self._digests.items():
            if digest.digest() == self._before:
                again.append(step)
            self._before = digest.digest()
        self._digests = {}
        return again


class NamesAndTexts:
    """Whether ids and texts are of the same prompts, where a log has both.

    Ids that are different for every row though texts repeat only count rows; those of several data
    sets, numbered from 0 each, stand for several prompts.
    """

    def __init__(self) -> None:
        self._column = ""
        self._texts: set[int] = set()
        self._text_of: dict[int, int] = {}  # of each id its first, by their hashes
        self._shared: tuple[str, str] | None = None  # an id of several texts, and the second

    def see(
        self, table: Table, columns: CompletionColumns, names: pa.Array, name_of_row: Integers
    ) -> None:
        """Take in a table's prompts."""
        if columns.id is None or columns.prompt is None:
            return
        self._column = columns.id
        texts, text_of_row = _texts(table, columns.prompt)
        self._texts.update(map(hash, texts.to_pylist()))
        for name, text in zip(*_pairs(name_of_row, text_of_row, len(texts)), strict=True):
            known, said = names[name].as_py(), texts[text].as_py()
            if self._text_of.setdefault(hash(known), hash(said)) != hash(said):
                self._shared = self._shared or (known, said)

    def warn(self, visits: Columns) -> None:
        """Warn where they are not."""
        if self._shared is not None:
            warnings.warn(
                f"{self._column} {self._shared[0]!r} stands beside several prompts, such as "
                f"{self._shared[1]!r:.80}, and counts as one: give the files of one data set, or "
                "log ids that tell prompts apart",
                stacklevel=5,
            )
        if len(self._texts) >= len(self._text_of):
            return
        prompt = visits["prompt"]
        if totals(prompt, visits["rollouts"], int(prompt.max()) + 1).max() == 1:
            warnings.warn(
                f"each of the {len(self._text_of)} ids has one rollout, but there are only "
                f"{len(self._texts)} different prompts: {self._column} seems to count rows; leave "
                "the column out, so that prompts are known by their texts, or log ids of prompts",
                stacklevel=5,
            )


def _pairs(first: Integers, second: Integers, most: int) -> tuple[Integers, Integers]:
    """Each pair of two columns of numbers once; the second's are below `most`."""
    pairs = np.unique(first.astype(np.int64) * max(most, 1) + second)
    return pairs // max(most, 1), pairs % max(most, 1)


class RewardRange:
    """The lowest and the highest reward of a log."""

    def __init__(self) -> None:
        self.low, self.high = math.inf, -math.inf

    def see(self, rewards: NDArray[np.float64]) -> None:
        """Take in a table's rewards."""
        if len(rewards):
            self.low = min(self.low, float(rewards.min()))
            self.high = max(self.high, float(rewards.max()))

    def warn(self, visits: Columns, threshold: float) -> None:
        """Warn where the threshold lies outside."""
        columns = visits["successes"], visits["rollouts"]
        right, answers = 0, 0
        for part in parts_of(len(columns[0]), *columns):
            right += int(columns[0][part].sum())
            answers += int(columns[1][part].sum())
        far = is_far_below(threshold, self.high)
        if self.low < self.high and (right in (0, answers) or far):
            counted = "none" if right == 0 else "all" if right == answers else f"{right}"
            warnings.warn(
                f"{answers} answers had rewards from {self.low:g} to {self.high:g}, and "
                f"success_threshold {threshold:g} counts {counted} of them as "
                f"right: set one between, such as {threshold_between(self.low, self.high):g}, or "
                "auto",
                stacklevel=4,
            )
