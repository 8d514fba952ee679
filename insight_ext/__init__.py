"""Chooses the prompts that a language model rolls out next."""

from __future__ import annotations

from insight_ext import proposers, reference
from insight_ext.build_info import build_info
from insight_ext.dispatch import set_num_threads
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
from insight_ext.ledger import GroupLedger, GroupResult
from insight_ext.ops import Selection, score, select_top_k
from insight_ext.pool import Prompt, PromptPool
from insight_ext.pool_index import PoolIndex
from insight_ext.posterior import BetaPosteriors
from insight_ext.scores import (
    ExpectedDifficulty,
    InverseEvidence,
    MixedGroup,
    Thompson,
    WeightedInformation,
)
from insight_ext.sharded import ShardedPool

__version__ = "0.1.0"

__all__ = [
    "ArgumentError",
    "BeliefError",
    "BetaPosteriors",
    "CheckpointError",
    "DeviceError",
    "EngineError",
    "ExpectedDifficulty",
    "GroupLedger",
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
    "ShardedPool",
    "Thompson",
    "WeightedInformation",
    "build_info",
    "proposers",
    "reference",
    "score",
    "select_top_k",
    "set_num_threads",
]
