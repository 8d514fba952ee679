"""Prioritized sampling: a prompt is drawn in proportion to its failure rate."""

from __future__ import annotations

from torch import Tensor

from insight_ext.selectors.ranked import RankedSelector


class Prioritized(RankedSelector):
    """Draw without replacement, each prompt with weight 1 - success rate.

    Args:
        pool_size, seed, common: see `RankedSelector`.

    The success rate is the posterior mean, so a prompt that was never failed keeps a small chance.
    As published: `prior=(1e-6, 1e-6)`, the share of all its answers that were right.

    Source: Kimi k1.5 (arXiv 2501.12599), section 2.3.4.

    Examples:
        >>> selector = Prioritized(2)
        >>> selector.observe([0, 1], [1000000, 0], 1000000, step=0)
        >>> selector.select(1, step=1).tolist()
        [1]
    """

    def _scores(self, indices: Tensor | None) -> Tensor:
        alpha, beta = self.posterior.current(indices)
        return self._race((beta / (alpha + beta)).log(), indices)

    def _terms(self, indices: Tensor) -> dict[str, Tensor]:
        alpha, beta = self.posterior.current(indices)
        return {"weight": beta / (alpha + beta)}
