"""Learners whose true success rates are known, so that a strategy can be judged without a model.

Each prompt has a difficulty and a topic, each topic a skill, both in logits:

    P(success on prompt i) = logistic(skill[topic[i]] - difficulty[i])

and a batch raises the skills in proportion to the mean of 4 p (1 - p), which is 1 where groups
are most mixed and 0 where nothing can be learnt.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from insight_ext.errors import ArgumentError
from insight_ext.plugins import check_options, named


@dataclass(frozen=True, kw_only=True)
class LearnerSettings:
    """What kind of learner.

    Attributes:
        prompts: pool size.
        correlation: of the first feature with the difficulty, in [-1, 1].
        spread: standard deviation of the difficulties, in logits.
        start: every skill before training.
        rate: growth of the skills per step when every group of the batch has p = 1/2.
        novelty: what a further visit of a prompt teaches, as a share of the visit before.
        topics: number of separate skills. One-hot columns of the topic join the features.
        topic_spread: standard deviation of the topics' mean difficulties.
        transfer: share of what a prompt teaches that goes to all topics alike.
        forgetting: share of what a skill has gained that is lost at each step.
        drift: standard deviation of each difficulty's random walk, per step.
        false_positive, false_negative: how often the verifier passes a wrong answer or fails a
            right one.
        broken: share of prompts with a wrong answer key: never solved, and they teach nothing.
    """

    prompts: int = 2000
    correlation: float = 0.7
    spread: float = 3.0
    start: float = -2.0
    rate: float = 0.08
    novelty: float = 1.0
    topics: int = 1
    topic_spread: float = 0.0
    transfer: float = 0.0
    forgetting: float = 0.0
    drift: float = 0.0
    false_positive: float = 0.0
    false_negative: float = 0.0
    broken: float = 0.0

    def __post_init__(self) -> None:
        if self.prompts < 1 or self.topics < 1:
            raise ArgumentError(
                f"learner: expected at least one prompt and one topic, got {self.prompts} and "
                f"{self.topics}"
            )
        if not -1.0 <= self.correlation <= 1.0:
            raise ArgumentError(f"correlation: expected in [-1, 1], got {self.correlation}")
        shares = ("novelty", "transfer", "forgetting", "false_positive", "false_negative", "broken")
        for name in shares:
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ArgumentError(f"{name}: expected in [0, 1], got {getattr(self, name)}")


LEARNERS: dict[str, LearnerSettings] = {
    "logistic": LearnerSettings(),
    "logistic_novelty": LearnerSettings(novelty=0.7),
    "topics": LearnerSettings(topics=8, topic_spread=1.5, transfer=0.2),
    "topics_novelty": LearnerSettings(topics=8, topic_spread=1.5, transfer=0.2, novelty=0.7),
    "forgetting": LearnerSettings(topics=8, topic_spread=1.5, transfer=0.2, forgetting=0.01),
    "drift": LearnerSettings(drift=0.15),
    "noisy_verifier": LearnerSettings(false_positive=0.05, false_negative=0.1, broken=0.2),
}


class Learner:
    """One learner, drawn from its settings and a seed.

    Args:
        settings: what kind of learner.
        seed: of its pool and of its answers.

    Attributes:
        features: float32, shape (prompts, 1) or (prompts, 1 + topics): what a predictor may see.
        skill: float64, shape (topics,).
        visits: int32, shape (prompts,): how often each prompt was trained on.

    Determinism: equal settings, seed and calls give equal answers.
    Cost: O(batch) per step; O(prompts) with drift.

    Example:
        >>> learner = Learner(LEARNERS["logistic"], seed=0)
        >>> successes = learner.train(torch.arange(256), rollouts=8)
        >>> bool(learner.mean_skill > -2.0), successes.shape
        (True, torch.Size([256]))
    """

    def __init__(self, settings: LearnerSettings, seed: int = 0) -> None:
        self.settings = settings
        self._random = np.random.default_rng((seed, 0))
        n, r = settings.prompts, settings.correlation
        own = self._random.standard_normal(n)
        seen = r * own + math.sqrt(1.0 - r * r) * self._random.standard_normal(n)
        self.topic: NDArray[np.int64] = self._random.integers(settings.topics, size=n)
        easier = settings.topic_spread * self._random.standard_normal(settings.topics)
        self.difficulty: NDArray[np.float64] = settings.spread * own + easier[self.topic]
        self.difficulty[self._random.random(n) < settings.broken] = np.inf
        self.skill: NDArray[np.float64] = np.full(settings.topics, settings.start)
        self.visits: NDArray[np.int32] = np.zeros(n, dtype=np.int32)
        columns = [seen[:, None]]
        if settings.topics > 1:
            columns.append(np.eye(settings.topics)[self.topic])
        self.features: Tensor = torch.from_numpy(np.hstack(columns).astype(np.float32))

    @property
    def mean_skill(self) -> float:
        """The mean of the skills over topics."""
        return float(self.skill.mean())

    def success_rate(self, indices: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """The true P(right answer) of these prompts, or of all."""
        chosen = slice(None) if indices is None else indices
        logit = self.skill[self.topic[chosen]] - self.difficulty[chosen]
        return 1.0 / (1.0 + np.exp(-logit))

    def pass_rate(self, indices: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """P(the verifier passes an answer) of these prompts, or of all."""
        p = self.success_rate(indices)
        s = self.settings
        return s.false_positive * (1.0 - p) + (1.0 - s.false_negative) * p

    def train(self, indices: Tensor, rollouts: int) -> Tensor:
        """Answer these prompts, learn from them, and return the verified successes of each."""
        s, chosen = self.settings, indices.numpy()
        successes = self._random.binomial(rollouts, self.pass_rate(chosen))
        p = self.success_rate(chosen)
        taught = 4.0 * p * (1.0 - p) * s.novelty ** self.visits[chosen]
        taught *= 1.0 - s.false_positive - s.false_negative
        by_topic = np.bincount(self.topic[chosen], weights=taught, minlength=s.topics)
        own, shared = s.topics * by_topic, by_topic.sum()
        self.skill -= s.forgetting * (self.skill - s.start)
        self.skill += s.rate * ((1.0 - s.transfer) * own + s.transfer * shared) / len(chosen)
        self.visits[chosen] += 1
        if s.drift:
            self.difficulty += s.drift * self._random.standard_normal(s.prompts)
        return torch.from_numpy(successes)


def make_learner(name: str, *, seed: int = 0, **changes: Any) -> Learner:
    """The learner of this name in `LEARNERS`, with some of its settings changed.

    Raises:
        ArgumentError: an unknown name (the known ones listed) or setting.
    """
    settings = named("learner", LEARNERS, name)
    check_options(f"learner {name!r}", LearnerSettings, changes)
    return Learner(replace(settings, **changes), seed)
