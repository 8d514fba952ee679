"""The prompts to choose from: stable ids, a fingerprint, and files to read them from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from insight_ext.data.json_text import write_jsonl
from insight_ext.data.prompt import DIGEST, Prompt, PromptList, Prompts
from insight_ext.errors import PoolError
from insight_ext.plugins import need

Paths = str | Path | Iterable[str | Path]


class PromptPool(Sequence[Prompt]):
    """An ordered set of prompts with distinct ids. Beliefs are addressed by position.

    Args:
        prompts: at least one prompt; ids are distinct.

    Raises:
        PoolError: no prompt, or an id that occurs twice (both positions named).

    Examples:
        >>> pool = PromptPool([Prompt("a", "1+1=", "2"), Prompt("b", "1+2=", "3")])
        >>> len(pool), pool[1].answer, pool.position("b")
        (2, '3', 1)
    """

    def __init__(self, prompts: Iterable[Prompt]) -> None:
        if not isinstance(prompts, Iterable):
            raise PoolError(f"prompts: expected a list of Prompt, got {prompts!r:.80}")
        if not isinstance(prompts, Prompts):
            prompts = _distinct(PromptList(prompts))
        self._prompts = prompts

    def __len__(self) -> int:
        return len(self._prompts)

    def __getitem__(self, index: Any) -> Any:
        return self._prompts[index]

    def __iter__(self) -> Iterator[Prompt]:
        return iter(self._prompts)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """The ids in order."""
        return tuple(self._prompts.ids)

    def position(self, prompt_id: str) -> int:
        """Where the prompt with this id stands; PoolError if there is none."""
        try:
            return self._positions[prompt_id]
        except KeyError:
            raise PoolError(f"no prompt has the id {prompt_id!r}") from None

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {name: position for position, name in enumerate(self.ids)}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over every id, prompt and answer in order: equal pools, equal text."""
        return hashlib.sha256(self._digests).hexdigest()

    @cached_property
    def _digests(self) -> bytes | bytearray:
        return self._prompts.digests

    def state_dict(self) -> dict[str, Any]:
        """What tells later which prompts these were, without their texts; see `PoolChange`.

        Returns:
            `fingerprint`; `ids`, uint8, all of them in UTF-8 one after another; `lengths`, int64 of
            shape (n,), bytes of each; `contents`, int64 of shape (n,), of each prompt's SHA-256.
        """
        return dict(self._state)

    @cached_property
    def _state(self) -> dict[str, Any]:
        encoded = [name.encode() for name in self.ids]
        first_eight = np.frombuffer(self._digests, "<i8")[:: DIGEST // 8]
        return {
            "fingerprint": self.fingerprint,
            "ids": torch.tensor(bytearray(b"".join(encoded)), dtype=torch.uint8),
            "lengths": torch.tensor([len(each) for each in encoded]),
            "contents": torch.from_numpy(first_eight.astype(np.int64)),
        }

    @classmethod
    def from_file(
        cls,
        path: Paths,
        *,
        fields: Mapping[str, str | None] | None = None,
        check_answers: bool = False,
    ) -> PromptPool:
        """Read prompts from files: JSONL, Parquet, CSV or Arrow, also compressed (`.gz`, `.zst`).

        Names that others use are known, among them verl's (`reward_model.ground_truth`,
        `extra_info.index`), and listed in `insight_ext.data.fields`. A prompt is a text, or a list
        of messages, which is kept as `Prompt.messages`. An answer is a text, a number, or a list of
        several that are accepted. Prompts without ids get hashes of their texts. Other columns go
        to `meta`.

        Args:
            path: a file, a pattern (`data/train-*.parquet`), a folder (also one that `datasets`
                saved, or a downloaded repository), or a list of these.
            fields: the columns of `id`, `prompt` and `answer`, where they have other names; a dot
                leads into a nested one. `{"id": None}` derives ids from the texts, and with
                `{"answer": None}` answers are empty texts.
            check_answers: name the answers that math-verify cannot parse, in one warning.

        Raises:
            PoolError: no such file, the name of a data set on the Hub, a malformed file or row
                (file and line named), an id that occurs twice (both lines).
            InsightError: pyarrow, or math-verify where answers are to be checked, is missing.

        Warns:
            UserWarning: some shards of `train-00000-of-00002.parquet` are not among the files.

        Cost: about 5 seconds and 1.2 times the text's size in memory for a million prompts
        (`python -m benchmarks.bench_reading`).

        Examples:
            >>> import tempfile
            >>> line = '{"id": 7, "question": "1+1=", "answer": 2, "kind": "sum"}'
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     path = Path(folder, "pool.jsonl")
            ...     _ = path.write_text(line)
            ...     pool = PromptPool.from_file(path)
            >>> pool[0]
            Prompt(id='7', prompt='1+1=', answer='2', meta={'kind': 'sum'})
        """
        need("reading prompts", "pyarrow")
        from insight_ext.data.prompts import read_prompts

        return cls._checked(read_prompts(path, fields), check_answers)

    @classmethod
    def from_dataset(
        cls,
        dataset: Any,
        *,
        fields: Mapping[str, str | None] | None = None,
        check_answers: bool = False,
    ) -> PromptPool:
        """The prompts of a `datasets.Dataset` or a `pyarrow.Table` in memory.

        Args:
            dataset: one split.
            fields, check_answers: see `from_file`.

        Raises:
            PoolError: several splits, a stream, or something else; else see `from_file`.

        Examples:
            >>> import pyarrow
            >>> table = pyarrow.table({"question": ["1+1="], "answer": ["2"]})
            >>> PromptPool.from_dataset(table).ids
            ('477d64453f163442',)
        """
        need("reading prompts", "pyarrow")
        from insight_ext.data.prompts import prompts_in_memory

        return cls._checked(prompts_in_memory(dataset, fields), check_answers)

    @classmethod
    def _checked(cls, prompts: Prompts, check_answers: bool) -> PromptPool:
        pool = cls(prompts)
        if check_answers:
            from insight_ext.data.answers import warn_of_unparsable

            warn_of_unparsable(pool)
        return pool

    @classmethod
    def from_jsonl(cls, path: str | Path) -> PromptPool:
        """A file with one JSON object a line, whatever its ending; see `from_file`."""
        need("reading prompts", "pyarrow")
        from insight_ext.data.files import POOL
        from insight_ext.data.jsonl_file import JsonlFile
        from insight_ext.data.prompts import stored_prompts

        return cls(stored_prompts([JsonlFile(Path(path), POOL)]))

    @classmethod
    def from_parquet(cls, path: str | Path) -> PromptPool:
        """A Parquet file, whatever its ending; see `from_file`."""
        need("reading prompts", "pyarrow")
        from insight_ext.data.arrow_file import ParquetFile
        from insight_ext.data.files import POOL
        from insight_ext.data.prompts import stored_prompts

        return cls(stored_prompts([ParquetFile(Path(path), POOL)]))

    def to_jsonl(self, path: str | Path) -> None:
        """Write the pool so that `from_file` reads it back, fingerprint and all.

        Raises:
            PoolError: it cannot be written; a file that was there before is whole.
        """
        try:
            write_jsonl(path, (prompt.row() for prompt in self._prompts))
        except OSError as error:
            raise PoolError(f"{path}: cannot write the prompts: {error.strerror}") from error


def _distinct(prompts: PromptList) -> PromptList:
    """PoolError unless there are prompts, of texts, with distinct ids."""
    if not prompts:
        raise PoolError("the pool is empty: expected at least one prompt")
    positions: dict[str, int] = {}
    for position, prompt in enumerate(prompts):
        name = _checked_texts(prompt, position)
        first = positions.setdefault(name, position)
        if first != position:
            raise PoolError(
                f"prompt id {name!r} occurs at positions {first} and {position}: "
                "expected distinct ids, since beliefs are saved by id"
            )
    return prompts


def _checked_texts(prompt: Any, position: int) -> str:
    """A prompt's id; PoolError unless this is a prompt whose id, text and answer are texts."""
    if not isinstance(prompt, Prompt):
        raise PoolError(
            f"prompts[{position}]: expected a Prompt, got {prompt!r:.80}; PromptPool.from_file and "
            "from_dataset make them from rows"
        )
    for part in ("id", "prompt", "answer"):
        try:
            getattr(prompt, part).encode()
        except (AttributeError, UnicodeEncodeError) as error:
            raise PoolError(
                f"prompts[{position}].{part}: expected Unicode text, got "
                f"{getattr(prompt, part)!r:.80}"
            ) from error
    if not prompt.id:
        raise PoolError(f"prompts[{position}].id: expected a text that tells it apart, got ''")
    return prompt.id
