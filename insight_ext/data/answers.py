"""Answers that a verifier cannot read, named before a run wastes rollouts on them."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterable, Iterator

from insight_ext.data.prompt import Prompt
from insight_ext.plugins import need

NAMED = 3
SECONDS = 2  # for one answer: a tower of powers takes for ever


def unparsable(prompts: Iterable[Prompt]) -> Iterator[Prompt]:
    r"""The prompts of which math-verify can parse no accepted answer.

    Raises:
        InsightError: math-verify is missing.

    Examples:
        >>> prompts = [Prompt("a", "?", "3/4"), Prompt("b", "?", r"\frac{1}{")]
        >>> [prompt.id for prompt in unparsable(prompts)]
        ['b']
    """
    need("checking answers", "math_verify")
    from math_verify import parse

    # Its alarm clock works in the main thread only.
    seconds = SECONDS if threading.current_thread() is threading.main_thread() else None
    logger = logging.getLogger("math_verify")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)  # its modules tell of every answer that takes long
    known: dict[str, bool] = {}
    try:
        for prompt in prompts:
            for answer in prompt.answers:
                if answer not in known:
                    found = parse(f"${answer}$", parsing_timeout=seconds)
                    # What it cannot parse it gives back as text, or not at all.
                    known[answer] = any(not isinstance(value, str) for value in found)
            if not any(known[answer] for answer in prompt.answers):
                yield prompt
    finally:
        logger.setLevel(level)


def warn_of_unparsable(prompts: Iterable[Prompt]) -> None:
    """Name the prompts of `unparsable`, if there are any, in one warning."""
    found = list(unparsable(prompts))
    if found:
        named = ", ".join(f"{prompt.answer!r:.60} of {prompt.id!r}" for prompt in found[:NAMED])
        more = ", ..." if len(found) > NAMED else ""
        warnings.warn(
            f"math-verify cannot parse {len(found)} of the pool's answers, so that nothing would "
            f"ever equal them: {named}{more}; correct them or leave these prompts out",
            stacklevel=4,
        )
