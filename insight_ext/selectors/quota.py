"""Shares of a pool's domains in every step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from insight_ext.errors import ArgumentError
from insight_ext.state import Names, Stateful


class Quota(Stateful):
    """Gives each domain its share of what a step is dealt, whatever the strategy prefers.

    The places of a step are shared out one by one, each to the domain that is furthest behind its
    share. Whether a step asks once or many times, for refills too, the shares hold. A domain with
    too few prompts that are free leaves its places to the others.

    Args:
        domains: the name of each prompt's domain, in the order of the pool.
        shares: of each domain, at least 0, in all 1.

    Raises:
        ArgumentError: a share that is no share, or for a domain that no prompt has; a domain
            without a share; shares that do not sum to 1.

    Cost: O(pool) for each domain in each call.

    Examples:
        >>> quota = Quota(["math", "code", "math", "math"], {"math": 0.5, "code": 0.5})
        >>> from insight_ext.selectors import Uniform
        >>> sorted(Uniform(4, quota=quota).select(2, step=0).tolist())[0] in (0, 1)
        True
    """

    what = "quota"
    settings: Names = ("shares",)
    values: Names = ("dealt",)

    def __init__(self, domains: Sequence[str], shares: Mapping[str, float]) -> None:
        present = set(domains)
        for name, share in shares.items():
            if name not in present:
                known = ", ".join(sorted(present)[:10])
                raise ArgumentError(
                    f"quota: expected shares of the prompts' domains ({known}), got one of {name!r}"
                )
            if not isinstance(share, (int, float)) or not 0.0 <= share <= 1.0:
                raise ArgumentError(
                    f"quota: expected a share in [0, 1] for {name!r}, got {share!r}"
                )
        missing = sorted(present - shares.keys())
        if missing:
            raise ArgumentError(
                f"quota: expected a share for every domain, got none for {missing[0]!r}; give it 0 "
                "to leave it out"
            )
        if not math.isclose(sum(shares.values()), 1.0, abs_tol=1e-6):
            raise ArgumentError(f"quota: expected shares that sum to 1, got {dict(shares)}")
        self.shares = {name: float(share) for name, share in shares.items()}
        places = {name: place for place, name in enumerate(self.shares)}
        self.domains = torch.tensor([places[name] for name in domains])
        self._sizes = torch.bincount(self.domains, minlength=len(places))
        self.dealt = [0] * len(places)

    def begin(self) -> None:
        """A step begins."""
        self.dealt = [0] * len(self.dealt)

    def due(self, count: int, taken: Tensor) -> tuple[int, Tensor]:
        """How many of the step's next prompts are of the domain that is due first, and the rest.

        Args:
            count: places to share out, at most the prompts that are free.
            taken: int64, distinct prompts that are not.

        Returns:
            A number from 1 to count, and what not to choose: `taken` and the other domains.
        """
        in_use = torch.bincount(self.domains[taken], minlength=len(self.dealt))
        free = (self._sizes - in_use).tolist()
        counts, shares = list(self.dealt), list(self.shares.values())
        first = None
        for total in range(sum(counts) + 1, sum(counts) + 1 + count):
            behind = [
                shares[domain] * total - counts[domain] if free[domain] else -math.inf
                for domain in range(len(shares))
            ]
            domain = behind.index(max(behind))
            first = domain if first is None else first
            counts[domain] += 1
            free[domain] -= 1
        assert first is not None
        out = self.domains != first
        out[taken] = True
        return counts[first] - self.dealt[first], out.nonzero()[:, 0]

    def deal(self, chosen: Tensor) -> None:
        """The step is dealt these."""
        for domain in self.domains[chosen].tolist():
            self.dealt[domain] += 1
