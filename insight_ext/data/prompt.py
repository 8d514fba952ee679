"""One prompt, what tells it from another, and how many of them are held."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

DIGEST = 32  # bytes of a SHA-256


@dataclass(frozen=True, slots=True)
class Prompt:
    """One task: a stable id, the text shown to the model, the expected answer, anything else.

    Attributes:
        id: stable; beliefs are saved by it.
        prompt: the text. Of a conversation what the user says in it, see `conversation_text`.
        answer: the expected answer, the first one if several are accepted.
        meta: the other fields of the prompt's row.
        messages: the conversation, for the tokenizer's template; None where the prompt is a text.
        other_answers: further answers that are as good as `answer`.

    Examples:
        >>> Prompt("a", "1/2 = ?", "1/2", other_answers=("0.5",)).answers
        ('1/2', '0.5')
    """

    id: str
    prompt: str
    answer: str
    meta: Mapping[str, Any] = field(default_factory=dict)
    messages: tuple[Mapping[str, Any], ...] | None = field(default=None, repr=False, kw_only=True)
    other_answers: tuple[str, ...] = field(default=(), repr=False, kw_only=True)

    @property
    def answers(self) -> tuple[str, ...]:
        """Every accepted answer, `answer` first."""
        return (self.answer, *self.other_answers)

    def row(self) -> dict[str, Any]:
        """The prompt as a row of a file, which reads back as this prompt."""
        prompt = self.prompt if self.messages is None else [dict(m) for m in self.messages]
        answer = list(self.answers) if self.other_answers else self.answer
        return {**self.meta, "id": self.id, "prompt": prompt, "answer": answer}

    @property
    def digest(self) -> bytes:
        """SHA-256 over id, text and answer, and over messages and other answers if there are."""
        more = b""
        if self.messages is not None or self.other_answers:
            said = None if self.messages is None else [dict(m) for m in self.messages]
            more = json.dumps([said, self.other_answers], sort_keys=True, default=str).encode()
        return digest(self.id.encode(), self.prompt.encode(), self.answer.encode(), more)


def digest(name: bytes, text: bytes, answer: bytes, more: bytes = b"") -> bytes:
    """SHA-256 of a prompt's parts, each with its length, so that no text moves between them."""
    size = int.to_bytes
    parts = [size(len(name), 8, "little"), name, size(len(text), 8, "little"), text]
    parts += [size(len(answer), 8, "little"), answer]
    if more:
        parts += [size(len(more), 8, "little"), more]
    return hashlib.sha256(b"".join(parts)).digest()


def conversation_text(messages: Sequence[Mapping[str, Any]]) -> str:
    """The text by which a conversation is known, in pools, features and logs alike.

    The content of the user's message if there is one; else all messages as JSON.

    Examples:
        >>> conversation_text([{"role": "system", "content": "Be brief."},
        ...                    {"role": "user", "content": "1+1="}])
        '1+1='
    """
    said = [message.get("content") for message in messages if message.get("role") == "user"]
    if len(said) == 1:
        text = content_text(said[0])
        if text is not None:
            return text
    return json.dumps([dict(message) for message in messages], sort_keys=True, default=str)


def content_text(content: Any) -> str | None:
    """A message's text; its parts joined where it comes in parts, None where one has no text."""
    if isinstance(content, str):
        return content
    if not isinstance(content, (list, tuple)):
        return None
    parts = [part.get("text") if isinstance(part, Mapping) else None for part in content]
    texts = [part for part in parts if isinstance(part, str)]
    return "".join(texts) if texts and len(texts) == len(parts) else None


class Prompts(Sequence[Prompt]):
    """What a pool holds: prompts in order, made when they are asked for."""

    @property
    @abstractmethod
    def ids(self) -> Iterable[str]:
        """The ids in order."""

    @property
    @abstractmethod
    def digests(self) -> bytes | bytearray:
        """Every prompt's `digest`, one after another."""


class PromptList(Prompts):
    """Prompts held as objects."""

    def __init__(self, prompts: Iterable[Prompt]) -> None:
        self._prompts = tuple(prompts)

    def __len__(self) -> int:
        return len(self._prompts)

    def __getitem__(self, index: Any) -> Any:
        return self._prompts[index]

    def __iter__(self) -> Iterator[Prompt]:
        return iter(self._prompts)

    @property
    def ids(self) -> Iterable[str]:
        """The ids in order."""
        return (prompt.id for prompt in self._prompts)

    @property
    def digests(self) -> bytes | bytearray:
        """Every prompt's `digest`, one after another."""
        return b"".join(prompt.digest for prompt in self._prompts)
