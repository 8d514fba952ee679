"""Beta beliefs about the success rate of every prompt of a pool."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from insight_ext.beliefs.empirical import fit_beta
from insight_ext.beliefs.shared_prior import START, SharedPrior
from insight_ext.errors import ArgumentError, BeliefError, ObservationError
from insight_ext.plugins import whole
from insight_ext.state import Names, Stateful

Prior = tuple[float, float] | tuple[Tensor, Tensor] | Literal["empirical"]


class BetaPosteriors(Stateful):
    """One Beta(alpha, beta) belief per prompt, updated by the results of its rollouts.

    A visit with `s` successes of `K` rollouts moves a belief by

        alpha <- decay * alpha + (1 - decay) * prior_alpha + s
        beta  <- decay * beta  + (1 - decay) * prior_beta  + (K - s)

    Prompts that were not visited keep their belief, unless there is a half-life: then evidence
    fades towards the prior with the steps since the prompt's latest visit. That is worked out when
    beliefs are read (`current`), so a step costs nothing for the prompts it does not touch.

    Args:
        n: number of prompts, at least 1.
        prior: (alpha, beta) of a prompt never visited, finite and positive: two numbers, or two
            tensors of shape (n,) with a prior for each prompt. "empirical": the Beta distribution
            of first visits' success rates, see `fit_beta`; Beta(1, 1) up to the 64th first visit,
            then fitted each time that their number has doubled, and all beliefs moved with it.
        decay: share of the old evidence that a visit keeps, in [0, 1]; 1 never forgets.
        device: where the beliefs live.
        half_life: steps after which half of the evidence is left; None: time changes nothing.
        kinds: int64 of shape (n,): prompts of a kind share a `SharedPrior`, with which beliefs move
            at every visit. Two numbers of the prior, given or fitted, are what each kind starts
            from; two tensors, at least 1, are answers on top, as many as above Beta(1, 1).

    Attributes:
        prior: as given, or as fitted; `base` is what evidence is on top of and fades towards, with
            kinds theirs.
        alpha: float32 tensor of shape (n,), as of each prompt's latest visit.
        beta: likewise.
        visits: int32 tensor of shape (n,), number of visits of each prompt.
        latest: int32 tensor of shape (n,), the step of the latest visit.
        step: the present step; whoever owns the beliefs advances it.

    Raises:
        ArgumentError: n, prior, decay or half_life outside its domain, a device that is not there.

    Determinism: updates are elementwise; equal calls give equal bits.

    Source: InSight (arXiv 2603.01907), eq. 6; decay as in MoPPS (arXiv 2507.04632).

    Examples:
        >>> beliefs = BetaPosteriors(3)
        >>> beliefs.observe([2], successes=[5], rollouts=8)
        >>> beliefs.alpha.tolist(), beliefs.beta.tolist()
        ([1.0, 1.0, 6.0], [1.0, 1.0, 4.0])
    """

    what = "beliefs"
    settings: Names = ("prior_kind", "decay", "half_life")
    per_prompt: Names = ("alpha", "beta", "visits", "latest")
    values: Names = ("step",)
    parts: Names = ("shared",)

    def __init__(
        self,
        n: int,
        prior: Prior = (1.0, 1.0),
        decay: float = 1.0,
        device: torch.device | str = "cpu",
        half_life: float | None = None,
        kinds: Tensor | None = None,
    ) -> None:
        n = whole("n", n, 1)
        if not 0.0 <= decay <= 1.0:
            raise ArgumentError(f"decay: expected a number in [0, 1], got {decay}")
        if half_life is not None and not half_life > 0:
            raise ArgumentError(f"half_life: expected a positive number of steps, got {half_life}")
        try:
            torch.empty(0, device=device)
        except (AssertionError, RuntimeError) as error:
            raise ArgumentError(
                f"device: expected one that this torch can use, such as 'cpu', got {device!r}: "
                f"{error}"
            ) from error
        self.is_empirical = prior == "empirical" if isinstance(prior, str) else False
        self.shared = None if kinds is None else SharedPrior(kinds)
        first: Any = (1.0, 1.0) if kinds is None else START
        self.prior = _checked_prior(first if self.is_empirical else prior, n, device)
        if kinds is not None:
            _check_on_top(self.prior)
        self.base = self._present_base()
        self.first_visits: dict[str, int] = {}  # how many had "successes/rollouts"
        if self.is_empirical:
            self.prior_kind, self.values = "an empirical prior", ("prior", "first_visits")
        elif isinstance(self.prior[0], Tensor):
            self.prior_kind, self.of_pool = "a prior for each prompt", ("prior",)
        else:
            self.prior_kind, self.settings = "one prior for all prompts", ("prior",)
        self.decay = float(decay)
        self.half_life = half_life
        self.alpha, self.beta = (
            torch.zeros(n, dtype=torch.float32, device=device) + side for side in self.base
        )
        self.visits = torch.zeros(n, dtype=torch.int32, device=device)
        self.latest = torch.zeros(n, dtype=torch.int32, device=device)
        self.step = 0
        self._shares = torch.empty(0)  # of the evidence, by its age

    def __len__(self) -> int:
        return len(self.alpha)

    @property
    def mean(self) -> Tensor:
        """Posterior mean of the success rate, float32 tensor of shape (n,)."""
        alpha, beta = self.current()
        return alpha / (alpha + beta)

    def current(self, indices: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(alpha, beta) at the present step, of these prompts or of all.

        With no half-life and no indices these are the stored tensors, not copies.
        """
        alpha, beta = self.alpha, self.beta
        if indices is not None:
            alpha, beta = alpha.index_select(0, indices), beta.index_select(0, indices)
        if self.half_life is None:
            return alpha, beta
        left = self._left(self.latest if indices is None else self.latest[indices])
        priors = self._base_at(indices)
        return priors[0] + (alpha - priors[0]) * left, priors[1] + (beta - priors[1]) * left

    def _left(self, latest: Tensor) -> Tensor:
        """Share of the evidence of these visits that is left, float32.

        Looked up: a tensor's exp2 rounds differently at its end, and a belief must not depend on
        where in which tensor it lies.
        """
        assert self.half_life is not None
        most = 150 * self.half_life + 2  # ages of interest: float32 rounds 2^-150 to 0
        wanted = int(min(self.step + 1, most))
        if len(self._shares) < wanted:
            ages = range(int(min(2 * wanted, most)))
            shares = [math.exp2(-age / self.half_life) for age in ages]
            self._shares = torch.tensor(shares, dtype=torch.float32, device=latest.device)
        return self._shares.index_select(0, (self.step - latest).clamp_(max=len(self._shares) - 1))

    def _present_base(self) -> tuple[Any, Any]:
        return self.prior if self.shared is None else self.shared.sides(self.prior)

    def _base_at(self, indices: Tensor | None) -> tuple[Any, Any]:
        first, second = self.base
        if indices is None or not isinstance(first, Tensor):
            return first, second
        return first[indices], second[indices]

    def observe(self, indices: Any, successes: Any, rollouts: Any) -> None:
        """Update the beliefs of the visited prompts; nothing changes if anything is wrong.

        Args:
            indices: integers of shape (m,), in [0, n). An index that occurs more than once counts
                as one visit with the summed successes and rollouts.
            successes: integers of shape (m,), each in [0, rollouts].
            rollouts: one positive integer, or integers of shape (m,).

        Raises:
            ObservationError: shapes, dtypes or values outside the above; the first bad one named.

        Cost: O(m), independent of n.
        """
        self.add(*self.counted(indices, successes, rollouts))

    def add(self, visited: Tensor, successes: Tensor, rollouts: Tensor) -> None:
        """`observe` what `counted` has checked."""
        first = self.visits[visited] == 0 if self.is_empirical else None
        current, priors = self.current(visited), self._base_at(visited)
        for belief, old, prior, count in zip(
            (self.alpha, self.beta), current, priors, (successes, rollouts - successes), strict=True
        ):
            new = self.decay * old + ((1.0 - self.decay) * prior + count.float())
            belief.index_copy_(0, visited, new)
        self.visits.index_add_(0, visited, torch.ones_like(visited, dtype=torch.int32))
        self.latest.index_fill_(0, visited, self.step)
        if self.shared is not None:
            self.shared.observe(visited, successes, rollouts)
            self._move()
        if first is not None and first.any():
            self._fit_prior(successes[first].tolist(), rollouts[first].tolist())

    def _fit_prior(self, successes: list[int], rollouts: list[int]) -> None:
        """Count first visits; where their number has doubled, fit the prior, move all beliefs."""
        before = sum(self.first_visits.values())
        for result in zip(successes, rollouts, strict=True):
            key = "{}/{}".format(*result)
            self.first_visits[key] = self.first_visits.get(key, 0) + 1
        if (before + len(successes)).bit_length() <= max(before.bit_length(), 6):
            return
        results = sorted(tuple(map(int, key.split("/"))) for key in self.first_visits)
        counts = [self.first_visits[f"{won}/{tried}"] for won, tried in results]
        columns = torch.tensor(results)
        self.prior = fit_beta(columns[:, 0], columns[:, 1], torch.tensor(counts))
        self._move()

    def _move(self) -> None:
        """Move all beliefs to the present base: each is its base and evidence on top."""
        base = self._present_base()
        for belief, new, old in zip((self.alpha, self.beta), base, self.base, strict=True):
            belief.add_(new - old).clamp_(min=new)
        self.base = base
        self._begin_unvisited()

    def _begin_unvisited(self) -> None:
        """Set the beliefs of prompts never visited to their prior, to the bit."""
        unvisited = self.visits == 0
        for belief, base in zip((self.alpha, self.beta), self.base, strict=True):
            if isinstance(base, Tensor):
                torch.where(unvisited, base, belief, out=belief)
            else:
                belief.masked_fill_(unvisited, base)

    def _apply(self, state: Mapping[str, Any]) -> None:
        super()._apply(state)
        self.base = self._present_base()
        if self.shared is not None:
            self._begin_unvisited()  # those that joined the pool among them

    def counted(
        self, indices: Any, successes: Any, rollouts: Any, *, parts: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(prompts, successes, rollouts) as `observe` counts them: checked, each prompt once.

        Args:
            indices, successes, rollouts: see `observe`.
            parts: whether successes may be fractions.

        Raises:
            ObservationError: see `observe`.
        """
        columns = each_once(checked_results(len(self), indices, successes, rollouts, parts))
        first, second, third = (column.to(self.alpha.device) for column in columns)
        return first, second, third

    def check_state(self, state: Mapping[str, Any]) -> None:
        """See `Stateful.check_state`.

        Raises:
            CheckpointError: another pool size, prior, decay or half-life.
            BeliefError: a saved belief is not finite or not positive.
        """
        super().check_state(state)
        for name in ("alpha", "beta"):
            _check_positive(name, state["per_prompt"][name], " in the checkpoint")


def checked_results(
    n: int, indices: Any, successes: Any, rollouts: Any, parts: bool = False
) -> list[Tensor]:
    """What `observe` is given, as three int64 tensors of shape (m,); fractions as float32.

    Raises:
        ObservationError: see `BetaPosteriors.observe`.
    """
    columns = []
    given = {"indices": indices, "successes": successes, "rollouts": rollouts}
    for name, values in given.items():
        try:
            column = torch.as_tensor(values)
        except (TypeError, ValueError, RuntimeError, OverflowError) as error:
            raise ObservationError(
                f"{name}: expected integers of shape (m,), got {values!r:.80}; "
                "no belief was changed"
            ) from error
        kind = column.dtype
        if name == "successes" and parts and kind == torch.float32:
            pass
        elif column.numel() and (kind.is_floating_point or kind.is_complex or kind == torch.bool):
            raise ObservationError(f"{name}: expected integers, got {kind}")
        columns.append(column)
    shape = columns[0].shape
    if columns[2].ndim == 0:
        columns[2] = columns[2].expand(shape)
    for name, column in zip(given, columns, strict=True):
        if column.ndim != 1 or column.shape != shape:
            raise ObservationError(
                f"{name}: expected one value per index, shape {tuple(shape)} and one "
                f"dimension, got {tuple(column.shape)}"
            )
    # A batch is small: lists cost a fraction of what as many calls on tensors cost.
    results = zip(*(column.tolist() for column in columns), strict=True)
    for i, (index, won, tried) in enumerate(results):
        if not 0 <= index < n:
            bad, expected, got = "indices", f"in [0, {n})", f"{index}"
        elif not 1 <= tried < 1 << 63:  # NumPy's uint64 would wrap around
            bad, expected, got = "rollouts", "1 to 2^63 - 1", f"{tried}"
        elif not 0 <= won <= tried:
            bad, expected, got = "successes", "in [0, rollouts]", f"{won} of {tried} rollouts"
        else:
            continue
        raise ObservationError(f"{bad}[{i}]: expected {expected}, got {got}; no belief was changed")
    return [c if c.is_floating_point() and len(c) else c.to(torch.int64) for c in columns]


def each_once(columns: list[Tensor]) -> list[Tensor]:
    """(prompts, successes, rollouts) with the results of repeated prompts summed."""
    visited = columns[0].tolist()
    if len(set(visited)) == len(visited):
        return columns
    sums: dict[int, tuple[int, int]] = {}
    for index, won, tried in zip(visited, columns[1].tolist(), columns[2].tolist(), strict=True):
        before = sums.get(index, (0, 0))
        sums[index] = (before[0] + won, before[1] + tried)
    merged = [*sums], *zip(*sums.values(), strict=True)
    return [torch.tensor(values) for values in merged]


def _checked_prior(prior: Any, n: int, device: torch.device | str) -> tuple[Any, Any]:
    try:
        first, second = prior
        if not isinstance(first, Tensor) and not isinstance(second, Tensor):
            first, second = float(first), float(second)
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"prior: expected two numbers (alpha, beta), two tensors of shape ({n},), or "
            f"'empirical', got {prior!r:.80}; 'meta:FIELD' and the like need a pool, see "
            "make_selector"
        ) from error
    if isinstance(first, float) and isinstance(second, float):
        if not all(math.isfinite(x) and x > 0 for x in (first, second)):
            raise ArgumentError(f"prior: expected two finite positive numbers, got {prior}")
        return first, second
    sides = []
    for name, side in zip(("alpha", "beta"), (first, second), strict=True):
        if not isinstance(side, Tensor) or side.shape != (n,):
            got = tuple(side.shape) if isinstance(side, Tensor) else type(side).__name__
            raise ArgumentError(f"prior: expected {name} as a tensor of shape ({n},), got {got}")
        side = side.to(device=device, dtype=torch.float32)
        _check_positive(f"prior {name}", side)
        sides.append(side.clone())
    return sides[0], sides[1]


def _check_positive(name: str, values: Tensor, where: str = "") -> None:
    """BeliefError, with the first place, where values are not finite or not positive."""
    bad = ~(torch.isfinite(values) & (values > 0))
    if bad.any():
        at = int(bad.nonzero()[0])
        raise BeliefError(
            f"{name}[{at}]: expected finite and positive, got {float(values[at])}{where}", index=at
        )


def _check_on_top(prior: tuple[Any, Any]) -> None:
    """ArgumentError unless tensors, beside kinds, are Beta(1, 1) and answers on top."""
    for name, side in zip(("alpha", "beta"), prior, strict=True):
        if isinstance(side, Tensor) and bool((side < 1.0).any()):
            at = int((side < 1.0).nonzero()[0])
            raise ArgumentError(
                f"prior {name}[{at}]: expected at least 1 where prompts have kinds, since what is "
                f"above Beta(1, 1) counts as answers, got {float(side[at]):g}"
            )
