"""The arms of a comparison: strategies with their options, by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from insight_ext.errors import ArgumentError
from insight_ext.loop.choice import take_over
from insight_ext.plugins import given_options, nearest, parsed_options, split_list
from insight_ext.selectors import SELECTORS, check_selector, make_selector
from insight_ext.simulate.learner import Learner
from insight_ext.simulate.trial import Chooser, Oracle

RANDOM, ORACLE = "random", "oracle"
# What a learner tells of its prompts, by the option that takes it.
TOLD: dict[str, Callable[[Learner], Tensor]] = {
    "features": lambda learner: learner.features,
    "references": lambda learner: learner.references,
    "difficulty": lambda learner: 100.0 * (1.0 - learner.references[:, 0]),
}

# Arms by name: a selector and its options; True stands for what the learner tells, see `TOLD`.
ARMS: dict[str, tuple[str, dict[str, Any]]] = {
    RANDOM: ("uniform", {}),
    ORACLE: (ORACLE, {}),
    "insight": ("insight", {}),
    "insight (paper)": ("insight", {"decay": 1.0, "candidate_ratio": 16}),
    "insight (features)": ("insight", {"features": True}),
    "mopps": ("mopps", {}),
    "mopps (threshold)": ("mopps", {"rule": "threshold"}),
    "expected_difficulty": ("expected_difficulty", {"decay": 0.5}),
    "expected_difficulty (paper)": ("expected_difficulty", {"candidate_ratio": 16}),
    "inverse_evidence": ("inverse_evidence", {}),
    "inverse_evidence (paper)": ("inverse_evidence", {"candidate_ratio": 16}),
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
    "bots (paper)": (
        "bots",
        {"references": True, "decay": 0.9, "sharing": 0.1, "candidate_ratio": None},
    ),
    "greso": ("greso", {}),
    "adarft": ("adarft", {"decay": 0.5}),
    "adarft (paper)": ("adarft", {"difficulty": True}),
    "prioritized": ("prioritized", {"decay": 0.5}),
    "prioritized (paper)": ("prioritized", {"prior": (1e-6, 1e-6)}),
    "difficulty_pools": ("difficulty_pools", {}),
    "difficulty_pools (7c247bc)": ("difficulty_pools", {"easy_share": 0.1, "hard_share": 0.1}),
    "difficulty_pools (559b447)": (
        "difficulty_pools",
        {"easy": 0.75, "hard": 0.25, "weights": (0.2, 0.2)},
    ),
}


def parse_arm(arm: str) -> tuple[str, dict[str, Any]]:
    """(selector, options) of an arm: a name in `ARMS`, or a selector's name or import path, with
    options if need be: `selector:option=value,option=value`.

    Examples:
        >>> parse_arm("insight_ext.selectors:Uniform"), parse_arm("mopps:decay=1,prior=[2,3]")
        (('insight_ext.selectors:Uniform', {}), ('mopps', {'decay': 1, 'prior': [2, 3]}))
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
                f"{nearest(arm, [*ARMS, *SELECTORS])}"
            )
        attribute, _, text = text.partition(":")
        name = f"{name}:{attribute}"
    # A comma within a value is none between options.
    texts = re.split(r",(?=\w+=)", text) if text else []
    what = f"strategy {arm!r}"
    options = given_options(what, parsed_options(texts, what), ["seed", "pool"])
    check_selector(name, options)
    return name, options


def named_arms(text: str) -> list[str]:
    """The arms that a user listed, see `split_list`; all of them are known.

    Raises:
        ArgumentError: none, or an unknown strategy or option.

    Examples:
        >>> named_arms("insight, mopps:decay=1,rule=threshold")
        ['insight', 'mopps:decay=1,rule=threshold']
    """
    arms = split_list(text)
    if not arms:
        raise ArgumentError(f"strategies: expected at least one, got {text!r}")
    for arm in arms:
        parse_arm(arm)
    return arms


def needs_other_models(arm: str) -> bool:
    """Whether an arm is told what other models make of the prompts, as a learner does."""
    options = parse_arm(arm)[1]
    return any(options.get(name) is True for name in ("references", "difficulty"))


def trainable_arms(arms: Sequence[str], features: str) -> dict[str, dict[str, Any]]:
    """The arms as settings of a real data module: random first, without the oracle.

    Args:
        arms: see `compare.compare`.
        features: what arms that use the learner's features are given, see `features_of`.

    Returns:
        By arm: `selector` and `selector_options`.

    Raises:
        ArgumentError: unknown arm, or one that is told what only a simulated learner tells.

    Examples:
        >>> trainable_arms(["mopps (threshold)"], "ngrams")["mopps (threshold)"]
        {'selector': 'mopps', 'selector_options': {'rule': 'threshold'}}
    """
    settings = {}
    for arm in dict.fromkeys((RANDOM, *arms)):
        selector, options = parse_arm(arm)
        if needs_other_models(arm):
            raise ArgumentError(
                f"strategy {arm!r}: expected fields of the prompts in place of what a simulated "
                "learner tells, such as 'bots:references=meta:WEAKER,STRONGER'"
            )
        if options.get("features") is True:
            options = {**options, "features": features}
        if selector != ORACLE:
            settings[arm] = {"selector": selector, "selector_options": options}
    return settings


def selector_of(arm: str, learner: Learner, seed: int, rollouts: int) -> Chooser:
    """The strategy of an arm, for this learner and groups of this size.

    Raises:
        ArgumentError: see `selector_for`; fields of prompts, of which a learner has none.
    """
    name, options = parse_arm(arm)
    if name == ORACLE:
        return Oracle(learner)
    for option in TOLD.keys() & options.keys():
        if options[option] not in (True, None):
            raise ArgumentError(
                f"strategy {arm!r}: expected {option}=true, since a simulated learner tells it "
                f"itself, got {options[option]!r:.80}"
            )
    return selector_for(learner, name, options, seed, rollouts)


def selector_for(
    learner: Learner, name: str, options: Mapping[str, Any], seed: int, rollouts: int
) -> Chooser:
    """A selector on this learner's pool; what it is to know of the prompts, the learner tells.

    Raises:
        ArgumentError: see `make_selector`; another K in the options than `rollouts`.
    """
    given: dict[str, Any] = {
        option: TOLD[option](learner) if option in TOLD and value is not None else value
        for option, value in options.items()
    }
    selector = make_selector(name, len(learner.visits), seed=seed, **given)
    take_over("selector", selector, "rollouts", rollouts)
    return selector
