"""What became of a pool since a checkpoint, and how a state is carried over to the present one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from insight_ext.beliefs.pool import PromptPool
from insight_ext.errors import CheckpointError

EXAMPLES = 3  # ids that a description names


class PoolChange:
    """Which prompts a pool gained, lost and rewrote; prompts are the same by their id.

    A prompt whose text or answer is another one is rewritten: what was learned about it is no
    longer about it, so it starts anew, as a gained one does.

    Args:
        before: `PromptPool.state_dict()` of the earlier pool.
        pool: the present pool.

    Attributes:
        source: int64 of shape (len(pool),), each prompt's position in the earlier pool, -1 for
            those that start anew.
        target: int64, for each prompt of the earlier pool its present position, -1 for those that
            are not among those kept.
        gained, lost, rewritten: lists of ids.
        kept: number of the others.
        reordered: whether those kept come in another order.

    Raises:
        CheckpointError: not the state of a pool, or no prompt in common.

    Examples:
        >>> from insight_ext import Prompt
        >>> a, b, c = (Prompt(name, f"{name}?", "1") for name in "abc")
        >>> change = PoolChange(PromptPool([a, b]).state_dict(), PromptPool([c, b]))
        >>> change.source.tolist()
        [-1, 1]
        >>> print(change)
        1 of 2 prompts kept, 1 gained ('c'), 1 lost ('a')
    """

    def __init__(self, before: Mapping[str, Any], pool: PromptPool) -> None:
        ids, contents = saved_pool(before)
        now = pool.state_dict()["contents"]
        earlier = {name: position for position, name in enumerate(ids)}
        source = torch.tensor([earlier.get(name, -1) for name in pool.ids])
        known = (source >= 0).nonzero()[:, 0]
        same = contents[source[known]] == now[known]
        self.gained = [pool.ids[i] for i in (source < 0).nonzero()[:, 0].tolist()]
        self.rewritten = [pool.ids[i] for i in known[~same].tolist()]
        present = set(pool.ids)
        self.lost = [name for name in ids if name not in present]
        source[known[~same]] = -1
        self.source = source
        self.kept = int(torch.count_nonzero(source >= 0))
        self._present = (source >= 0).nonzero()[:, 0]
        self.reordered = bool((source[self._present].diff() < 0).any())
        self.target = torch.full((len(ids),), -1)
        self.target[source[self._present]] = self._present
        if not self.kept:
            raise CheckpointError(
                f"the checkpoint belongs to another pool: expected some of its {len(ids)} prompts "
                f"({_some(ids)}) among the {len(pool)} given ({_some(list(pool.ids))}); resume "
                "with the prompts of the run that wrote it"
            )

    def rows(self, saved: Tensor, fresh: Tensor) -> Tensor:
        """A state with a row for each prompt: the saved rows of those kept, else the fresh ones."""
        expected = (len(self.target), *fresh.shape[1:])
        is_like = isinstance(saved, Tensor) and saved.dtype == fresh.dtype
        if not is_like or saved.shape != expected:
            got = f"{saved.dtype}, {tuple(saved.shape)}" if isinstance(saved, Tensor) else saved
            raise CheckpointError(
                f"expected a row for each of the {len(self.target)} prompts that the checkpoint "
                f"names, {fresh.dtype} of shape {expected}, got {got}"
            )
        carried = fresh.clone()
        carried[self._present] = saved[self.source[self._present]]
        return carried

    def holds(self, saved: Tensor) -> Tensor:
        """Which of these positions in the earlier pool are of prompts kept, bool of their shape."""
        outside = saved[(saved < 0) | (saved >= len(self.target))]
        if len(outside):
            raise CheckpointError(
                f"expected positions in [0, {len(self.target)}), the prompts that the checkpoint "
                f"names, got {int(outside[0])}; it is damaged"
            )
        return self.target[saved] >= 0

    def positions(self, saved: Tensor) -> Tensor:
        """Positions in the earlier pool as positions in this one, in order, without those lost."""
        return self.target[saved[self.holds(saved)]]

    def __str__(self) -> str:
        parts = [f"{self.kept} of {len(self.source)} prompts kept"]
        if self.reordered:
            parts[0] += " in another order"
        for what in ("gained", "lost", "rewritten"):
            names = getattr(self, what)
            if names:
                parts.append(f"{len(names)} {what} ({_some(names)})")
        return ", ".join(parts)


def _some(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:EXAMPLES]))
    return shown + (", ..." if len(names) > EXAMPLES else "")


def saved_pool(state: Mapping[str, Any]) -> tuple[list[str], Tensor]:
    """The ids and the digests in a `PromptPool.state_dict()`.

    Raises:
        CheckpointError: not the state of a pool.
    """
    try:
        text, lengths = state["ids"].numpy().tobytes(), state["lengths"].numpy()
        if (lengths < 0).any() or (lengths > len(text)).any() or lengths.sum() != len(text):
            raise ValueError(f"ids of {len(text)} bytes and lengths that add up to others")
        ends = np.cumsum(lengths).tolist()
        starts = [0, *ends[:-1]]
        ids = [text[a:b].decode() for a, b in zip(starts, ends, strict=True)]
        contents = state["contents"]
        if contents.shape != (len(ids),):
            raise ValueError(f"{len(ids)} ids and contents of shape {tuple(contents.shape)}")
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"expected the ids and contents of a pool, got {error!r}; the checkpoint is damaged"
        ) from error
    return ids, contents
