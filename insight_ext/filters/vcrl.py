"""VCRL: train where the rewards vary most, and come back to such prompts from a memory."""

from __future__ import annotations

import torch
from torch import Tensor

from insight_ext.beliefs.group import Group, Threshold
from insight_ext.errors import ArgumentError
from insight_ext.filters.filter import Filter, RolledOut, Verdict
from insight_ext.plugins import check_between, whole
from insight_ext.state import Names


class VCRL(Filter):
    """Keep the groups of high variance; refill once with remembered prompts of high variance.

    The prompts of groups that pass enter the memory. If a batch leaves places free, as many
    remembered prompts as places are rolled out anew, those of the highest priority first; a
    recalled prompt whose variance no longer passes is forgotten, and so is one that was recalled
    `max_replays` times since the selector last dealt it.

    The priority of a prompt starts as its variance; after each step
    `priority <- momentum * priority + (1 - momentum) * age`, age the steps since it was last rolled
    out, so that prompts not seen for long come back.

    Args:
        early, late: thresholds on the normalised variance, in [0, 1].
        warmup: steps during which `early` holds.
        momentum: of the priority, in [0, 1].
        max_replays: how often a remembered prompt is recalled, at least 1; None: without end.
        success_threshold: see `Filter`.

    Source: VCRL (arXiv 2509.19803): variance, thresholds .3 for 20 steps, then .8, and the memory,
    from which a prompt is replayed twice at most.
    Ours: recalled prompts are judged like others; of equal priorities the one remembered longest
    comes first; momentum 0.9, and the form of the priority, are our reading of the paper.
    """

    settings: Names = ("early", "late", "warmup", "momentum", "max_replays")
    positions = (("_prompts", "_priority", "_age", "_replays"),)

    def __init__(
        self,
        early: float = 0.3,
        late: float = 0.8,
        warmup: int = 20,
        momentum: float = 0.9,
        max_replays: int | None = 2,
        success_threshold: Threshold | None = None,
    ) -> None:
        super().__init__(success_threshold)
        check_between("a number", 0.0, 1.0, early=early, late=late, momentum=momentum)
        self.early, self.late, self.momentum = early, late, momentum
        self.warmup = whole("warmup", warmup, 0)
        self.max_replays = None if max_replays is None else whole("max_replays", max_replays, 1)
        self._prompts = torch.empty(0, dtype=torch.int64)
        self._priority = torch.empty(0, dtype=torch.float64)
        self._age = torch.empty(0, dtype=torch.int64)
        self._replays = torch.empty(0, dtype=torch.int64)

    @property
    def threshold(self) -> float:
        """The threshold of the next step."""
        return self.early if self.steps < self.warmup else self.late

    @property
    def memory(self) -> Tensor:
        """The remembered prompts, highest priority first: int64, positions in the pool."""
        return self._prompts[torch.sort(self._priority, descending=True, stable=True).indices]

    def decide(self, rolled: RolledOut) -> Verdict:
        """The first groups that pass, and after the first batch a recall for the free places."""
        passed = [i for i, group in enumerate(rolled.groups) if self._passes(group)]
        kept = passed[: rolled.target]
        if rolled.batches > 1:
            return Verdict(kept)
        seen = set(rolled.prompts)
        fresh = [prompt for prompt in self.memory.tolist() if prompt not in seen]
        return Verdict(kept, recall=fresh[: rolled.target - len(kept)])

    def remember(self, rolled: RolledOut) -> None:
        """The prompts whose groups pass are remembered, the others rolled out are forgotten."""
        replays = dict(zip(self._prompts.tolist(), self._replays.tolist(), strict=True))
        new: list[tuple[int, float, int, int]] = []
        for group, batch in zip(rolled.groups, rolled.batch_of, strict=True):
            # What the selector deals comes in the first batch, what is recalled in the second.
            count = replays.get(group.prompt, 0) + 1 if batch else 0
            if self._passes(group) and (self.max_replays is None or count < self.max_replays):
                new.append((group.prompt, self._variance(group), 0, count))
        rolled_out = torch.tensor([group.prompt for group in rolled.groups], dtype=torch.int64)
        rest = ~torch.isin(self._prompts, rolled_out)
        age = self._age[rest] + 1
        priority = self.momentum * self._priority[rest] + (1.0 - self.momentum) * age
        kept = (self._prompts[rest], priority, age, self._replays[rest])
        self._prompts, self._priority, self._age, self._replays = (
            torch.cat((column, torch.tensor([row[at] for row in new], dtype=column.dtype)))
            for at, column in enumerate(kept)
        )

    def metrics(self) -> dict[str, float]:
        """Those of every filter, and the number of remembered prompts."""
        return {**super().metrics(), "memory_prompts": float(len(self._prompts))}

    def _passes(self, group: Group) -> bool:
        return self._variance(group) >= self.threshold

    def _variance(self, group: Group) -> float:
        scored = len(group.scored)
        return normalised_variance(self.successes(group), scored) if scored > 1 else 0.0


def normalised_variance(successes: int, rollouts: int) -> float:
    """The unbiased variance k (K - k) / (K (K - 1)) of a group over the largest possible one.

    Args:
        successes: k, in [0, rollouts].
        rollouts: K, at least 2.

    Returns:
        In [0, 1]; 1 at k = K // 2.

    Source: VCRL (arXiv 2509.19803).

    Examples:
        >>> [normalised_variance(k, 8) for k in (0, 1, 4, 8)]
        [0.0, 0.4375, 1.0, 0.0]
    """
    if rollouts < 2:
        raise ArgumentError(f"rollouts: expected at least 2 for a variance, got {rollouts}")
    half = rollouts // 2
    return successes * (rollouts - successes) / (half * (rollouts - half))
