"""Which prompt a row of a log is about: by its id, or by its text, also inside a chat template."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from insight_ext.beliefs.pool import PromptPool
from insight_ext.data.table import Table
from insight_ext.errors import ArgumentError

Integers = NDArray[np.int32]

TEMPLATES = 32  # chat templates that one log may mix
CANDIDATES = 16  # prompts of the pool that a rendered text may be, the longest of those in it
WITNESSES = 64  # further texts that tell which of them explains the log


class PromptIds:
    """Positions of the prompts of a log: in the pool, or in the order in which they first appear.

    Args:
        pool: the prompts that the log has to be about; None: whatever it names.

    Attributes:
        names: the ids by position.
    """

    def __init__(self, pool: PromptPool | None) -> None:
        self.pool = pool
        self._names = pa.array([] if pool is None else pool.ids, pa.large_string())

    @property
    def names(self) -> tuple[str, ...]:
        """The ids by position."""
        return tuple(self._names.to_pylist())

    def of_ids(self, table: Table, names: pa.Array, rows: Integers) -> Integers:
        """The positions of prompts by their ids, a row of the table each.

        Args:
            table: to name a row.
            names: the ids, each once.
            rows: for each row which of them it has.

        Raises:
            ObservationError: an id that is not in the pool (row named).
        """
        found = pc.index_in(names, value_set=self._names)
        if not found.null_count:
            return np.asarray(found)[rows]
        if self.pool is not None:
            row = int(np.argmax(np.asarray(found.is_null())[rows]))
            raise table.malformed(
                row,
                f"expected an id of the pool's {len(self._names)} prompts, got "
                f"{names[rows[row]].as_py()!r:.80}; give the pool that the log was written with, "
                "its id by the same field (--field id=FIELD)",
            )
        self._names = pa.concat_arrays([self._names, names.filter(found.is_null())])
        return self.of_ids(table, names, rows)

    def of_texts(self, table: Table, names: pa.Array, rows: Integers) -> Integers:
        """The positions of prompts by their texts, as `of_ids`; without a pool a text is an id.

        Raises:
            ArgumentError: a text that two prompts of the pool share, with different answers.
            ObservationError: a text that is not in the pool (row named).
        """
        if self.pool is None:
            return self.of_ids(table, names, rows)
        texts = names.to_pylist()
        found = self._texts.find(texts)
        positions = np.array([found.get(text, -1) for text in texts], dtype=np.int32)[rows]
        if len(positions) and positions.min() < 0:
            row = int(np.argmax(positions < 0))
            raise table.malformed(
                row,
                f"expected a prompt of the pool, got {texts[rows[row]]!r:.80}; give the pool that "
                "the run was trained on, or log a column id",
            )
        return positions

    def knows_id(self, name: str) -> bool:
        """Whether the pool has this id."""
        return bool(pc.index(self._names, name).as_py() >= 0)

    def knows_text(self, text: str) -> bool:
        """Whether the pool has this text, or one inside it."""
        return self.pool is not None and text in self._texts.find([text])

    @cached_property
    def _texts(self) -> PoolTexts:
        assert self.pool is not None, "texts are looked up in a pool only"
        return PoolTexts(self.pool)


class PoolTexts:
    """A pool's prompts by their texts, white space at both ends aside.

    Texts of chat models are logged as their template renders them: the same words before and after
    every prompt. Those words are learned from the log: of the pool's texts inside a logged one,
    that is taken whose surroundings lead to prompts of the pool in most other logged texts, too.
    """

    def __init__(self, pool: PromptPool) -> None:
        self._positions: dict[str, int] = {}
        self._shared: dict[str, tuple[str, str]] = {}  # ids of equal texts with different answers
        self._templates: list[tuple[str, str]] = []
        answers: dict[str, Any] = {}
        for position, prompt in enumerate(pool):
            text = prompt.prompt.strip()
            first = self._positions.setdefault(text, position)
            if first == position:
                answers[text] = prompt.answers
            elif answers[text] != prompt.answers:
                self._shared.setdefault(text, (pool.ids[first], prompt.id))

    def find(self, texts: Sequence[str]) -> dict[str, int]:
        """The positions of those texts that are in the pool.

        Raises:
            ArgumentError: a text that two prompts share, with different answers.
        """
        found = {text: self._position(text) for text in texts if text.strip() in self._positions}
        rest = [text for text in texts if text not in found]
        for template in self._templates:
            rest = self._take(rest, template, found)
        while rest and len(self._templates) < TEMPLATES and (learned := self._learn(rest)):
            self._templates.append(learned)
            rest = self._take(rest, learned, found)
        return found

    def _position(self, text: str) -> int:
        name = text.strip()
        if name in self._shared:
            one, other = self._shared[name]
            raise ArgumentError(
                f"the prompts {one!r} and {other!r} of the pool have the same text and different "
                "answers: expected different texts, since the log tells prompts apart by them; log "
                "a column id"
            )
        return self._positions[name]

    def _take(
        self, texts: Sequence[str], template: tuple[str, str], found: dict[str, int]
    ) -> list[str]:
        """Move the texts that a template explains to those found; return the others."""
        rest = []
        for text in texts:
            inside = _inside(text, template)
            if inside in self._positions:
                found[text] = self._position(inside)
            else:
                rest.append(text)
        return rest

    def _learn(self, texts: Sequence[str]) -> tuple[str, str] | None:
        """What surrounds the prompt in the first text, if that explains another one as well."""
        rendered, witnesses = texts[0], texts[:WITNESSES]
        inside = sorted((t for t in self._positions if t and t in rendered), key=len, reverse=True)
        best, most = None, 0
        for text in inside[:CANDIDATES]:
            at = rendered.rfind(text)
            template = rendered[:at], rendered[at + len(text) :]
            if template[0][-1:].isalnum() or template[1][:1].isalnum():
                continue  # part of a word or number
            explained = sum(_inside(other, template) in self._positions for other in witnesses)
            if explained > most:
                best, most = template, explained
        return best if most >= min(2, len(witnesses)) else None


def _inside(text: str, template: tuple[str, str]) -> str:
    before, after = template
    if len(text) < len(before) + len(after):
        return "\0"  # in no pool
    if not (text.startswith(before) and text.endswith(after)):
        return "\0"
    return text[len(before) : len(text) - len(after)].strip()
