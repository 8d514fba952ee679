"""The learners of a comparison by name: their settings, and how long they train."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from insight_ext.plugins import check_options, named
from insight_ext.simulate.kinds_learner import KindsLearner, KindsSettings, read_kinds
from insight_ext.simulate.learner import Learner
from insight_ext.simulate.skill_learner import SkillLearner, SkillSettings

# Settings that `calibrate` wrote from the recorded runs of configs/addition.yaml.
ADDITION = Path(__file__).with_name("addition.json")
# 1.6 logits in 120 steps at a mean of 4 p (1 - p) of 0.43, and a deviation of 1.25 between prompts:
# GRPO on MATH, 1,023 prompts, five seeds.
MEASURED_RATE = 0.03
MEASURED_LEARNABILITY = 0.78

_TOPICS = SkillSettings(topics=8, topic_spread=1.5, transfer=0.2)

LEARNERS: Mapping[str, SkillSettings | Path] = {
    "logistic": SkillSettings(),
    "logistic_novelty": SkillSettings(novelty=0.7),
    "logistic_novelty_97": SkillSettings(novelty=0.97),
    "topics": _TOPICS,
    "topics_novelty": replace(_TOPICS, novelty=0.7),
    "topics_novelty_97": replace(_TOPICS, novelty=0.97),
    "forgetting": replace(_TOPICS, forgetting=0.01),
    "drift": SkillSettings(drift=0.15),
    "noisy_verifier": SkillSettings(false_positive=0.05, false_negative=0.1, broken=0.2),
    "deepscaler": SkillSettings(difficulties="deepscaler", start=0.0, rate=MEASURED_RATE),
    "learnability": SkillSettings(rate=MEASURED_RATE, learnability=MEASURED_LEARNABILITY),
    "kinds": ADDITION,
}


@dataclass(frozen=True)
class Length:
    """How long a learner trains unless told otherwise: `steps` updates of `prompts` groups."""

    steps: int = 100
    prompts: int = 256


def learner_settings(name: str) -> SkillSettings | KindsSettings:
    """The settings of a learner.

    Args:
        name: one in `LEARNERS`, or a .json file that `insight-ext calibrate` wrote.

    Raises:
        ArgumentError: an unknown name (the known ones listed), or a file that is none.
    """
    file = ", or a .json file that `insight-ext calibrate` wrote"
    entry = (
        Path(name) if name.endswith(".json") else named("learner", LEARNERS, name, otherwise=file)
    )
    return read_kinds(entry) if isinstance(entry, Path) else entry


def usual_length(name: str) -> Length:
    """The length of the recorded runs, where a learner stands for some."""
    settings = learner_settings(name)
    if isinstance(settings, SkillSettings):
        return Length()
    return Length(settings.steps, settings.prompts_per_step)


def make_learner(
    name: str, *, seed: int = 0, prompts: int | None = None, **changes: Any
) -> Learner:
    """The learner of this name.

    Args:
        name: see `learner_settings`.
        seed: of its pool and of its answers.
        prompts: pool size; None: 2,000, or that of the recorded runs.
        changes: other settings, of a `SkillSettings` learner alone.

    Raises:
        ArgumentError: see `learner_settings`, or an unknown setting.

    Examples:
        >>> make_learner("deepscaler", prompts=500, correlation=0.25).features.shape
        torch.Size([500, 1])
    """
    settings = learner_settings(name)
    if isinstance(settings, KindsSettings):
        check_options(f"learner {name!r}", KindsLearner, changes)
        return KindsLearner(settings, seed, prompts, **changes)
    if prompts is not None:
        changes["prompts"] = prompts
    check_options(f"learner {name!r}", SkillSettings, changes)
    return SkillLearner(replace(settings, **changes), seed)
