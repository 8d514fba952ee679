"""Dynamic sampling: roll out until the batch is full of groups whose rewards vary."""

from __future__ import annotations

from typing import ClassVar

from insight_ext.beliefs.group import Group
from insight_ext.errors import ArgumentError
from insight_ext.filters.filter import Filter, RolledOut, Verdict
from insight_ext.state import Names


class DynamicSampling(Filter):
    """Keep the groups whose rewards vary; roll out further prompts until enough are kept.

    At the cap the step trains on what there is, with a warning. Surplus groups are not trained on.

    Args:
        success_threshold: see `Filter`.
        max_batches: generation batches in a step, at least 1.
        refill: prompts in each further generation batch; None: as many as the step trains on.

    Source: DAPO (arXiv 2503.14476), dynamic sampling. At the cap DAPO's code stops the run.

    Example:
        >>> sampling = DynamicSampling()
        >>> batch = [Group(4, (1.0, 1.0)), Group(7, (0.0, 1.0))]
        >>> sampling.judge([batch], target=2).wanted
        2
        >>> more = [Group(5, (1.0, 0.0)), Group(6, (0.0, 1.0))]
        >>> sampling.judge([batch, more], target=2).train
        [1, 2]
        >>> sampling.rollouts_spent
        8
    """

    refills: ClassVar[bool] = True
    settings: Names = ("max_batches", "refill")

    def __init__(
        self,
        success_threshold: float | None = None,
        max_batches: int = 10,
        refill: int | None = None,
    ) -> None:
        super().__init__(success_threshold)
        if max_batches < 1:
            raise ArgumentError(f"max_batches: expected at least 1, got {max_batches}")
        if refill is not None and refill < 1:
            raise ArgumentError(f"refill: expected at least 1, got {refill}")
        self.max_batches = max_batches
        self.refill = refill

    def decide(self, rolled: RolledOut) -> Verdict:
        """The first groups that are kept, and a refill while they are too few."""
        kept = [i for i, group in enumerate(rolled.groups) if self.keeps(group)][: rolled.target]
        if len(kept) == rolled.target or rolled.batches >= self.max_batches:
            return Verdict(kept)
        return Verdict(kept, wanted=self.refill or rolled.target)

    def keeps(self, group: Group) -> bool:
        """Whether a group is worth training on."""
        return group.has_spread
