"""What a selector chose, held against what it was asked for; what a loop gives and asks of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from insight_ext.beliefs.group import Threshold
from insight_ext.errors import ArgumentError
from insight_ext.selectors import BeliefSelector, FileOrder, Selector, Uniform


def checked_choice(
    selector: Selector, found: Any, wanted: int, size: int, is_excluded: Callable[[int], bool]
) -> list[int]:
    """What a selector returned, as a list.

    Args:
        selector: whose choice it is.
        found: what it returned.
        wanted: prompts it was asked for.
        size: of the pool.
        is_excluded: whether it was told to leave out a prompt.

    Raises:
        ArgumentError: too few, repeated, excluded or impossible prompts.
    """
    chosen = found.tolist() if isinstance(found, Tensor) else None
    problem = None
    if chosen is None or not isinstance(chosen, list) or found.is_floating_point():
        problem = f"an int64 tensor of shape ({wanted},), got {found!r:.80}"
    elif len(chosen) != wanted:
        problem = f"{wanted} prompts, got {len(chosen)}"
    elif not all(type(index) is int and 0 <= index < size for index in chosen):
        problem = f"positions in a pool of {size}, got {chosen!r:.80}"
    elif len(set(chosen)) < wanted:
        twice = next(index for index in chosen if chosen.count(index) > 1)
        problem = f"distinct prompts, got position {twice} twice"
    else:
        out = next((index for index in chosen if is_excluded(index)), None)
        if out is not None:
            problem = f"none of the excluded prompts, got position {out}"
    if problem is not None:
        raise ArgumentError(
            f"selector {type(selector).__name__}: expected {problem}; nothing was dealt"
        )
    assert chosen is not None
    return chosen


def take_over(what: str, part: Any, name: str, value: Any) -> None:
    """Give a selector or a filter the loop's setting, where it was given none.

    Raises:
        ArgumentError: it was given another one.
    """
    own = getattr(part, name, None)
    if own is None:
        setattr(part, name, value)
    elif own != value:
        raise ArgumentError(
            f"{what} {type(part).__name__}: expected {name} {value}, as in the loop, got {own}; "
            "give it to the loop alone"
        )


def check_takes_parts(selector: Selector, success_threshold: Threshold) -> None:
    """See that beliefs of this selector can move by parts of successes.

    Raises:
        ArgumentError: they cannot.
    """
    if not selector.takes_parts:
        raise ArgumentError(
            "partial_credit: expected a strategy that ranks by the beliefs alone, such as "
            f"insight, without an empirical prior, got {type(selector).__name__}"
        )
    if success_threshold == "auto" or success_threshold <= 0:
        raise ArgumentError(
            "partial_credit: expected a success_threshold above 0, of which rewards are parts, "
            f"got {success_threshold}"
        )


def relies_on_visits(selector: Selector) -> bool:
    """Whether a strategy knows of a prompt only what its own visits said."""
    if isinstance(selector, Uniform | FileOrder) or not isinstance(selector, BeliefSelector):
        return False
    if hasattr(selector, "predictor") or getattr(selector, "features", None) is not None:
        return False
    beliefs = selector.posterior
    alpha, beta = beliefs.prior
    return not (beliefs.is_empirical or isinstance(alpha, Tensor)) and alpha == beta == 1.0
