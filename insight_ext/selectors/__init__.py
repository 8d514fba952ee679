"""Strategies that choose prompts before they are rolled out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from insight_ext.beliefs.pool import PromptPool
from insight_ext.errors import ArgumentError
from insight_ext.plugins import find, given_options, make, plain, takes
from insight_ext.predictors.features import columns_of
from insight_ext.selectors.adarft import AdaRft
from insight_ext.selectors.base import BeliefSelector, Selector
from insight_ext.selectors.bots import Bots
from insight_ext.selectors.difficulty_pools import DifficultyPools
from insight_ext.selectors.dps import Dps
from insight_ext.selectors.expected_difficulty import ExpectedDifficulty
from insight_ext.selectors.file_order import FileOrder
from insight_ext.selectors.gps import Gps
from insight_ext.selectors.greso import Greso
from insight_ext.selectors.inputs import worked_out
from insight_ext.selectors.insight import InSight
from insight_ext.selectors.inverse_evidence import InverseEvidence
from insight_ext.selectors.mixed_group import MixedGroup
from insight_ext.selectors.mopps import Mopps
from insight_ext.selectors.prioritized import Prioritized
from insight_ext.selectors.quota import Quota
from insight_ext.selectors.uniform import Uniform

SELECTORS: dict[str, type[BeliefSelector]] = {
    "uniform": Uniform,
    "file_order": FileOrder,
    "insight": InSight,
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
    "SELECTORS",
    "AdaRft",
    "BeliefSelector",
    "Bots",
    "DifficultyPools",
    "Dps",
    "ExpectedDifficulty",
    "FileOrder",
    "Gps",
    "Greso",
    "InSight",
    "InverseEvidence",
    "MixedGroup",
    "Mopps",
    "Prioritized",
    "Quota",
    "Selector",
    "Uniform",
    "check_selector",
    "given_selector",
    "make_selector",
]


def check_selector(name: str, options: Iterable[str] = ()) -> type[Selector]:
    """The class of a selector, if it takes options of these names; nothing is built.

    Args:
        name: in `SELECTORS`, or an import path (`module:Class`).
        options: their names.

    Raises:
        ArgumentError: an unknown name (the known ones listed), a path that does not lead to a
            `Selector`, or an option that the strategy does not take (those that it takes listed).

    Examples:
        >>> check_selector("insight", ["decay"]).__name__
        'InSight'
    """
    kind: type[Selector] = find("selector", SELECTORS, Selector, name, options)
    return kind


def make_selector(
    name: str,
    pool_size: int,
    /,
    *,
    seed: int = 0,
    pool: PromptPool | None = None,
    **options: Any,
) -> Selector:
    """The selector with this name in `SELECTORS`, or at this import path (`module:Class`).

    Args:
        name, pool_size, seed, options: see there.
        pool: the prompts; with them options may name what they hold, as in a configuration:
            `features`, `prior`, `difficulty`, `references`, `quota`, see
            `insight_ext.selectors.inputs.worked_out`.

    Raises:
        ArgumentError: see `check_selector`; an option that cannot be worked out, prompt and row
            named, or one outside its domain.

    Examples:
        >>> type(make_selector("insight", 100, decay=0.5)).__name__
        'InSight'
    """
    kind, options = check_selector(name, options), plain(options)
    if pool is not None and isinstance(options.get("features"), str) and takes(kind, "columns"):
        options = {"columns": columns_of(pool, options["features"]), **options}
    options = worked_out(name, options, pool)
    selector: Selector = make(
        "selector", SELECTORS, Selector, name, pool_size, seed=seed, **options
    )
    return selector


def given_selector(
    selector: Selector | str, options: Mapping[str, Any] | None, pool: PromptPool, seed: int
) -> Selector:
    """The selector that a user gave: a name or an import path with options, or an object.

    Args:
        selector, options: as given.
        pool: the prompts.
        seed: of a selector given by name, unless the options have one.

    Raises:
        ArgumentError: see `make_selector`; options beside an object, or one for another pool.
    """
    if not isinstance(pool, PromptPool):
        raise ArgumentError(f"pool: expected a PromptPool, got {pool!r:.80}")
    options = given_options("selector_options", options, ["pool"])
    if isinstance(selector, str):
        found = make_selector(selector, len(pool), pool=pool, **{"seed": seed, **options})
        found.made = {"selector": selector, "options": plain(options)}
        return found
    if not isinstance(selector, Selector):
        raise ArgumentError(f"selector: expected a name or a Selector, got {selector!r:.80}")
    if options:
        raise ArgumentError(
            f"selector_options: expected none beside a selector object, got {options}; "
            "give them to the object"
        )
    if selector.pool_size != len(pool):
        raise ArgumentError(
            f"selector: expected one for the {len(pool)} prompts of the pool, got one for "
            f"{selector.pool_size}"
        )
    return selector
