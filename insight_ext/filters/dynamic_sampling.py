"""Dynamic sampling: roll out until the batch is full of groups with right and wrong answers."""

from __future__ import annotations

from math import ceil
from typing import ClassVar

from insight_ext.beliefs.group import Group, Threshold
from insight_ext.filters.filter import Filter, RolledOut, Verdict
from insight_ext.plugins import whole
from insight_ext.state import Names


class DynamicSampling(Filter):
    """Keep the groups with right and wrong answers; roll out further prompts until enough are kept.

    Without a success threshold nothing is right or wrong: then the groups whose rewards vary are
    kept, and with `by_spread` whatever the threshold.

    A further batch is as large as the share of the step's prompts kept so far says that it must
    be, and no larger than the first one. At the cap the step trains on what there is, with a
    warning. Surplus groups are not trained on.

    Args:
        success_threshold: see `Filter`.
        max_batches: generation batches in a step, at least 1.
        refill: prompts in each further batch; None: by the measured share, as said above.
        oversample: see `Filter`.
        by_spread: keep groups whose rewards vary, also where all or none of them are successes.

    Source: DAPO (arXiv 2503.14476), eq. 11: 0 < correct answers < G. Its scripts (volcengine/verl,
    recipe/dapo, commit 03150d4) generate three times the prompts that they train on
    (`oversample=3`), each further batch as large (`refill`), ten batches at most; at the cap its
    code stops the run, here the step goes on with a warning.

    Examples:
        >>> sampling = DynamicSampling(success_threshold=1.0)
        >>> batch = [Group(4, (1.0, 1.0)), Group(7, (0.0, 1.0)), Group(2, (0.5, 0.0))]
        >>> sampling.judge([batch], target=2).wanted
        2
        >>> more = [Group(5, (1.0, 0.0)), Group(6, (0.0, 1.0))]
        >>> sampling.judge([batch, more], target=2).train
        [1, 3]
        >>> sampling.rollouts_spent
        10
    """

    refills: ClassVar[bool] = True
    settings: Names = ("max_batches", "refill", "by_spread")

    def __init__(
        self,
        success_threshold: Threshold | None = None,
        max_batches: int = 10,
        refill: int | None = None,
        oversample: float = 1.0,
        by_spread: bool = False,
    ) -> None:
        super().__init__(success_threshold, oversample)
        self.max_batches = whole("max_batches", max_batches, 1)
        self.refill = None if refill is None else whole("refill", refill, 1)
        self.by_spread = by_spread

    def decide(self, rolled: RolledOut) -> Verdict:
        """The first groups that are kept, and a refill while they are too few."""
        kept = [i for i, group in enumerate(rolled.groups) if self.keeps(group)]
        missing = rolled.target - len(kept)
        if missing <= 0 or rolled.batches >= self.max_batches:
            return Verdict(kept[: rolled.target])
        return Verdict(kept, wanted=self.refill or self._wanted(missing, len(kept), rolled))

    def keeps(self, group: Group) -> bool:
        """Whether a group is worth training on."""
        if self.by_spread or self.threshold_now is None:
            return group.has_spread
        return group.is_mixed(self.threshold_now)

    def _wanted(self, missing: int, kept: int, rolled: RolledOut) -> int:
        first = self.first_batch(rolled.target)
        return min(first, ceil(missing * len(rolled.prompts) / kept)) if kept else first
