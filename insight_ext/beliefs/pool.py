"""The prompts to choose from: stable ids, a fingerprint, and files to read them from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from insight_ext.errors import PoolError
from insight_ext.plugins import need

FIELDS = ("id", "prompt", "answer")


@dataclass(frozen=True, slots=True)
class Prompt:
    """One task: a stable id, the text shown to the model, the expected answer, anything else."""

    id: str
    prompt: str
    answer: str
    meta: Mapping[str, Any] = field(default_factory=dict)


class PromptPool(Sequence[Prompt]):
    """An ordered set of prompts with distinct ids. Beliefs are addressed by position.

    Args:
        prompts: at least one prompt; ids are distinct.

    Raises:
        PoolError: no prompt, or an id that occurs twice (both positions named).

    Example:
        >>> pool = PromptPool([Prompt("a", "1+1=", "2"), Prompt("b", "1+2=", "3")])
        >>> len(pool), pool[1].answer, pool.position("b")
        (2, '3', 1)
    """

    def __init__(self, prompts: Iterable[Prompt]) -> None:
        self._prompts = tuple(prompts)
        if not self._prompts:
            raise PoolError("the pool is empty: expected at least one prompt")
        self._positions: dict[str, int] = {}
        for position, prompt in enumerate(self._prompts):
            first = self._positions.setdefault(prompt.id, position)
            if first != position:
                raise PoolError(
                    f"prompt id {prompt.id!r} occurs at positions {first} and {position}: "
                    "expected distinct ids, since beliefs are saved by id"
                )

    def __len__(self) -> int:
        return len(self._prompts)

    def __getitem__(self, index: Any) -> Any:
        return self._prompts[index]

    def __iter__(self) -> Iterator[Prompt]:
        return iter(self._prompts)

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids in order."""
        return tuple(self._positions)

    def position(self, prompt_id: str) -> int:
        """Where the prompt with this id stands; PoolError if there is none."""
        try:
            return self._positions[prompt_id]
        except KeyError:
            raise PoolError(f"no prompt has the id {prompt_id!r}") from None

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over every id, prompt and answer in order: equal pools, equal text."""
        return hashlib.sha256(b"".join(self._digests)).hexdigest()

    @cached_property
    def _digests(self) -> list[bytes]:
        """SHA-256 of each prompt's id, text and answer."""
        digests = []
        for prompt in self._prompts:
            digest = hashlib.sha256()
            for text in (prompt.id, prompt.prompt, prompt.answer):
                encoded = text.encode()
                digest.update(len(encoded).to_bytes(8, "little"))
                digest.update(encoded)
            digests.append(digest.digest())
        return digests

    def state_dict(self) -> dict[str, Any]:
        """What tells later which prompts these were, without their texts; see `PoolChange`.

        Returns:
            `fingerprint`; `ids`, uint8, all of them in UTF-8 one after another; `lengths`, int64 of
            shape (n,), bytes of each; `contents`, int64 of shape (n,), of each prompt's SHA-256.
        """
        return dict(self._state)

    @cached_property
    def _state(self) -> dict[str, Any]:
        encoded = [prompt.id.encode() for prompt in self._prompts]
        return {
            "fingerprint": self.fingerprint,
            "ids": torch.tensor(bytearray(b"".join(encoded)), dtype=torch.uint8),
            "lengths": torch.tensor([len(each) for each in encoded]),
            "contents": torch.tensor(
                [int.from_bytes(each[:8], "little", signed=True) for each in self._digests]
            ),
        }

    @classmethod
    def from_file(cls, path: str | Path) -> PromptPool:
        """Read `.jsonl` or `.parquet`, by the file's ending.

        Raises:
            PoolError: another ending; else see `from_jsonl` and `from_parquet`.

        Example:
            >>> import tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     PromptPool([Prompt("a", "1+1=", "2")]).to_jsonl(f"{folder}/pool.jsonl")
            ...     pool = PromptPool.from_file(f"{folder}/pool.jsonl")
            >>> pool.ids
            ('a',)
        """
        readers = {".jsonl": cls.from_jsonl, ".parquet": cls.from_parquet}
        path = Path(path)
        if path.suffix not in readers:
            raise PoolError(f"{path}: expected a file ending in {' or '.join(readers)}")
        return readers[path.suffix](path)

    @classmethod
    def from_jsonl(cls, path: str | Path) -> PromptPool:
        """One JSON object a line with `id`, `prompt`, `answer`; other keys go to `meta`.

        An integer id or answer is read as its decimal text.

        Raises:
            PoolError: an unreadable file, a broken line (file and line number), a duplicate id
                (both lines).

        Example:
            >>> import tempfile
            >>> line = '{"id": 7, "prompt": "1+1=", "answer": 2, "kind": "sum"}'
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     path = Path(folder, "pool.jsonl")
            ...     _ = path.write_text(line)
            ...     pool = PromptPool.from_jsonl(path)
            >>> pool[0]
            Prompt(id='7', prompt='1+1=', answer='2', meta={'kind': 'sum'})
        """
        path = Path(path)
        return cls._from_rows(path, _jsonl_rows(path))

    @classmethod
    def from_parquet(cls, path: str | Path) -> PromptPool:
        """Columns `id`, `prompt`, `answer`; other columns go to `meta`. Needs pyarrow.

        Raises:
            InsightError: pyarrow is missing.
            PoolError: an unreadable file, a bad row (file and row number, from
                0), a duplicate id (both rows).

        Example:
            >>> import tempfile
            >>> from insight_ext.offline.tables import write_columns
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     path = f"{folder}/pool.parquet"
            ...     write_columns(path, {"id": ["a"], "prompt": ["1+1="], "answer": ["2"]})
            ...     pool = PromptPool.from_parquet(path)
            >>> pool[0]
            Prompt(id='a', prompt='1+1=', answer='2', meta={})
        """
        need(f"{path}", "pyarrow")
        import pyarrow
        import pyarrow.parquet

        path = Path(path)
        try:
            rows = pyarrow.parquet.read_table(path).to_pylist()
        except (OSError, pyarrow.ArrowInvalid) as error:
            raise PoolError(f"{path}: expected a Parquet file: {error}") from error
        return cls._from_rows(path, ((f"{path}, row {i}", row) for i, row in enumerate(rows)))

    @classmethod
    def _from_rows(cls, path: Path, rows: Iterable[tuple[str, dict[str, Any]]]) -> PromptPool:
        """The pool of these rows, each with its place in the file for messages."""
        prompts: list[Prompt] = []
        places: dict[str, str] = {}
        for where, row in rows:
            prompt = _prompt_from_row(row, where)
            first = places.setdefault(prompt.id, where)
            if first != where:
                raise PoolError(
                    f"{where}: prompt id {prompt.id!r} occurs already at {first}; "
                    "expected distinct ids, since beliefs are saved by id"
                )
            prompts.append(prompt)
        if not prompts:
            raise PoolError(f"{path}: the pool is empty: expected at least one prompt")
        return cls(prompts)

    def to_jsonl(self, path: str | Path) -> None:
        """Write the pool so that `from_jsonl` reads it back, fingerprint and all."""
        with Path(path).open("w", encoding="utf-8") as file:
            for prompt in self._prompts:
                row = {"id": prompt.id, "prompt": prompt.prompt, "answer": prompt.answer}
                file.write(json.dumps({**prompt.meta, **row}, ensure_ascii=False) + "\n")


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PoolError(f"{path}: cannot read the prompts: {error}") from error


def _jsonl_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(_read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            row = json.loads(line)
        except ValueError as error:
            raise PoolError(f"{where}: expected one JSON object a line, got {error}") from error
        if not isinstance(row, dict):
            raise PoolError(f"{where}: expected a JSON object, got {type(row).__name__}")
        yield where, row


def _prompt_from_row(row: dict[str, Any], where: str) -> Prompt:
    missing = [name for name in FIELDS if name not in row]
    if missing:
        expected = " and ".join(f"a field {name}" for name in missing)
        got = ", ".join(map(str, row)) or "none"
        raise PoolError(f"{where}: expected {expected}, its fields are {got}")
    values = dict(row)
    for name in FIELDS:
        if name != "prompt" and type(values[name]) is int:
            values[name] = str(values[name])
        if not isinstance(values[name], str):
            raise PoolError(
                f"{where}: expected {name} to be a string, got {type(values[name]).__name__}"
            )
        try:
            values[name].encode()
        except UnicodeEncodeError as error:  # JSON can escape half of a surrogate pair
            raise PoolError(
                f"{where}: expected {name} to be Unicode text, got a lone surrogate "
                f"in {values[name]!r:.80}; write the whole character"
            ) from error
    id_, prompt, answer = (values.pop(name) for name in FIELDS)
    return Prompt(id_, prompt, answer, values)
