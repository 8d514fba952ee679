"""A simulator for strategies: learners whose truth is known, and a comparison over seeds."""

from __future__ import annotations

from insight_ext.simulate.arms import ARMS, trainable_arms
from insight_ext.simulate.compare import Row, Setting, compare
from insight_ext.simulate.kinds_learner import KindsLearner, KindsSettings
from insight_ext.simulate.learner import Learner
from insight_ext.simulate.learners import LEARNERS, make_learner
from insight_ext.simulate.reliability import Foresight, watch
from insight_ext.simulate.skill_learner import SkillLearner, SkillSettings
from insight_ext.simulate.trial import Oracle, Trial, run_trial

__all__ = [
    "ARMS",
    "LEARNERS",
    "Foresight",
    "KindsLearner",
    "KindsSettings",
    "Learner",
    "Oracle",
    "Row",
    "Setting",
    "SkillLearner",
    "SkillSettings",
    "Trial",
    "compare",
    "make_learner",
    "run_trial",
    "trainable_arms",
    "watch",
]
