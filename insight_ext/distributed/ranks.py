"""Several processes as one: the parts of a step that each takes, and what they tell each other."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor

from insight_ext.distributed.exchange import Exchange, as_message

T = TypeVar("T")


class Ranks:
    """A place among the processes of a training: this one's number, and how many there are.

    Args:
        rank, size: of torch.distributed's default group; one process needs none.
        device: where the group's backend expects tensors.

    Examples:
        >>> Ranks(1, 4).share(torch.arange(10))
        tensor([3, 4, 5])
    """

    def __init__(self, rank: int = 0, size: int = 1, device: torch.device | str = "cpu") -> None:
        self.rank, self.size, self.device = rank, size, device

    @cached_property
    def _exchange(self) -> Exchange:
        return Exchange(device=self.device)

    def share(self, values: Tensor) -> Tensor:
        """This process's adjacent part; all parts in the order of ranks are the whole."""
        return values.tensor_split(self.size)[self.rank]

    def gathered(self, value: T) -> list[T]:
        """Every process's value, in the order of ranks. All processes have to call."""
        return self.all_or_none(lambda: value)

    def all_or_none(self, work: Callable[[], T]) -> list[T]:
        """Every process's result of `work`, in the order of ranks; if one fails, all raise.

        Without this the others would wait for the one that failed until they time out.

        Raises:
            InsightError: see `Exchange.together`.
        """
        if self.size == 1:
            return [work()]
        messages = self._exchange.together(
            "objects", lambda: ("", as_message(pickle.dumps(work())))
        )
        return [pickle.loads(message.numpy().tobytes()) for message in messages]

    def sum_(self, tensors: Sequence[Tensor]) -> None:
        """Add up each tensor over all processes, in place."""
        if self.size > 1:
            for tensor in tensors:
                torch.distributed.all_reduce(tensor)


def digest(state: Any) -> str:
    """SHA-256 (hex) of a nested state of tensors and primitives: equal states, equal text.

    Examples:
        >>> digest({"a": torch.ones(2), "b": [1]}) == digest({"b": [1], "a": torch.ones(2)})
        True
    """
    hashed = hashlib.sha256()

    def add(part: Any) -> None:
        if isinstance(part, Mapping):
            for key in sorted(part, key=str):
                hashed.update(f"{key!r}:".encode())
                add(part[key])
        elif isinstance(part, (list, tuple)):
            hashed.update(f"[{len(part)}".encode())
            for each in part:
                add(each)
        elif isinstance(part, Tensor):
            hashed.update(f"{part.dtype}{tuple(part.shape)}".encode())
            # A copy: a single number may have any stride and count as contiguous.
            flat = part.detach().cpu().reshape(-1).clone(memory_format=torch.contiguous_format)
            hashed.update(flat.view(torch.uint8).numpy().tobytes())
        else:
            hashed.update(repr(part).encode())

    add(state)
    return hashed.hexdigest()
