"""Learners with a skill for each topic, against which every prompt has a difficulty.

Skills and difficulties are in logits:

    P(success on prompt i) = logistic(skill[topic[i]] - difficulty[i])

and a batch raises the skills in proportion to the mean of 4 p (1 - p), which is 1 where groups
are most mixed and 0 where nothing can be learnt.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from insight_ext.errors import ArgumentError
from insight_ext.plugins import check_at_least, check_between, whole
from insight_ext.simulate.learner import Learner, references

Difficulties = Literal["normal", "deepscaler"]
DEEPSCALER = Path(__file__).with_name("deepscaler.json")
# Maximum likelihood over all prompts of the histogram.
DEEPSCALER_PRIOR = (0.30, 0.45)


@dataclass(frozen=True, kw_only=True)
class SkillSettings:
    """What kind of learner.

    Attributes:
        prompts: pool size.
        correlation: of the first feature with the difficulty, in [-1, 1].
        difficulties: `normal`, or `deepscaler`: such that at skill 0 the success rates are those
            of Qwen2.5-Math-7B on 37,874 prompts of contest mathematics (128 answers each).
        spread: standard deviation of the normal difficulties, in logits.
        start: every skill before training.
        rate: growth of the skills per step when every group of the batch has p = 1/2.
        learnability: standard deviation of the prompts' own speeds; where the skill has grown by
            g, the logit of a prompt has grown by its speed times g. The mean speed is 1.
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
    difficulties: Difficulties = "normal"
    spread: float = 3.0
    start: float = -2.0
    rate: float = 0.08
    learnability: float = 0.0
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
        whole("prompts", self.prompts, 1)
        whole("topics", self.topics, 1)
        if self.difficulties not in get_args(Difficulties):
            raise ArgumentError(
                f"difficulties: expected one of {', '.join(get_args(Difficulties))}, "
                f"got {self.difficulties!r}"
            )
        check_at_least(0, learnability=self.learnability)
        check_between("a number", -1.0, 1.0, correlation=self.correlation)
        shares = ("novelty", "transfer", "forgetting", "false_positive", "false_negative", "broken")
        check_between("a share", 0.0, 1.0, **{name: getattr(self, name) for name in shares})


class SkillLearner(Learner):
    """One learner, drawn from its settings and a seed; see `Learner`.

    Args:
        settings: what kind of learner.
        seed: of its pool and of its answers.

    Attributes:
        features: float32, shape (prompts, 1) or (prompts, 1 + topics): what a predictor may see.
        references: see `Learner`.
        skill: float64, shape (topics,).
        visits: int32, shape (prompts,): how often each prompt was trained on.

    Determinism: equal settings, seed and calls give equal answers.
    Cost: O(batch) per step; O(prompts) with drift.

    Examples:
        >>> learner = SkillLearner(SkillSettings(), seed=0)
        >>> successes = learner.train(torch.arange(256), rollouts=8)
        >>> bool(learner.level > -2.0), successes.shape
        (True, torch.Size([256]))
    """

    def __init__(self, settings: SkillSettings, seed: int = 0) -> None:
        self.settings = settings
        self._random = np.random.default_rng((seed, 0))
        n, r = settings.prompts, settings.correlation
        if settings.difficulties == "deepscaler":
            measured = deepscaler_difficulties(n, self._random)
            centre, spread = float(measured.mean()), float(measured.std())
            own = (measured - centre) / spread
        else:
            centre, spread = 0.0, settings.spread
            own = self._random.standard_normal(n)
        seen = r * own + math.sqrt(1.0 - r * r) * self._random.standard_normal(n)
        self.topic: NDArray[np.int64] = self._random.integers(settings.topics, size=n)
        easier = settings.topic_spread * self._random.standard_normal(settings.topics)
        self.difficulty: NDArray[np.float64] = centre + spread * own + easier[self.topic]
        broken = self._random.random(n) < settings.broken
        self.difficulty[broken] = np.inf
        self.speed: NDArray[np.float64] = np.ones(n)
        if settings.learnability:
            self.speed += settings.learnability * self._random.standard_normal(n)
        self.skill: NDArray[np.float64] = np.full(settings.topics, settings.start)
        self.visits: NDArray[np.int32] = np.zeros(n, dtype=np.int32)
        columns = [seen[:, None]]
        if settings.topics > 1:
            columns.append(np.eye(settings.topics)[self.topic])
        self.features: Tensor = torch.from_numpy(np.hstack(columns).astype(np.float32))
        for_others = centre + spread * seen + easier[self.topic] - settings.start
        self.references: Tensor = references(np.where(broken, np.inf, for_others))

    @property
    def level(self) -> float:
        """The mean of the skills over topics."""
        return float(self.skill.mean())

    def success_rate(self, indices: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """The true P(right answer) of these prompts, or of all."""
        chosen = slice(None) if indices is None else indices
        skill = self.skill[self.topic[chosen]]
        further = (self.speed[chosen] - 1.0) * (skill - self.settings.start)
        logit = skill + further - self.difficulty[chosen]
        return 1.0 / (1.0 + np.exp(-logit))

    def pass_rate(self, indices: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """P(the verifier passes an answer) of these prompts, or of all."""
        p = self.success_rate(indices)
        s = self.settings
        return s.false_positive * (1.0 - p) + (1.0 - s.false_negative) * p

    def answer(self, indices: Tensor, rollouts: int) -> Tensor:
        """The verified successes of each of these prompts."""
        rates = self.pass_rate(indices.numpy())
        return torch.from_numpy(self._random.binomial(rollouts, rates))

    def learn(self, indices: Tensor, successes: Tensor, rollouts: int) -> None:
        """Learn from a step's prompts: by their true success rates, whatever was verified."""
        s, chosen = self.settings, indices.numpy()
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


def deepscaler_difficulties(count: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Difficulties resampled from the recorded success counts of contest mathematics, in logits.

    A prompt with s right of 128 answers has p ~ Beta(s + 0.30, 128 - s + 0.45): so many that were
    never solved are not alike, and none has p = 0.

    Source: `deepscaler.json`; its own note names the data.

    Examples:
        >>> d = deepscaler_difficulties(50_000, np.random.default_rng(0))
        >>> round(float((1 / (1 + np.exp(d))).mean()), 2)
        0.41
    """
    recorded = json.loads(DEEPSCALER.read_text(encoding="utf-8"))
    weights = np.array(recorded["prompts"])
    tries = recorded["rollouts"]
    successes = random.choice(len(weights), count, p=weights / weights.sum())
    a, b = DEEPSCALER_PRIOR
    # The logit of a Beta draw is the difference of two logs of Gamma draws; small shapes underflow
    # to 0, so a draw of shape x is one of shape x + 1 times uniform^(1/x).
    difficulty = np.zeros(count)
    for sign, shape in ((-1.0, successes + a), (1.0, tries - successes + b)):
        log_gamma = np.log(random.standard_gamma(shape + 1.0))
        difficulty += sign * (log_gamma + np.log1p(-random.random(count)) / shape)
    return difficulty
