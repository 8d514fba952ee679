"""Chooses the prompts that a language model rolls out next."""

from __future__ import annotations

from insight_ext import selectors
from insight_ext.beliefs.beta import BetaPosteriors
from insight_ext.beliefs.group import Group
from insight_ext.beliefs.pool import PromptPool
from insight_ext.data.prompt import Prompt
from insight_ext.errors import (
    ArgumentError,
    BeliefError,
    CheckpointError,
    DeviceError,
    EngineError,
    InsightError,
    ObservationError,
    PoolError,
)
from insight_ext.kernel import reference
from insight_ext.kernel.build_info import build_info
from insight_ext.kernel.dispatch import set_num_threads
from insight_ext.kernel.index import PoolIndex
from insight_ext.kernel.ops import Selection, score, select_top_k
from insight_ext.kernel.scores import (
    ExpectedDifficulty,
    InverseEvidence,
    MixedGroup,
    Thompson,
    WeightedInformation,
)
from insight_ext.loop import Dealt, GroupResult, SelectionLoop
from insight_ext.selectors import Selector

__version__ = "0.1.0"

__all__ = [
    "ArgumentError",
    "BeliefError",
    "BetaPosteriors",
    "CheckpointError",
    "Dealt",
    "DeviceError",
    "EngineError",
    "ExpectedDifficulty",
    "Group",
    "GroupResult",
    "InsightError",
    "InverseEvidence",
    "MixedGroup",
    "ObservationError",
    "PoolError",
    "PoolIndex",
    "Prompt",
    "PromptPool",
    "Selection",
    "SelectionLoop",
    "Selector",
    "Thompson",
    "WeightedInformation",
    "build_info",
    "reference",
    "score",
    "select_top_k",
    "selectors",
    "set_num_threads",
]
