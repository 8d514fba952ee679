"""From rows to the prompts of a pool."""

from __future__ import annotations

import hashlib
import operator
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from insight_ext.data import fields
from insight_ext.data.arrow_file import InMemory
from insight_ext.data.files import POOL, Paths
from insight_ext.data.prompt import Prompt, Prompts, conversation_text, digest
from insight_ext.data.read import open_data
from insight_ext.data.table import Column, DataFile, Row, Table, as_list, holds, row_of, value_at
from insight_ext.data.values import encodable, ids, number_text, number_texts, texts_at_once
from insight_ext.errors import PoolError

HASH = 16  # hexadecimal digits of an id that is derived from the text


@dataclass(frozen=True)
class PromptFields:
    """Which columns of a file hold the parts of a prompt.

    Without one, ids are hashes of texts, and answers empty texts.
    """

    id: str | None
    prompt: str
    answer: str | None

    @property
    def columns(self) -> list[str]:
        """Those that are read from every row."""
        return [name for name in (self.id, self.prompt, self.answer) if name is not None]

    def answers(self, table: Table) -> Column:
        """A table's column of answers."""
        if self.answer is None:
            return pa.array([""] * len(table), pa.large_string())
        return table.column(self.answer)

    def meta(self, row: Row) -> dict[str, Any]:
        """The row without what the prompt has by itself; nested fields stay whole."""
        return {name: value for name, value in row.items() if name not in self.columns}


class Part(NamedTuple):
    """Some rows of a pool, whole, and the ids of their prompts."""

    stored: pa.RecordBatch | pa.Array
    fields: PromptFields
    ids: pa.Array


class StoredPrompts(Prompts):
    """Prompts as their rows lie: columns of Arrow, or lines of JSON. A `Prompt` is made on access.

    Args:
        parts: the rows.
        digests: see `Prompts`.
    """

    def __init__(self, parts: Sequence[Part], digests: bytes | bytearray) -> None:
        self._parts = parts
        self._digests = digests
        self._starts = [0, *accumulate(len(part.ids) for part in parts)]

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        position = operator.index(index)
        if position < 0:
            position += len(self)
        if not 0 <= position < len(self):
            raise IndexError(f"expected a position below {len(self)}, got {index}")
        number = bisect_right(self._starts, position) - 1
        part = self._parts[number]
        at = position - self._starts[number]
        name = part.ids[at].as_py()
        try:
            row = row_of(part.stored, at)
        except (RecursionError, ValueError) as error:
            raise PoolError(f"the fields of prompt {name!r} cannot be read: {error}") from error
        return prompt_of(row, part.fields, name, PoolError)

    def __iter__(self) -> Iterator[Prompt]:
        return (self[position] for position in range(len(self)))

    @property
    def ids(self) -> Iterator[str]:
        """The ids in order."""
        for part in self._parts:
            yield from part.ids.to_pylist()

    @property
    def digests(self) -> bytes | bytearray:
        """Every prompt's `digest`, one after another."""
        return self._digests


def read_prompts(paths: Paths, asked: Mapping[str, str | None] | None = None) -> StoredPrompts:
    """The prompts in files, in order.

    Args:
        paths: see `find_files`.
        asked: for `id`, `prompt` and `answer` the path of its column, instead of those in
            `insight_ext.data.fields`; None as the id's derives ids from the texts, as the answer's
            says that there is none.

    Raises:
        PoolError: no such file, a malformed one, a row that is no prompt, an id that occurs twice.
    """
    return stored_prompts(open_data(paths, POOL), asked)


def prompts_in_memory(dataset: Any, asked: Mapping[str, str | None] | None = None) -> StoredPrompts:
    """The prompts of a `datasets.Dataset` or a `pyarrow.Table`; see `read_prompts`.

    Raises:
        PoolError: several splits, a stream, or something else.
    """
    return stored_prompts([InMemory("the data set", table_of(dataset), POOL)], asked)


def table_of(dataset: Any) -> pa.Table:
    """A `datasets.Dataset` as Arrow's table; see `prompts_in_memory`."""
    table = dataset
    if isinstance(dataset, Mapping):
        raise PoolError(
            f"the data set: expected one split, got {', '.join(map(str, dataset))}; give one, such "
            f"as dataset[{next(iter(dataset), 'train')!r}]"
        )
    if hasattr(dataset, "with_format") and hasattr(dataset, "__getitem__"):
        table = dataset.with_format("arrow")[:]
    if not isinstance(table, pa.Table):
        raise PoolError(
            "the data set: expected a datasets.Dataset or a pyarrow.Table, got "
            f"{type(dataset).__name__}; of a stream, take part into memory first"
        )
    return table


def stored_prompts(
    files: Sequence[DataFile], asked: Mapping[str, str | None] | None = None
) -> StoredPrompts:
    """The prompts in these files; see `read_prompts`."""
    asked = asked or {}
    unknown = set(asked) - {"id", "prompt", "answer"}
    if unknown:
        raise PoolError(f"fields: expected id, prompt and answer, got {min(unknown)!r}")
    parts: list[Part] = []
    places: list[Table] = []  # without content, for messages
    digests = bytearray()
    seen: dict[int, int] = {}
    for file in files:
        names = prompt_fields(file, asked)
        for table in file.tables(names.columns, whole=True):
            part, digests_of_part = _read(table, names, seen)
            parts.append(part)
            places.append(Table(file, table.first, []))
            digests += digests_of_part
    if not any(len(part.ids) for part in parts):
        paths = ", ".join(str(file.path) for file in files[:3])
        raise PoolError(f"{paths}: the pool is empty: expected at least one prompt")
    _check_distinct(parts, places)
    return StoredPrompts(parts, digests)


def prompt_fields(file: DataFile, asked: Mapping[str, str | None]) -> PromptFields:
    """Which of a file's columns are a prompt's.

    Raises:
        PoolError: a column that was asked for is not there.
    """
    for part, name in asked.items():
        if name is not None and file.names and not file.has(name):
            raise file.malformed(
                f"expected a field {name} for the {part}, its fields are {', '.join(file.names)}"
            )
    found = {
        "id": fields.find(file, (*fields.ID, *fields.ROW_NUMBER)),
        "prompt": fields.find(file, fields.PROMPT),
        "answer": fields.find(file, fields.ANSWER),
        **asked,
    }
    answer = found["answer"] if "answer" in asked else found["answer"] or "answer"
    return PromptFields(found["id"], found["prompt"] or "prompt", answer)


def _read(table: Table, names: PromptFields, seen: dict[int, int]) -> tuple[Part, bytes]:
    """A table's rows as part of a pool, every row checked, and the digests of its prompts."""
    columns = [table.column(names.prompt), names.answers(table)]
    if isinstance(columns[0], list) or not pa.types.is_large_string(columns[0].type):
        texts, answers = None, None
    else:
        texts, answers = texts_at_once(columns[0]), texts_at_once(columns[1])
        if answers is None:
            answers = number_texts(columns[1])
    if texts is None or answers is None:
        prompts = [
            _of_values(table, row, names, *values)
            for row, values in enumerate(zip(*map(as_list, columns), strict=True))
        ]
        texts_of_rows = [prompt.prompt.encode() for prompt in prompts]
    else:
        prompts = None
        texts_of_rows = as_bytes(texts)
    if names.id is None:
        of_part = pa.array([derived_id(text, seen) for text in texts_of_rows], pa.large_string())
    else:
        of_part = ids(table, names.id)
    if prompts is None:
        rows = zip(as_bytes(of_part), texts_of_rows, as_bytes(answers), strict=True)
        digests = b"".join([digest(*row) for row in rows])
    else:
        named = zip(prompts, of_part.to_pylist(), strict=True)
        digests = b"".join([replace(prompt, id=name).digest for prompt, name in named])
    return Part(table.stored, names, compact(of_part)), digests


def compact(texts: pa.Array) -> pa.Array:
    """The texts in memory of their own; a parsed column may share a whole block's."""
    return texts.take(pa.array(np.arange(len(texts))))


def as_bytes(texts: pa.Array) -> list[bytes]:
    """Texts in UTF-8."""
    encoded: list[bytes] = texts.cast(pa.large_binary()).to_pylist()
    return encoded


def derived_id(text: bytes, seen: dict[int, int]) -> str:
    """An id for a prompt without one: a hash of its text, numbered where texts are equal.

    Examples:
        >>> seen = {}
        >>> [derived_id(text, seen) for text in (b"1+1=", b"1+2=", b"1+1=")]
        ['477d64453f163442', 'f982bc51c1585df3', '477d64453f163442-2']
    """
    key = int.from_bytes(hashlib.sha256(text).digest()[: HASH // 2], "big")
    seen[key] = count = seen.get(key, 0) + 1
    return f"{key:0{HASH}x}" if count == 1 else f"{key:0{HASH}x}-{count}"


def _check_distinct(parts: Sequence[Part], tables: Sequence[Table]) -> None:
    hashes = np.concatenate(
        [np.fromiter(map(hash, part.ids.to_pylist()), np.int64, len(part.ids)) for part in parts]
    )
    hashes.sort()
    if (hashes[1:] != hashes[:-1]).all():
        return  # unequal hashes are of unequal ids
    places: dict[str, str] = {}
    for part, table in zip(parts, tables, strict=True):
        for row, name in enumerate(part.ids.to_pylist()):
            if name in places:
                raise table.malformed(
                    row,
                    f"prompt id {name!r} occurs already at {places[name]}; expected distinct ids, "
                    "since beliefs are saved by id (fields={'id': None}, in a command --field "
                    "id=null, derives them from the texts)",
                )
            places[name] = table.where(row)


def _of_values(table: Table, row: int, names: PromptFields, prompt: Any, answer: Any) -> Prompt:
    """A row's prompt, without id and other fields."""
    values = {names.prompt: prompt, names.answer or "": answer}

    def error(message: str) -> Exception:
        whole = row_of(table.stored, row)
        missing = [
            part
            for part, name in (("prompt", names.prompt), ("answer", names.answer))
            if name is not None and not holds(whole, name)
        ]
        if missing:
            expected = " and ".join(f"a field {part}" for part in missing)
            message = (
                f"expected {expected}, its fields are {', '.join(whole) or 'none'}; say which it "
                f"is: fields={{{missing[0]!r}: 'FIELD'}}, in a command --field {missing[0]}=FIELD, "
                f"under `data:` in a configuration fields: {{{missing[0]}: FIELD}}"
            )
        return table.malformed(row, message)

    return prompt_of(values, names, "", error)


def prompt_of(
    row: Row, names: PromptFields, name: str, error: Callable[[str], Exception]
) -> Prompt:
    """The prompt that a row is.

    Args:
        row: of a file.
        names: where its parts are.
        name: its id.
        error: makes the exception from a message.
    """
    prompt = value_at(row, names.prompt)
    answer = "" if names.answer is None else value_at(row, names.answer)
    messages = None
    if isinstance(prompt, list):
        messages = conversation(prompt, error)
        prompt = conversation_text(messages)
    if not isinstance(prompt, str):
        raise error(
            f"expected prompt to be a string, got {type(prompt).__name__}, which is no list of "
            "messages either"
        )
    accepted = answer if isinstance(answer, list) and answer else [answer]
    first, *others = (_answer(value, error) for value in accepted)
    return Prompt(
        name,
        encodable(prompt, "prompt", error),
        first,
        names.meta(row),
        messages=messages,
        other_answers=tuple(others),
    )


def conversation(
    messages: Sequence[Any], error: Callable[[str], Exception]
) -> tuple[Mapping[str, Any], ...]:
    """Messages with a role and a content; fields that Arrow filled up with None are left out."""
    for message in messages:
        if not isinstance(message, Mapping) or not {"role", "content"} <= message.keys():
            raise error(
                "expected prompt to be a string or a list of messages with role and content, "
                f"got {message!r:.80}"
            )
    return tuple(_without_none(message) for message in messages)


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_none(inner) for name, inner in value.items() if inner is not None}
    return [_without_none(inner) for inner in value] if isinstance(value, list) else value


def _answer(value: Any, error: Callable[[str], Exception]) -> str:
    text = value if isinstance(value, str) else number_text(value)
    if text is None:
        got = repr(value) if isinstance(value, float) else type(value).__name__
        raise error(f"expected answer to be a string, got {got}")
    return encodable(text, "answer", error)
