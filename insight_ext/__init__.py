"""Chooses the prompts that a language model rolls out next."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

# Where the names are. They are imported when they are asked for, so that `insight-ext --help` need
# not wait for torch.
_PLACES = {
    "beliefs.beta": ("BetaPosteriors",),
    "beliefs.group": ("Group",),
    "beliefs.pool": ("PromptPool",),
    "data.prompt": ("Prompt",),
    "errors": tuple(name for name in __all__ if name.endswith("Error")),
    "kernel.build_info": ("build_info",),
    "kernel.dispatch": ("set_num_threads",),
    "kernel.index": ("PoolIndex",),
    "kernel.ops": ("Selection", "score", "select_top_k"),
    "kernel.scores": (
        "ExpectedDifficulty",
        "InverseEvidence",
        "MixedGroup",
        "Thompson",
        "WeightedInformation",
    ),
    "loop": ("Dealt", "GroupResult", "SelectionLoop"),
    "selectors": ("Selector",),
}
_MODULES = {"reference": "insight_ext.kernel.reference", "selectors": "insight_ext.selectors"}
_PLACE_OF = {name: f"insight_ext.{place}" for place, names in _PLACES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(_MODULES[name])
    if name not in _PLACE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_PLACE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
