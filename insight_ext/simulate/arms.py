"""The arms of a comparison: strategies with their options, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from insight_ext.errors import ArgumentError
from insight_ext.plugins import parsed_options
from insight_ext.selectors import SELECTORS, check_selector, make_selector
from insight_ext.simulate.learner import Learner
from insight_ext.simulate.trial import Chooser, Oracle

RANDOM, ORACLE = "random", "oracle"

# Arms by name: a selector and its options. "features": True hands it the learner's features.
ARMS: dict[str, tuple[str, dict[str, Any]]] = {
    RANDOM: ("uniform", {}),
    ORACLE: (ORACLE, {}),
    "insight": ("insight", {}),
    "insight (paper)": ("insight", {"decay": 1.0, "candidate_ratio": 16}),
    "insight (features)": ("insight", {"features": True}),
    "mopps": ("mopps", {}),
    "mopps (threshold)": ("mopps", {"rule": "threshold"}),
    "expected_difficulty": ("expected_difficulty", {"decay": 0.5}),
    "inverse_evidence": ("inverse_evidence", {}),
    "mixed_group": ("mixed_group", {}),
    "mixed_group (paper)": ("mixed_group", {"rule": "proportional", "candidate_ratio": 8}),
    "gps": ("gps", {"features": True}),
    "dps": ("dps", {}),
    "dps (paper)": (
        "dps",
        {
            "shared": False,
            "persistence": 1.0,
            "memory": 0.5,
            "error": 0.0,
            "first_visit": True,
            "candidate_ratio": 8,
        },
    ),
    "bots": ("bots", {}),
    "greso": ("greso", {}),
    "adarft": ("adarft", {"decay": 0.5}),
    "prioritized": ("prioritized", {"decay": 0.5}),
    "difficulty_pools": ("difficulty_pools", {}),
    "difficulty_pools (paper)": (
        "difficulty_pools",
        {"easy": 0.8, "hard": 0.2, "easy_share": 0.0, "hard_share": 0.0},
    ),
}


def parse_arm(arm: str) -> tuple[str, dict[str, Any]]:
    """(selector, options) of an arm: a name in `ARMS`, or a selector's name or import path, with
    options if need be: `selector:option=value,option=value`.

    Example:
        >>> parse_arm("insight_ext.selectors:Uniform"), parse_arm("mopps:decay=1")
        (('insight_ext.selectors:Uniform', {}), ('mopps', {'decay': 1}))
    """
    if arm in ARMS:
        return ARMS[arm]
    name, _, text = arm.partition(":")
    if name not in SELECTORS:
        if not text:
            raise ArgumentError(
                f"unknown strategy {arm!r}: expected one of {', '.join(ARMS)}, a selector with "
                "options such as 'mopps:decay=1', or an import path such as "
                f"'package.module:Class'; the selectors are {', '.join(SELECTORS)}"
            )
        attribute, _, text = text.partition(":")
        name = f"{name}:{attribute}"
    options = parsed_options(text.split(",") if text else [], f"strategy {arm!r}")
    check_selector(name, options)
    return name, options


def split_arms(text: str) -> list[str]:
    """The arms of a text, by semicolon, or by comma where no arm has options or a path.

    Example:
        >>> split_arms("insight, mopps"), split_arms("mopps:decay=1,rule=threshold")
        (['insight', 'mopps'], ['mopps:decay=1,rule=threshold'])
    """
    separator = ";" if ";" in text or ":" in text else ","
    return [arm.strip() for arm in text.split(separator)]


def trainable_arms(arms: Sequence[str], features: str) -> dict[str, dict[str, Any]]:
    """The arms as settings of a real data module: random first, without the oracle.

    Args:
        arms: see `compare.compare`.
        features: what arms that use the learner's features are given, see `features_of`.

    Returns:
        By arm: `selector` and `selector_options`.

    Raises:
        ArgumentError: unknown arm.

    Example:
        >>> trainable_arms(["mopps (threshold)"], "ngrams")["mopps (threshold)"]
        {'selector': 'mopps', 'selector_options': {'rule': 'threshold'}}
    """
    settings = {}
    for arm in dict.fromkeys((RANDOM, *arms)):
        selector, options = parse_arm(arm)
        if options.get("features") is True:
            options = {**options, "features": features}
        if selector != ORACLE:
            settings[arm] = {"selector": selector, "selector_options": options}
    return settings


def selector_of(arm: str, learner: Learner, seed: int) -> Chooser:
    """The strategy of an arm, for this learner."""
    name, options = parse_arm(arm)
    if name == ORACLE:
        return Oracle(learner)
    return selector_for(learner, name, options, seed)


def selector_for(learner: Learner, selector: str, options: Mapping[str, Any], seed: int) -> Chooser:
    """A selector on this learner's pool; whatever `features` it is to have are the learner's."""
    given = dict(options)
    if given.get("features") is not None:
        given["features"] = learner.features
    return make_selector(selector, len(learner.visits), seed=seed, **given)
