"""Dynamic sampling: roll out until the batch is full of groups whose rewards vary."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from insight_ext.errors import ArgumentError
from insight_ext.filters.filter import Filter, Groups, Verdict, has_spread


class DynamicSampling(Filter):
    """Keep the groups whose rewards vary; roll out further prompts until enough are kept.

    At the cap the step trains on what there is, with a warning. Surplus groups are not trained on.

    Args:
        max_batches: generation batches in a step, at least 1.
        refill: prompts in each further generation batch; None: as many as the step trains on.

    Source: DAPO (arXiv 2503.14476), dynamic sampling. At the cap DAPO's code stops the run.

    Example:
        >>> import torch
        >>> sampling = DynamicSampling()
        >>> batch = Groups(torch.tensor([4, 7]), torch.tensor([[1.0, 1.0], [0.0, 1.0]]))
        >>> sampling.judge([batch], target=2).wanted
        2
        >>> more = Groups(torch.tensor([5, 6]), torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        >>> sampling.judge([batch, more], target=2).train.tolist()
        [1, 2]
        >>> sampling.rollouts
        8
    """

    refills: ClassVar[bool] = True

    def __init__(self, max_batches: int = 10, refill: int | None = None) -> None:
        super().__init__()
        if max_batches < 1:
            raise ArgumentError(f"max_batches: expected at least 1, got {max_batches}")
        if refill is not None and refill < 1:
            raise ArgumentError(f"refill: expected at least 1, got {refill}")
        self.max_batches = max_batches
        self.refill = refill

    def _judge(self, groups: Groups, candidates: Tensor, target: int, batches: int) -> Verdict:
        kept = (candidates & has_spread(groups.rewards)).nonzero().flatten()[:target]
        if len(kept) == target or batches >= self.max_batches:
            return Verdict(kept)
        return Verdict(kept, wanted=self.refill or target)

    def settings(self) -> dict[str, Any]:
        """The cap and the size of a refill."""
        return {"max_batches": self.max_batches, "refill": self.refill}
