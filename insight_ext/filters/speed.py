"""SPEED: screen each prompt with a few rollouts, finish only those of medium difficulty."""

from __future__ import annotations

from insight_ext.beliefs.group import Group, Threshold
from insight_ext.filters.dynamic_sampling import DynamicSampling
from insight_ext.plugins import whole
from insight_ext.state import Names


class Speed(DynamicSampling):
    """Dynamic sampling that gives a prompt up after `screening` rollouts that agree.

    A prompt gets `screening` rollouts; only if some but not all of them succeed does it get the
    rest of its group. The screening rollouts are part of the group.

    Args:
        screening: rollouts before the decision, at least 2.
        success_threshold, max_batches, refill, oversample: see `DynamicSampling`.

    Source: SPEED (arXiv 2506.09016), the screening phase. Version 3 of March 2026 withdraws the
    paper; versions 1 and 2 can still be read. Deviation: there the continuation of one batch runs
    together with the screening of the next, and surplus groups wait in a buffer for later steps;
    here a step is complete in itself, and every group comes from the present policy.

    Examples:
        >>> speed = Speed(success_threshold=1.0)
        >>> speed.passes(Group(0, (0.0, 0.0, 1.0, 0.0))), speed.passes(Group(1, (1.0,) * 4))
        (True, False)
    """

    settings: Names = ("screening",)
    screening: int

    def __init__(
        self,
        screening: int = 4,
        success_threshold: Threshold | None = None,
        max_batches: int = 10,
        refill: int | None = None,
        oversample: float = 1.0,
    ) -> None:
        super().__init__(success_threshold, max_batches, refill, oversample)
        self.screening = whole("screening", screening, 2)

    def passes(self, group: Group) -> bool:
        """Whether 0 < pass rate < 1."""
        return 0 < self.successes(group) < len(group.scored)
