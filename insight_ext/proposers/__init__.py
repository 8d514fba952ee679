"""Strategies that choose prompts before they are rolled out."""

from __future__ import annotations

from typing import Any

from insight_ext.errors import ArgumentError
from insight_ext.pool import PromptPool
from insight_ext.predictors import features_of
from insight_ext.proposers.adarft import AdaRft
from insight_ext.proposers.bots import Bots
from insight_ext.proposers.difficulty_pools import DifficultyPools
from insight_ext.proposers.dps import Dps
from insight_ext.proposers.expected_difficulty import ExpectedDifficulty
from insight_ext.proposers.gps import Gps
from insight_ext.proposers.greso import Greso
from insight_ext.proposers.insight import InSight
from insight_ext.proposers.insight_prior import InSightPrior
from insight_ext.proposers.inverse_evidence import InverseEvidence
from insight_ext.proposers.mixed_group import MixedGroup
from insight_ext.proposers.mopps import Mopps
from insight_ext.proposers.prioritized import Prioritized
from insight_ext.proposers.proposer import BeliefProposer, Proposer
from insight_ext.proposers.uniform import Uniform

PROPOSERS: dict[str, type[BeliefProposer]] = {
    "uniform": Uniform,
    "insight": InSight,
    "insight_prior": InSightPrior,
    "mopps": Mopps,
    "expected_difficulty": ExpectedDifficulty,
    "inverse_evidence": InverseEvidence,
    "mixed_group": MixedGroup,
    "gps": Gps,
    "dps": Dps,
    "bots": Bots,
    "greso": Greso,
    "adarft": AdaRft,
    "prioritized": Prioritized,
    "difficulty_pools": DifficultyPools,
}

__all__ = [
    "PROPOSERS",
    "AdaRft",
    "BeliefProposer",
    "Bots",
    "DifficultyPools",
    "Dps",
    "ExpectedDifficulty",
    "Gps",
    "Greso",
    "InSight",
    "InSightPrior",
    "InverseEvidence",
    "MixedGroup",
    "Mopps",
    "Prioritized",
    "Proposer",
    "Uniform",
    "make_proposer",
]


def make_proposer(
    name: str,
    pool_size: int,
    *,
    seed: int = 0,
    pool: PromptPool | None = None,
    **options: Any,
) -> Proposer:
    """The proposer with this name in `PROPOSERS`, or at this import path (`module:Class`).

    Args:
        name, pool_size, seed, options: see there.
        pool: the prompts; with them the option `features` may be text, see
            `insight_ext.predictors.features_of`: `"meta:digits"`, `"ngrams"`, `"vectors.npy"`.

    Raises:
        ArgumentError: an unknown name (the known ones listed), a path that does not lead to a
            `Proposer`, or options that the strategy does not take.

    Example:
        >>> type(make_proposer("insight", 100, decay=0.5)).__name__
        'InSight'
    """
    if isinstance(options.get("features"), str):
        if pool is None:
            raise ArgumentError(
                f"proposer {name!r}: features {options['features']!r} can only be worked out from "
                "a pool; pass pool=..., or a tensor of features"
            )
        options["features"] = features_of(pool, options["features"])
    kind = _imported(name) if ":" in name else PROPOSERS.get(name)
    if kind is None:
        raise ArgumentError(
            f"unknown proposer {name!r}: expected one of {', '.join(PROPOSERS)}, "
            "or an import path such as 'package.module:Class'"
        )
    try:
        return kind(pool_size, seed=seed, **options)
    except TypeError as error:
        raise ArgumentError(f"proposer {name!r}: {error}") from error


def _imported(path: str) -> type[Any]:
    import importlib

    module, _, attribute = path.partition(":")
    try:
        kind = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ArgumentError(f"proposer {path!r}: cannot import it: {error}") from error
    if not (isinstance(kind, type) and issubclass(kind, Proposer)):
        raise ArgumentError(f"proposer {path!r}: expected a subclass of Proposer, got {kind!r}")
    return kind
