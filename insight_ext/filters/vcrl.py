"""VCRL: train where the rewards vary most, and come back to such prompts from a memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from insight_ext.beliefs.pool_change import PoolChange
from insight_ext.errors import ArgumentError
from insight_ext.filters.filter import Filter, Groups, Verdict


class VCRL(Filter):
    """Keep the groups of high variance; refill once with remembered prompts of high variance.

    The prompts of groups that pass enter the memory. If a batch leaves places free, as many
    remembered prompts as places are rolled out anew, those of the highest priority first; a
    recalled prompt whose variance no longer passes is forgotten.

    The priority of a prompt starts as its variance; after each step
    `priority <- momentum * priority + (1 - momentum) * age`, age the steps since it was last rolled
    out, so that prompts not seen for long come back.

    Args:
        early, late: thresholds on the normalised variance, in [0, 1].
        warmup: steps during which `early` holds.
        momentum: of the priority, in [0, 1].
        success_threshold: the smallest reward of a success.

    Source: VCRL (arXiv 2509.19803): variance, thresholds .3 for 20 steps, then .8, and the memory.
    Ours: recalled prompts are judged like others; of equal priorities the one remembered longest
    comes first; momentum 0.9, and the form of the priority, are our reading of the paper.
    """

    def __init__(
        self,
        early: float = 0.3,
        late: float = 0.8,
        warmup: int = 20,
        momentum: float = 0.9,
        success_threshold: float = 1.0,
    ) -> None:
        super().__init__()
        for name, value in (("early", early), ("late", late), ("momentum", momentum)):
            if not 0.0 <= value <= 1.0:
                raise ArgumentError(f"{name}: expected a number in [0, 1], got {value}")
        if warmup < 0:
            raise ArgumentError(f"warmup: expected 0 or more steps, got {warmup}")
        self.early, self.late, self.warmup = early, late, warmup
        self.momentum = momentum
        self.success_threshold = success_threshold
        self._prompts = torch.empty(0, dtype=torch.int64)
        self._priority = torch.empty(0, dtype=torch.float64)
        self._age = torch.empty(0, dtype=torch.int64)

    @property
    def threshold(self) -> float:
        """The threshold of the next step."""
        return self.early if self.steps < self.warmup else self.late

    @property
    def memory(self) -> Tensor:
        """The remembered prompts, highest priority first: int64, positions in the pool."""
        return self._prompts[torch.sort(self._priority, descending=True, stable=True).indices]

    def _judge(self, groups: Groups, candidates: Tensor, target: int, batches: int) -> Verdict:
        passed = candidates & (self._variance(groups) >= self.threshold)
        kept = passed.nonzero().flatten()[:target]
        if batches > 1:
            return Verdict(kept)
        memory = self.memory
        fresh = memory[~torch.isin(memory, groups.indices)]
        return Verdict(kept, recall=fresh[: target - len(kept)])

    def _settle(self, groups: Groups) -> None:
        variance = self._variance(groups)
        passed = variance >= self.threshold
        seen = torch.isin(self._prompts, groups.indices)
        age = self._age[~seen] + 1
        aged = self.momentum * self._priority[~seen] + (1.0 - self.momentum) * age
        new, position = torch.unique(groups.indices[passed], return_inverse=True)
        latest = torch.zeros(len(new), dtype=torch.float64).scatter_(0, position, variance[passed])
        self._prompts = torch.cat((self._prompts[~seen], new))
        self._priority = torch.cat((aged, latest))
        self._age = torch.cat((age, torch.zeros(len(new), dtype=torch.int64)))
        super()._settle(groups)

    def _variance(self, groups: Groups) -> Tensor:
        successes = (groups.rewards >= self.success_threshold).sum(dim=1)
        return normalised_variance(successes, groups.rewards.shape[1])

    def metrics(self) -> dict[str, float]:
        """Those of every filter, and the number of remembered prompts."""
        return {**super().metrics(), "memory_prompts": float(len(self._prompts))}

    def settings(self) -> dict[str, Any]:
        """Thresholds, momentum and warm-up."""
        names = ("early", "late", "warmup", "momentum", "success_threshold")
        return {name: getattr(self, name) for name in names}

    def state_dict(self) -> dict[str, Any]:
        """The shared state and the memory."""
        memory = {"prompts": self._prompts, "priority": self._priority, "age": self._age}
        return {**super().state_dict(), "memory": {k: v.clone() for k, v in memory.items()}}

    def carried(self, state: dict[str, Any], change: PoolChange) -> dict[str, Any]:
        """See `Filter.carried`: prompts that the pool lost are forgotten."""
        holds = change.holds(state["memory"]["prompts"])
        memory = {name: values[holds] for name, values in state["memory"].items()}
        memory["prompts"] = change.positions(memory["prompts"])
        return {**state, "memory": memory}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` saved."""
        super().load_state_dict(state)
        memory = state["memory"]
        self._prompts, self._priority, self._age = (
            memory[name].clone() for name in ("prompts", "priority", "age")
        )


def normalised_variance(successes: Tensor, rollouts: int) -> Tensor:
    """The unbiased variance k (K - k) / (K (K - 1)) of a group over the largest possible one.

    Args:
        successes: integers of shape (G,), k in [0, rollouts].
        rollouts: K, at least 2.

    Returns:
        float64 of shape (G,), in [0, 1]; 1 at k = K // 2.

    Source: VCRL (arXiv 2509.19803).

    Example:
        >>> normalised_variance(torch.tensor([0, 1, 4, 8]), 8).tolist()
        [0.0, 0.4375, 1.0, 0.0]
    """
    if rollouts < 2:
        raise ArgumentError(f"rollouts: expected at least 2 for a variance, got {rollouts}")
    half = rollouts // 2
    return (successes * (rollouts - successes)).double() / (half * (rollouts - half))
