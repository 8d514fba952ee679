"""Pilot-Commit: pilot answers first, the rest for prompts of a middling pass rate."""

from __future__ import annotations

import torch

from insight_ext.beliefs.group import Group, Threshold
from insight_ext.errors import ArgumentError
from insight_ext.filters.filter import RolledOut, Verdict
from insight_ext.filters.speed import Speed
from insight_ext.plugins import whole
from insight_ext.state import Names


class PilotCommit(Speed):
    """Screening with three outcomes: skip what is too easy, defer what is too hard, or commit.

    Of the pass rate of the pilot answers: above `skip` the prompt is given up, and when it comes
    again is up to the selector; below `defer` it is given up and remembered, and comes back with
    the first refill `wait` steps later; in between it gets the rest of its group.

    Args:
        screening: pilot answers, at least 2; part of the group.
        skip, defer: pass rates, 0 <= defer <= skip <= 1.
        wait: steps before a deferred prompt comes back, at least 1.
        success_threshold, max_batches, refill, oversample: see `DynamicSampling`.

    Source: Pilot-Commit (arXiv 2605.26606) and its code (databricks/pilot-commit, commit 6def20e):
    .75 and .125; a quarter of the answers are pilots (`screening=16` of 64, 32 of 128), a batch has
    three times the prompts of the step (`oversample=3`, `refill`). Deviations: there a deferred
    prompt comes back with the next pass over the data, here after `wait` steps (20 is ours); there
    prompts whose pilot answers are all right leave the data, here they are skipped, and the
    selector learns of it; there surplus prompts wait up to four steps with their pilot answers,
    here a step is complete in itself.

    Examples:
        >>> pilot = PilotCommit(success_threshold=1.0)
        >>> answers = [(0.0,) * 4, (1.0, 0.0, 0.0, 0.0), (1.0, 1.0, 1.0, 0.0), (1.0,) * 4]
        >>> [pilot.passes(Group(i, each)) for i, each in enumerate(answers)]
        [False, True, True, False]
    """

    settings: Names = ("skip", "defer", "wait")
    positions = (("_deferred", "_since"),)

    def __init__(
        self,
        screening: int = 4,
        skip: float = 0.75,
        defer: float = 0.125,
        wait: int = 20,
        success_threshold: Threshold | None = None,
        max_batches: int = 10,
        refill: int | None = None,
        oversample: float = 1.0,
    ) -> None:
        super().__init__(screening, success_threshold, max_batches, refill, oversample)
        if not 0.0 <= defer <= skip <= 1.0:
            raise ArgumentError(
                f"defer and skip: expected 0 <= defer <= skip <= 1, got {defer} and {skip}"
            )
        self.skip, self.defer, self.wait = skip, defer, whole("wait", wait, 1)
        self._deferred = torch.empty(0, dtype=torch.int64)  # oldest first,
        self._since = torch.empty(0, dtype=torch.int64)  # and the step of each

    def passes(self, group: Group) -> bool:
        """Whether the pass rate is in [defer, skip]."""
        return self.defer <= self.pass_rate(group) <= self.skip

    def decide(self, rolled: RolledOut) -> Verdict:
        """As dynamic sampling; deferred prompts whose time has come are part of a refill."""
        verdict = super().decide(rolled)
        due = self._deferred[self._since + self.wait <= self.steps].tolist()
        seen = set(rolled.prompts)
        recall = [prompt for prompt in due if prompt not in seen][: verdict.wanted]
        return Verdict(verdict.train, verdict.wanted - len(recall), recall)

    def remember(self, rolled: RolledOut) -> None:
        """Deferred prompts; those that were rolled out again are no longer."""
        hard = [g.prompt for g in rolled.abandoned if self.pass_rate(g) < self.defer]
        seen = torch.tensor(list(rolled.prompts), dtype=torch.int64)
        waiting = ~torch.isin(self._deferred, seen)
        new = torch.tensor(list(dict.fromkeys(hard)), dtype=torch.int64)
        self._deferred = torch.cat((self._deferred[waiting], new))
        self._since = torch.cat((self._since[waiting], torch.full_like(new, self.steps)))

    def metrics(self) -> dict[str, float]:
        """Those of every filter, and the number of deferred prompts."""
        return {**super().metrics(), "deferred_prompts": float(len(self._deferred))}
