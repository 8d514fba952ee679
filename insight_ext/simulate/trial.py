"""One strategy training one learner: the loop, and what it measures."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from insight_ext.report.measures import expected_calibration_error, is_mixed, reliability
from insight_ext.selectors.base import NONE, BeliefSelector
from insight_ext.simulate.learner import Learner


class Chooser(Protocol):
    """What the loop needs of a strategy."""

    def select(self, k: int, *, step: int, exclude: Tensor) -> Tensor: ...
    def observe(
        self, indices: Tensor, successes: Tensor, rollouts: Tensor, *, step: int
    ) -> None: ...


class Oracle:
    """Selects the prompts whose true success rate is nearest to 1/2. It sees into the learner."""

    def __init__(self, learner: Learner) -> None:
        self._learner = learner

    def select(self, k: int, *, step: int, exclude: Tensor = NONE) -> Tensor:
        """The best `k` of the whole pool."""
        distance = np.abs(self._learner.success_rate() - 0.5)
        return torch.from_numpy(np.argpartition(distance, k - 1)[:k])

    def observe(self, indices: Tensor, successes: Tensor, rollouts: Tensor, *, step: int) -> None:
        """Nothing to learn."""


@dataclass(frozen=True)
class Trial:
    """What one strategy did to one learner.

    Attributes:
        skill: shape (steps + 1,): the learner's level before each step and after the last.
        mixed: shape (steps,): share of the groups rolled out that hold right and wrong answers.
        distinct: number of different prompts trained on.
        milliseconds: shape (steps,): time of selection and observation.
        calibration: mean distance of predicted and observed success rates; NaN without beliefs.
    """

    skill: NDArray[np.float64]
    mixed: NDArray[np.float64]
    distinct: int
    milliseconds: NDArray[np.float64]
    calibration: float


def run_trial(
    learner: Learner,
    selector: Chooser,
    *,
    steps: int = 100,
    prompts: int = 256,
    rollouts: int = 8,
    dynamic: bool = False,
) -> Trial:
    """Alternate selection, training and observation.

    Args:
        learner, selector: fresh; both are changed.
        steps: number of updates.
        prompts: prompts per step.
        rollouts: answers per prompt.
        dynamic: roll out until `prompts` groups of a step are mixed, and train on those alone
            (dynamic sampling). A step has fewer where the pool has no more, and may have none.

    Examples:
        >>> from insight_ext.simulate.learners import make_learner
        >>> learner = make_learner("logistic", prompts=300)
        >>> trial = run_trial(learner, Oracle(learner), steps=2, prompts=16)
        >>> len(trial.skill), bool(trial.mixed.mean() > 0.9)
        (3, True)
    """
    skill, mixed, milliseconds = [learner.level], [], []
    predicted: list[NDArray[np.float64]] = []
    observed: list[NDArray[np.int64]] = []
    pool = len(learner.visits)
    for step in range(steps):
        chosen, successes, seconds, wanted = NONE, NONE, 0.0, prompts
        while wanted:
            start = perf_counter()
            more = selector.select(wanted, step=step, exclude=chosen)
            seconds += perf_counter() - start
            if isinstance(selector, BeliefSelector):
                predicted.append(selector.predict(more).double().numpy())
            chosen = torch.cat((chosen, more))
            successes = torch.cat((successes, learner.answer(more, rollouts)))
            tried = torch.full_like(chosen, rollouts)
            are_mixed = torch.from_numpy(is_mixed(successes.numpy(), tried.numpy()))
            missing = prompts - int(are_mixed.sum()) if dynamic else 0
            wanted = missing if len(chosen) + missing <= pool else 0
        trained = are_mixed if dynamic else torch.ones_like(are_mixed)
        if trained.any():
            learner.learn(chosen[trained], successes[trained], rollouts)
        observed.append(successes.numpy())
        start = perf_counter()
        selector.observe(chosen, successes, tried, step=step)
        milliseconds.append(1e3 * (seconds + perf_counter() - start))
        mixed.append(are_mixed.numpy().mean())
        skill.append(learner.level)
    calibration = float("nan")
    if predicted:
        counts = np.concatenate(observed)
        curve = reliability(np.concatenate(predicted), counts, np.full_like(counts, rollouts))
        calibration = expected_calibration_error(curve)
    return Trial(
        skill=np.array(skill),
        mixed=np.array(mixed),
        distinct=int((learner.visits > 0).sum()),
        milliseconds=np.array(milliseconds),
        calibration=calibration,
    )
