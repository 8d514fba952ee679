"""The contract of every selector, and the part that all belief-keeping selectors share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from insight_ext.beliefs.beta import BetaPosteriors, Prior
from insight_ext.errors import ArgumentError
from insight_ext.plugins import check_between, whole
from insight_ext.selectors.quota import Quota
from insight_ext.state import Names, Stateful

STRENGTH = 8.0  # answers that a prompt's success rate, told beforehand, is worth
NONE = torch.empty(0, dtype=torch.int64)
"""No prompts: an empty list of positions in the pool."""


def isin(prompts: Tensor, others: Tensor) -> Tensor:
    """Which of these prompts are among the others: bool of their shape; quick for a few."""
    if len(prompts) * len(others) <= 1 << 15:
        return (prompts[:, None] == others).any(1)
    if len(others) <= 1 << 14:
        return torch.isin(prompts, others)
    marked = torch.zeros(int(max(prompts.max(), others.max())) + 1, dtype=torch.bool)
    marked[others] = True
    return marked[prompts]


def positions(indices: Any, size: int) -> Tensor:
    """Positions in a pool of this size as int64.

    Raises:
        ArgumentError: truth values, fractions, or numbers that are no positions.

    Examples:
        >>> positions([2, 0], 3).tolist()
        [2, 0]
        >>> positions([True, False], 3)
        Traceback (most recent call last):
        ...
        insight_ext.errors.ArgumentError: indices: expected positions in [0, 3), got [True, False]
    """
    try:
        found = torch.as_tensor(indices)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        found = torch.tensor([-1])
    numbers = not (found.is_floating_point() or found.is_complex() or found.dtype == torch.bool)
    if found.numel():
        found = found.to(torch.int64)  # what is too large wraps around, below 0
        if not numbers or int(found.min()) < 0 or int(found.max()) >= size:
            raise ArgumentError(f"indices: expected positions in [0, {size}), got {indices!r:.80}")
    return found.to(torch.int64)


def without(places: Tensor, exclude: Tensor) -> Tensor:
    """The prompts at these places among those not excluded, in the order of the pool.

    Cost: O(m log m) for m excluded, whatever the pool.

    Examples:
        >>> without(torch.tensor([0, 1, 2]), exclude=torch.tensor([4, 1])).tolist()
        [0, 2, 3]
    """
    if not len(exclude):
        return places
    # Of an excluded prompt: how many that are not come before it.
    before = exclude.sort().values - torch.arange(len(exclude))
    return places + torch.searchsorted(before, places, right=True)


def prior_around(rates: Tensor, strength: float | Tensor) -> tuple[Tensor, Tensor]:
    """(alpha, beta) of Beta(1, 1) and so many answers with these success rates on top.

    Args:
        rates: shape (n,), in [0, 1].
        strength: answers, at least 0: one number, or shape (n,).

    Raises:
        ArgumentError: a rate or a strength outside its domain, the first bad rate named.

    Examples:
        >>> alpha, beta = prior_around(torch.tensor([0.25, 1.0]), 8)
        >>> alpha.tolist(), beta.tolist()
        ([3.0, 9.0], [7.0, 1.0])
    """
    bad = ~((rates >= 0.0) & (rates <= 1.0))
    if bad.any():
        at = int(bad.nonzero()[0])
        raise ArgumentError(f"prior[{at}]: expected a success rate in [0, 1], got {rates[at]:g}")
    answers = torch.as_tensor(strength, dtype=torch.float32)
    if not bool((answers >= 0.0).all()) or not bool(torch.isfinite(answers).all()):
        raise ArgumentError(f"prior_strength: expected 0 or more answers, got {strength}")
    rates = rates.to(torch.float32)
    return 1.0 + answers * rates, 1.0 + answers * (1.0 - rates)


def next_of(queue: Tensor, k: int, exclude: Tensor) -> tuple[Tensor, Tensor]:
    """The first k of a queue that are not excluded, or fewer, and the queue without them.

    Those passed over stay in front. The queue given is overwritten.

    Cost: O(k) where few are excluded, whatever the queue's length.

    Examples:
        >>> chosen, left = next_of(torch.tensor([3, 1, 2, 0]), 2, exclude=torch.tensor([1]))
        >>> chosen.tolist(), left.tolist()
        ([3, 2], [1, 0])
    """
    head = queue[:k]
    if not len(exclude) or not isin(head, exclude).any():
        return head.clone(), queue[k:]
    seen = k
    while True:
        seen *= 2
        free = ~isin(queue[:seen], exclude)
        places = free.nonzero()[:k, 0]
        if len(places) == k or seen >= len(queue):
            break
    if not len(places):
        return NONE, queue
    last = int(places[-1]) + 1
    chosen, passed = queue[places], queue[:last][~free[:last]]
    left = queue[last - len(passed) :]
    left[: len(passed)] = passed
    return chosen, left


class Selector(Stateful, ABC):
    """Chooses the prompts of a step before they are rolled out.

    Your own strategy derives from this class and is passed as an object, or by import path
    (`package.module:Class`) in a configuration. `select` is all that it must have. What it learns
    goes into attributes that the class names as its state (see `Stateful`): then it resumes, and
    its state is carried over where the pool changes.

    Args:
        pool_size: number of prompts to choose from, at least 1.
        seed: of every draw and tie-break, 0 or more.

    Attributes:
        rollouts: K, answers per prompt, where the strategy depends on it; None takes the loop's.
        takes_parts: whether `observe` may be given float32 successes, parts of answers among them.
        made: of a selector that was given by name, its name and options, which a checkpoint keeps.

    Examples:
        >>> class MostFailures(Selector):
        ...     per_prompt = ("failures",)
        ...     def __init__(self, pool_size, *, seed=0):
        ...         super().__init__(pool_size, seed=seed)
        ...         self.failures = torch.zeros(pool_size)
        ...     def select(self, k, *, step, exclude):
        ...         scores = self.failures.clone()
        ...         scores[exclude] = -1.0
        ...         return scores.topk(k).indices
        ...     def observe(self, indices, successes, rollouts, *, step):
        ...         self.failures[indices] += rollouts - successes
        >>> own = MostFailures(3)
        >>> own.observe(torch.tensor([2]), torch.tensor([0]), torch.tensor([8]), step=0)
        >>> own.select(1, step=1, exclude=NONE).tolist()
        [2]
    """

    what = "selector"
    settings: Names = ("seed",)
    rollouts: int | None = None
    takes_parts: bool = False
    made: Mapping[str, Any] | None = None

    def __init__(self, pool_size: int, *, seed: int = 0) -> None:
        self.pool_size = whole("pool_size", pool_size, 1)
        self.seed = whole("seed", seed, 0, 2**64 - 1)

    @abstractmethod
    def select(self, k: int, *, step: int, exclude: Tensor) -> Tensor:
        """The next `k` prompts of a step.

        A step asks once, or several times: further calls of the same step refill it, before any of
        its results are observed.

        Args:
            k: how many, from 1 to the number of prompts that are not excluded.
            step: number of the step, counted from 0.
            exclude: int64 of shape (m,), distinct prompts not to choose: those in flight, among
                them all that the step was dealt already.

        Returns:
            int64 of shape (k,), distinct positions in the pool, best first.
        """

    def observe(self, indices: Tensor, successes: Tensor, rollouts: Tensor, *, step: int) -> None:
        """Take in a step's results: `successes[i]` of `rollouts[i]` answers were correct.

        Args:
            indices: int64 of shape (m,), distinct positions in the pool.
            successes, rollouts: int64 of shape (m,), 0 <= successes <= rollouts, rollouts >= 1.
            step: number of the step that ends.
        """

    def metrics(self) -> dict[str, float]:
        """What to log about the latest step."""
        return {}


class BeliefSelector(Selector):
    """A selector that keeps a Beta belief per prompt; a strategy adds `_choose`.

    Args:
        pool_size, seed: see `Selector`. A draw depends on the seed and the step alone, so that a
            resumed run draws what the uninterrupted one would have.
        prior, decay, half_life: of the beliefs, see `BetaPosteriors`. A prior may also be a tensor
            of success rates, shape (pool_size,), in [0, 1]: those of another model, or of an
            earlier run. `make_selector` works it out from `"meta:FIELD"` (a field of the prompts: a
            rate, or a text "k/n"), `"difficulty:FIELD"` or `"log:FILE"` (see `read_log`).
        prior_strength: answers that these success rates are worth, on top of Beta(1, 1), 8 unless
            given; of a log at most, and no more than it has.
        exploration: share of every step that is drawn uniformly, whatever the strategy says, in
            [0, 1]: each place of the step at which the share of those before adds up to a prompt.
        quota: shares of the pool's domains in every step, refills included, see `Quota`;
            `make_selector` takes `{"meta": FIELD, "shares": {VALUE: SHARE, ...}}`.
    """

    settings: Names = ("exploration",)
    values: Names = ("_step", "_dealt", "_before", "_unseen", "_metrics")
    kinds: Tensor | None = None  # of the prompts, where alike ones share a prior
    parts: Names = ("posterior", "quota")

    def __init__(
        self,
        pool_size: int,
        *,
        seed: int = 0,
        prior: Prior | Tensor = (1, 1),
        prior_strength: float | None = None,
        decay: float = 1.0,
        half_life: float | None = None,
        exploration: float = 0.0,
        quota: Quota | None = None,
    ) -> None:
        super().__init__(pool_size, seed=seed)
        check_between("a share", 0.0, 1.0, exploration=exploration)
        if quota is not None and len(quota.domains) != pool_size:
            raise ArgumentError(
                f"quota: expected a domain for each of the {pool_size} prompts, got "
                f"{len(quota.domains)}"
            )
        self.quota = quota
        if isinstance(prior, Tensor):
            prior = prior_around(prior, STRENGTH if prior_strength is None else prior_strength)
        self.posterior = BetaPosteriors(
            pool_size, prior, decay, half_life=half_life, kinds=self.kinds
        )
        if prior_strength is not None and not isinstance(self.posterior.prior[0], Tensor):
            raise ArgumentError(
                f"prior_strength: expected success rates as prior, which it is the weight of, got "
                f"the prior {prior!r:.80}; leave prior_strength out"
            )
        # A prior is fitted to whole counts.
        self.takes_parts = self.takes_parts and not self.posterior.is_empirical
        self.exploration = exploration
        self._step = 0  # the latest step that asked,
        self._dealt = 0  # how many prompts it was given,
        self._before = 0  # how many the step before was,
        self._unseen = 0  # and how many were never visited
        self._asked = 0  # by the present call, and not chosen yet
        self._metrics: dict[str, float] = {}

    def select(self, k: int, *, step: int, exclude: Tensor = NONE) -> Tensor:
        """The next `k` prompts of a step; see `Selector.select`.

        Raises:
            ArgumentError: k < 1, or more than the prompts that are not excluded; no number of a
                step, or excluded prompts in something else than an int64 tensor.
        """
        if not isinstance(exclude, Tensor) or exclude.dtype != torch.int64:
            raise ArgumentError(f"exclude: expected an int64 tensor, got {exclude!r:.80}")
        whole("step", step, 0)
        available = self.pool_size - len(exclude)
        if type(k) is not int or not 1 <= k <= available:
            raise ArgumentError(
                f"k: expected an integer in [1, {available}], the prompts that are not excluded, "
                f"got {k}"
            )
        if step != self._step or not self._dealt:
            self._before = self._dealt
            self._step, self._dealt, self._unseen = step, 0, 0
            self._metrics = {}
            self.posterior.step = step
            if self.quota is not None:
                self.quota.begin()
            self._begin()
        chosen = NONE
        while len(chosen) < k:
            self._asked = k - len(chosen)
            taken = torch.cat((exclude, chosen)) if len(chosen) else exclude
            run = self._until_explored(self._asked)
            count = max(run, 1)
            if self.quota is not None:
                count, taken = self.quota.due(count, taken)
                self._asked = count
            part = self._choose(count, taken) if run else self._explore(taken)
            if self.quota is not None:
                self.quota.deal(part)
            self._dealt += len(part)
            self._unseen += self.posterior.visits[part].tolist().count(0)
            self._deal(part)
            chosen = torch.cat((chosen, part)) if len(chosen) else part
        return chosen

    def _until_explored(self, most: int) -> int:
        """How many of the step's next prompts come before one that is drawn uniformly."""
        if not self.exploration:
            return most
        share, dealt = self.exploration, self._dealt
        drawn = int(share * dealt)
        return next((i for i in range(most) if int(share * (dealt + i + 1)) > drawn), most)

    def _explore(self, exclude: Tensor) -> Tensor:
        """One prompt, uniformly."""
        place = self._generator(1, self._dealt).integers(self.pool_size - len(exclude), size=1)
        return without(torch.from_numpy(place), exclude)

    def _begin(self) -> None:
        """Hook: a step asks for the first time."""

    def _deal(self, chosen: Tensor) -> None:
        """Hook: the step is dealt these, whoever chose them."""

    @abstractmethod
    def _choose(self, k: int, exclude: Tensor) -> Tensor:
        """The strategy: the positions of `k` distinct prompts, none of them in `exclude`.

        May add to `self._metrics`. A step of many small choices should come to what one large one
        comes to: `self._dealt` prompts came before, and `self._asked` are wanted at once.
        """

    def observe(self, indices: Any, successes: Any, rollouts: Any, *, step: int) -> None:
        """Update the beliefs; nothing changes if anything is wrong.

        Args:
            indices, successes, rollouts: see `BetaPosteriors.observe`.
            step: see `Selector.observe`. The results count from the next step on.
        """
        whole("step", step, 0)
        # From here on nothing can fail: these are distinct prompts, on the beliefs' device.
        visited, wins, tries = self.posterior.counted(
            indices, successes, rollouts, parts=self.takes_parts
        )
        self.posterior.step = step + 1
        if len(visited):
            self._learn(visited, wins, tries)

    def _learn(self, visited: Tensor, wins: Tensor, tries: Tensor) -> None:
        """Take in checked results of distinct prompts; a strategy extends this."""
        self.posterior.add(visited, wins, tries)

    def metrics(self) -> dict[str, float]:
        """`frac_unseen`: share of the step's prompts never visited before; and the strategy's."""
        return {"frac_unseen": self._unseen / max(self._dealt, 1), **self._metrics}

    def predict(self, indices: Any) -> Tensor:
        """The expected success rate of these prompts, by position: float32, shape of `indices`.

        Raises:
            ArgumentError: what is no position in the pool.
        """
        alpha, beta = self.posterior.current(positions(indices, self.pool_size))
        return alpha / (alpha + beta)

    def explain(self, indices: Any) -> dict[str, Tensor]:
        """Why these prompts rank where they do: the numbers behind the choice, one per prompt.

        Args:
            indices: integers of shape (m,).

        Returns:
            Columns of shape (m,): `success_rate`, `alpha`, `beta`, `visits`, `age` (steps since
            the latest visit) and the strategy's own terms, among them `score` where it ranks by
            one.
        """
        chosen = positions(indices, self.pool_size)
        alpha, beta = self.posterior.current(chosen)
        return {
            "success_rate": self.predict(chosen),
            "alpha": alpha,
            "beta": beta,
            "visits": self.posterior.visits[chosen],
            "age": self.posterior.step - self.posterior.latest[chosen],
            **self._terms(chosen),
        }

    def _terms(self, indices: Tensor) -> dict[str, Tensor]:
        """The strategy's columns of `explain`."""
        return {}

    def _generator(self, *stream: int) -> np.random.Generator:
        """A random stream of the present step."""
        return np.random.default_rng((self.seed, self._step, *stream))
