"""What the ranks of a process group tell each other: bytes, of any length, and failures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor

from insight_ext import errors
from insight_ext.errors import ArgumentError, InsightError

WORD = 8  # bytes of an int64
NOTHING = torch.empty(0, dtype=torch.uint8)


class Exchange:
    """All ranks' messages, on every rank, and an error of one rank as an error of all.

    Messages may differ in length. One collective carries as many bytes as the longest message of
    the latest exchange of the same name, which every rank knows; only longer ones need a second.

    Args:
        group: a process group; None is the default group, or a single process where there is none.
        device: where the group's backend expects tensors.

    Attributes:
        rank, ranks: this process's place in the group, and the group's size.

    Raises:
        ArgumentError: this process is not of the group.
    """

    def __init__(
        self, group: dist.ProcessGroup | None = None, device: torch.device | str = "cpu"
    ) -> None:
        self.rank, self.ranks = 0, 1
        if group is not None or (dist.is_available() and dist.is_initialized()):
            self.rank, self.ranks = dist.get_rank(group), dist.get_world_size(group)
        if self.rank < 0:
            raise ArgumentError("group: expected one that this process belongs to")
        self.group, self.device = group, device
        self._rooms: dict[str, int] = {}

    def together(
        self,
        name: str,
        work: Callable[[], tuple[str, Tensor]],
        disagreement: type[InsightError] = ArgumentError,
    ) -> list[Tensor]:
        """Every rank's message, by rank; all ranks call this together.

        Args:
            name: of the exchange.
            work: gives what must be the same on all ranks, as a text, and this rank's message,
                uint8 (m,).
            disagreement: raised, with both texts, if the texts differ.

        Returns:
            uint8 tensors on the CPU.

        Raises:
            InsightError: on every rank, of the class that `work` raised on the first rank where it
                failed, naming that rank. Any other exception is raised where it came up, and told
                to the other ranks as an InsightError.
        """
        if self.ranks == 1:
            return [work()[1].cpu()]
        said, failure = "", None
        try:
            said, message = work()
        except Exception as error:
            failure, message = error, _told(error)
        lengths, rows = self._gather(name, message, failure is not None, said)
        failed = [rank for rank, length in enumerate(lengths) if length < 0]
        if failure is not None and not isinstance(failure, InsightError):
            raise failure
        if failed:
            rank = failed[0]
            raise _heard(rank, rows[rank, 2 * WORD : 2 * WORD - 1 - lengths[rank]]) from failure
        marks = rows[:, WORD : 2 * WORD]
        if not torch.equal(marks, marks[:1].expand_as(marks)):
            raise disagreement(self._difference(name, said))
        return [
            row[2 * WORD : 2 * WORD + length].clone()
            for row, length in zip(rows, lengths, strict=True)
        ]

    def _gather(
        self, name: str, message: Tensor, failed: bool, said: str
    ) -> tuple[list[int], Tensor]:
        """The messages' lengths, -1 - length of a failure's, and for each rank a row of bytes: the
        length, the mark of what it said, the message, zeros."""
        message, room, length = message.to(self.device), self._rooms.get(name, 0), len(message)
        mark = hashlib.blake2b(said.encode(), digest_size=WORD).digest()
        told = (-1 - length if failed else length).to_bytes(WORD, "little", signed=True)
        head = as_message(told + mark).to(self.device)
        rows = self._all_gather(torch.cat((head, message[:room])), 2 * WORD + room)
        lengths = rows[:, :WORD].contiguous().view(torch.int64)[:, 0].tolist()
        longest = max(length if length >= 0 else -1 - length for length in lengths)
        if longest > room:
            rows = torch.cat((rows, self._all_gather(message[room:], longest - room)), 1)
        self._rooms[name] = longest
        return lengths, rows

    def _all_gather(self, sent: Tensor, size: int) -> Tensor:
        """uint8 (ranks, size) on the CPU: what each rank sent, filled up with zeros."""
        padded = torch.zeros(size, dtype=torch.uint8, device=self.device)
        padded[: len(sent)] = sent
        received = torch.empty(self.ranks, size, dtype=torch.uint8, device=self.device)
        dist.all_gather(list(received), padded, group=self.group)
        return received.cpu()

    def _difference(self, name: str, said: str) -> str:
        texts = [as_text(text) for text in self.together("said", lambda: ("", as_bytes(said)))]
        other = next(rank for rank, text in enumerate(texts) if text != texts[0])
        return (
            f"{name}: expected the same on every rank, got\n"
            f"  rank 0: {texts[0]}\n  rank {other}: {texts[other]}"
        )


def as_bytes(text: str) -> Tensor:
    """UTF-8, as a message."""
    return as_message(text.encode())


def as_text(message: Tensor) -> str:
    """What `as_bytes` was given."""
    return message.numpy().tobytes().decode()


def as_message(some: bytes) -> Tensor:
    """Bytes as a message: uint8 of shape (len(some),)."""
    return torch.frombuffer(bytearray(some), dtype=torch.uint8) if some else NOTHING


def _told(error: Exception) -> Tensor:
    name = type(error).__name__
    if not isinstance(error, InsightError):
        return as_bytes(json.dumps(["InsightError", f"{name}: {error}", None]))
    return as_bytes(json.dumps([name, str(error), getattr(error, "index", None)]))


def _heard(rank: int, message: Tensor) -> InsightError:
    name, text, index = json.loads(as_text(message))
    error: InsightError = getattr(errors, name, InsightError)(f"rank {rank}: {text}")
    if index is not None:
        error.index = index  # type: ignore[attr-defined]
    return error
