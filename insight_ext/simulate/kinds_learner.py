"""A learner of several kinds of prompt that teach each other, as recorded runs of GRPO show it.

Skills and difficulties are in logits:

    P(success on prompt i) = logistic(skill[kind[i]] + gained[i] - difficulty[i])

Difficulties wander, since every update jolts every prompt: normal, with a correlation that falls
by exp(-wander) a step. A group with s of K answers right carries the signal of GRPO with
standardised advantages, a = 2 sqrt(s (K - s)) / K, which is 0 for groups all right or all wrong.
Prompt i's worth falls with the signals that it has given before, and AdamW divides a step by the
root of the gradient's mean square, which is about the share M of mixed groups:

    worth[i]  = 1 / (1 + lessons[i] / wear)
    taught[k] = sum over the batch's groups of kind k of a worth / batch size / M^power
    skill    += transfer taught - fading
    gained[i] += own a / batch size / M^power
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from insight_ext.atomic_file import write_text
from insight_ext.errors import ArgumentError
from insight_ext.simulate.learner import Learner, references
from insight_ext.visible_text import reason

Floats = NDArray[np.float64]

# Steps over which the optimizer averages squares (AdamW's beta2 of 0.99).
MEMORY = 100
# The smallest M, in groups: a batch without any mixed group moves nothing, and divides by this.
FEWEST = 0.25
NODES = 15


@dataclass(frozen=True, kw_only=True)
class KindsSettings:
    """What `calibrate` estimates from recorded runs; sequences have an entry for each kind.

    Attributes:
        kinds: their names.
        counts: prompts of each kind in the recorded pool.
        held_out: prompts of each kind in the held-out set, which weigh the accuracy.
        start: skill before training, in logits. start_deviation: between seeds, one number.
        spread: standard deviation of the difficulties within a kind, in logits.
        transfer: rows learn from columns: logits per step if every group of the batch were of the
            column's kind and taught 1.
        fading: what a kind loses per step, in logits.
        own: logits that a prompt's own part gains per step if every group of the batch were its
            own and its signal 1.
        wander: of the difficulties, per step; 0 keeps them.
        wear: lessons after which a prompt teaches half as much.
        power: of the share of mixed groups; 1/2 where noise dominates the gradient, 0 for plain
            gradient descent.
        prompts_per_step, steps: of the recorded runs.
    """

    kinds: Sequence[str]
    counts: Sequence[int]
    held_out: Sequence[int]
    start: Sequence[float]
    start_deviation: float
    spread: Sequence[float]
    transfer: Sequence[Sequence[float]]
    fading: Sequence[float]
    own: float
    wander: float
    wear: float
    power: float
    prompts_per_step: int
    steps: int

    def __post_init__(self) -> None:
        count = len(self.kinds)
        for name in ("counts", "held_out", "start", "spread", "transfer", "fading"):
            if len(getattr(self, name)) != count:
                raise ArgumentError(
                    f"{name}: expected an entry for each of {count} kinds, "
                    f"got {len(getattr(self, name))}"
                )
        if any(len(row) != count for row in self.transfer):
            raise ArgumentError(f"transfer: expected {count} rows of {count} numbers")
        if min(self.counts) < 1 or sum(self.held_out) < 1:
            raise ArgumentError("counts: expected at least one prompt of each kind and held out")
        if self.wear <= 0.0 or min(self.wander, self.own, *self.spread) < 0.0:
            raise ArgumentError("expected wear above 0, and no negative spread, own or wander")

    def write(self, path: Path) -> None:
        """Write the settings as JSON."""
        write_text(path, self.as_json())

    def as_json(self) -> str:
        """The settings as `read_kinds` reads them."""
        return json.dumps(asdict(self), indent=1) + "\n"


def read_kinds(path: Path) -> KindsSettings:
    """Read what `KindsSettings.write` wrote.

    Raises:
        ArgumentError: no such file, or not such settings.
    """
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return KindsSettings(**values)
    except (OSError, ValueError, TypeError) as error:
        raise ArgumentError(
            f"{path}: expected calibrated settings, got: {reason(error)}"
        ) from error


class KindsLearner(Learner):
    """One learner, drawn from its settings and a seed; see `Learner`.

    Args:
        settings: what `calibrate` found.
        seed: of its pool and of its answers.
        prompts: pool size; the kinds keep their shares. None: the recorded size.

    Attributes:
        kind: int64, shape (prompts,). features: its one-hot columns, float32.
        references: see `Learner`.
        skill: float64, shape (kinds,).
        lessons: float64, shape (prompts,): the groups of each prompt that were mixed. gained: what
            it has gained by them, in logits.

    Determinism: equal settings, seed and calls give equal answers.
    Cost: O(batch + kinds^2) per step; O(prompts) where difficulties wander.

    Examples:
        >>> learner = KindsLearner(KindsSettings(
        ...     kinds=["sums", "products"], counts=[50, 50], held_out=[10, 10], start=[0.0, -1.0],
        ...     start_deviation=0.0, spread=[1.0, 1.0], transfer=[[0.1, 0.0], [0.0, 0.1]],
        ...     fading=[0.0, 0.0], own=1.0, wander=0.0, wear=8.0, power=0.5,
        ...     prompts_per_step=32, steps=300))
        >>> before = learner.skill.copy()
        >>> successes = learner.train(torch.arange(32), rollouts=8)   # sums alone
        >>> (learner.skill > before).tolist()
        [True, False]
    """

    def __init__(self, settings: KindsSettings, seed: int = 0, prompts: int | None = None) -> None:
        self.settings = settings
        self._random = np.random.default_rng((seed, 7))
        counts = np.array(settings.counts)
        shares = np.cumsum(counts) / counts.sum()
        size = int(counts.sum()) if prompts is None else prompts
        self.kind: NDArray[np.int64] = np.searchsorted(shares, (np.arange(size) + 0.5) / size)
        self._spread = np.array(settings.spread)
        self.difficulty: Floats = self._spread[self.kind] * self._random.standard_normal(size)
        self.skill: Floats = np.array(settings.start) + (
            settings.start_deviation * self._random.standard_normal(len(counts))
        )
        self._transfer, self._fading = np.array(settings.transfer), np.array(settings.fading)
        self._held_out = np.array(settings.held_out) / sum(settings.held_out)
        self._nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
        self._weights = weights / weights.sum()
        self._squares = RunningShare()
        self.lessons: Floats = np.zeros(size)
        self.gained: Floats = np.zeros(size)
        self.visits: NDArray[np.int32] = np.zeros(size, dtype=np.int32)
        self.features: Tensor = torch.eye(len(counts))[torch.from_numpy(self.kind)]
        self.references: Tensor = references(-np.array(settings.start)[self.kind])

    @property
    def accuracies(self) -> Floats:
        """Held-out accuracy of each kind, shape (kinds,)."""
        logits = self.skill[:, None] + self._spread[:, None] * self._nodes
        mean: Floats = (1.0 / (1.0 + np.exp(-logits))) @ self._weights
        return mean

    @property
    def level(self) -> float:
        """Held-out accuracy."""
        return float(self._held_out @ self.accuracies)

    def success_rate(self, indices: NDArray[np.int64] | None = None) -> Floats:
        """The true P(right answer) of these prompts, or of all."""
        chosen = slice(None) if indices is None else indices
        logit = self.skill[self.kind[chosen]] + self.gained[chosen] - self.difficulty[chosen]
        rate: Floats = 1.0 / (1.0 + np.exp(-logit))
        return rate

    def answer(self, indices: Tensor, rollouts: int) -> Tensor:
        """The successes of each of these prompts."""
        rates = self.success_rate(indices.numpy())
        return torch.from_numpy(self._random.binomial(rollouts, rates))

    def learn(self, indices: Tensor, successes: Tensor, rollouts: int) -> None:
        """Learn from a step's answers."""
        s, chosen = self.settings, indices.numpy()
        signal = group_signal(successes.numpy(), rollouts)
        worth = 1.0 / (1.0 + self.lessons[chosen] / s.wear)
        taught = np.bincount(self.kind[chosen], signal * worth, len(self.skill)) / len(chosen)
        mixed = self._squares.after((signal > 0.0).mean(), FEWEST / len(chosen))
        self.skill += self._transfer @ (taught / mixed**s.power) - self._fading
        self.gained[chosen] += s.own * signal / len(chosen) / mixed**s.power
        self.lessons[chosen] += signal > 0.0
        self.visits[chosen] += 1
        if s.wander:
            keep = math.exp(-s.wander)
            jolts = self._spread[self.kind] * self._random.standard_normal(len(self.kind))
            self.difficulty = keep * self.difficulty + math.sqrt(1.0 - keep * keep) * jolts


def group_signal(successes: NDArray[Any], rollouts: NDArray[Any] | int) -> Floats:
    """2 sqrt(s (K - s)) / K: the gradient of a group under standardised advantages.

    Examples:
        >>> group_signal(np.array([0, 1, 4, 8]), 8).round(3).tolist()
        [0.0, 0.661, 1.0, 0.0]
    """
    signal: Floats = 2.0 * np.sqrt(successes * (rollouts - successes)) / rollouts
    return signal


class RunningShare:
    """The mean share of mixed groups that the optimizer remembers, corrected for its start."""

    def __init__(self) -> None:
        self._sum, self._weight = 0.0, 0.0

    def after(self, share: float, least: float) -> float:
        """The mean after one more step with this share of mixed groups; `least` at least."""
        keep = 1.0 - 1.0 / MEMORY
        self._sum = keep * self._sum + (1.0 - keep) * share
        self._weight = keep * self._weight + (1.0 - keep)
        return max(self._sum / self._weight, least)
