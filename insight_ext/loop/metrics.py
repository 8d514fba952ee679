"""What a step's groups look like, and what the run's groups sum up to."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from insight_ext.beliefs.beta import BetaPosteriors
from insight_ext.beliefs.group import Group, Threshold, is_far_below, threshold_between
from insight_ext.runs.layout import Metric, Sample
from insight_ext.state import Stateful

# Groups after which a success threshold that tells nothing apart is warned of, and those of them
# whose rewards vary; answers after which it is warned that none could be scored.
ENOUGH, VARYING = 256, 32


def group_metrics(
    groups: Sequence[Group],
    threshold: float,
    predicted: Tensor,
    step: int,
    partial_credit: bool = False,
) -> dict[str, float]:
    """What a step's groups look like; without a scored group there is nothing to say.

    Args:
        groups: finished.
        threshold: smallest reward of a success.
        predicted: of each scored group the success rate that was expected before; NaN if none.
        step: that ends.
        partial_credit: what was expected is the rate of `Group.credit`.

    Returns:
        Shares of groups in [0, 1], the mean reward, calibration, staleness. A group without reward
        spread gives no gradient; with graded rewards that is not the same as all solved or failed.

    Examples:
        >>> found = group_metrics([Group(0, (1.0, 0.0)), Group(1, (1.0, 1.0))], 1.0,
        ...                       torch.tensor([0.5, 0.5]), step=0)
        >>> found["frac_mixed"], found["calibration"]
        (0.5, 0.25)
    """
    scored = [group for group in groups if group.scored]
    if not scored:
        return {}
    n = len(scored)
    rates = [group.successes(threshold) / len(group.scored) for group in scored]
    rewards = [reward for group in scored for reward in group.scored]
    staleness = [step - group.version for group in scored]
    metrics = {
        Metric.SOLVED: rates.count(1.0) / n,
        Metric.FAILED: rates.count(0.0) / n,
        Metric.MIXED: sum(0.0 < rate < 1.0 for rate in rates) / n,
        Metric.FLAT: sum(not group.has_spread for group in scored) / n,
        Metric.REWARD: math.fsum(rewards) / len(rewards),
        Metric.OBSERVED: math.fsum(rates) / n,
        Metric.STALENESS_MEAN: sum(staleness) / n,
        Metric.STALENESS_MAX: float(max(staleness)),
    }
    if not predicted.isnan().any():
        if partial_credit:
            rates = [group.credit(threshold) / len(group.scored) for group in scored]
        observed = torch.tensor(rates)
        metrics[Metric.CALIBRATION] = float((predicted - observed).abs().mean())
        metrics[Metric.PREDICTED] = float(predicted.mean())
    return {name.value: value for name, value in metrics.items()}


def occupancy(beliefs: BetaPosteriors, rollouts: int) -> dict[str, float]:
    """How much of a pool is learnable, saturated, hopeless and never visited; they add up to 1.

    A visited prompt is saturated where its belief expects K answers to be all right more often than
    not; hopeless where it expects them to be all wrong; else learnable. Of K answers none is right
    with probability prod_j (beta + j) / (alpha + beta + j), j < K.

    Cost: one pass over the pool.

    Examples:
        >>> beliefs = BetaPosteriors(4)
        >>> beliefs.observe([0, 1, 2], successes=[0, 32, 64], rollouts=64)
        >>> occupancy(beliefs, rollouts=8)
        {'learnable': 0.25, 'saturated': 0.25, 'hopeless': 0.25, 'unvisited': 0.25}
    """
    visited = beliefs.visits.nonzero()[:, 0]
    alpha, beta = (side.double() for side in beliefs.current(visited))
    all_right, all_wrong = torch.ones_like(alpha), torch.ones_like(alpha)
    for j in range(rollouts):
        all_right *= (alpha + j) / (alpha + beta + j)
        all_wrong *= (beta + j) / (alpha + beta + j)
    n = len(beliefs)
    saturated, hopeless = (int((each > 0.5).sum()) for each in (all_right, all_wrong))
    return {
        Metric.LEARNABLE.value: (len(visited) - saturated - hopeless) / n,
        Metric.SATURATED.value: saturated / n,
        Metric.HOPELESS.value: hopeless / n,
        Metric.UNVISITED.value: 1 - len(visited) / n,
    }


class Totals(Stateful):
    """Sums over the run, and a warning where its success threshold tells nothing apart.

    Args:
        success_threshold: as it was set.
    """

    what = "totals"
    values = (
        "rollouts",
        "unscored",
        "wasted",
        "groups",
        "mixed",
        "spread",
        "low",
        "high",
        "lost",
        "warned",
    )

    def __init__(self, success_threshold: Threshold) -> None:
        self.success_threshold = success_threshold
        self.rollouts = 0  # answers that came back,
        self.unscored = 0  # and those of them that could not be scored
        self.wasted = 0  # and those in groups without a gradient
        self.lost = [0, 0, 0]  # groups closed early: hard, middle, easy
        self.groups = 0
        self.mixed = 0
        self.spread = 0  # groups whose rewards vary
        self.low, self.high = math.inf, -math.inf  # of the rewards
        self.warned = False

    @property
    def threshold(self) -> float:
        """The smallest reward of a success at present."""
        if self.success_threshold == "auto":
            return threshold_between(self.low, self.high)
        return self.success_threshold

    def add(self, groups: Sequence[Group], samples: Sequence[Sample] = ()) -> dict[str, float]:
        """Add a step's groups.

        Args:
            groups: finished.
            samples: of the step, the first of which is shown by the warning.

        Returns:
            What to log.
        """
        for group in groups:
            if group.scored:
                self.low = min(self.low, *group.scored)
                self.high = max(self.high, *group.scored)
        for group in groups:
            scored = group.scored
            self.rollouts += len(group.rewards)
            self.unscored += len(group.rewards) - len(scored)
            if scored:
                self.groups += 1
                self.wasted += 0 if group.has_spread else len(group.rewards)
                self.mixed += group.is_mixed(self.threshold)
                self.spread += group.has_spread
        unscored = not self.groups and self.rollouts >= ENOUGH
        apart = self.mixed or (self.groups < ENOUGH and self.spread < VARYING)
        far = is_far_below(self.threshold, self.high)
        if not self.warned and (unscored or not apart or far):
            self.warned = True
            self._warn(samples)
        return {
            Metric.ROLLOUTS.value: float(self.rollouts),
            Metric.UNSCORED.value: float(self.unscored),
            Metric.WASTED.value: float(self.wasted),
        }

    def lose(self, believed: Sequence[float]) -> dict[str, float]:
        """Add groups that were closed with answers missing, by the success rates believed of them;
        returns what to log."""
        for rate in believed:
            self.lost[(rate >= 1 / 3) + (rate > 2 / 3)] += 1
        names = (Metric.LOST_HARD, Metric.LOST_MIDDLE, Metric.LOST_EASY)
        return {name.value: float(n) for name, n in zip(names, self.lost, strict=True)}

    def _warn(self, samples: Sequence[Sample]) -> None:
        if not self.groups:
            warnings.warn(
                f"none of {self.rollouts:,} answers could be scored, so nothing is learned about "
                "their prompts: look at the reward function, which returned None or NaN for each",
                stacklevel=4,
            )
            return
        seen = f"{self.groups} groups had rewards from {self.low:g} to {self.high:g}"
        if self.low == self.high:
            advice = (
                "no answer differs from another: look at the reward function, the prompts and the "
                "length limit"
            )
            for one in samples[:1]:
                advice += (
                    f"; for prompt {one.id!r} the answer is {one.answer!r:.200}, and a completion "
                    f"was {one.completion!r:.200}"
                )
        elif is_far_below(self.threshold, self.high):
            advice = (
                f"success_threshold {self.threshold:g} counts all from there on as right: if a "
                f"right answer has more, set it, such as {self.high:g}, or auto"
            )
        elif self.spread:
            advice = (
                f"success_threshold {self.threshold:g} tells no answers of a group apart, though "
                f"the rewards of {self.spread} groups vary: set one between, such as "
                f"{threshold_between(self.low, self.high):g}, or auto"
            )
        else:
            advice = "every prompt is either solved or hopeless: no group has a gradient"
        warnings.warn(f"{seen}; {advice}", stacklevel=4)
