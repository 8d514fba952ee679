"""What a user wrote as text: import paths and options, checked before they are used."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from importlib import import_module
from inspect import Parameter, signature
from typing import Any

from insight_ext.errors import ArgumentError


def imported(what: str, path: str) -> Any:
    """The object at an import path `package.module:attribute`.

    Args:
        what: of which the path is, for the message.
        path: as the user wrote it.

    Raises:
        ArgumentError: no such module or attribute.

    Example:
        >>> imported("reward", "math:sqrt")(9.0)
        3.0
    """
    module, _, attribute = path.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ArgumentError(f"{what} {path!r}: cannot import it: {error}") from error


def parsed_options(texts: Iterable[str], what: str = "option") -> dict[str, Any]:
    """A strategy's options from texts NAME=VALUE; a value is read as JSON if it is some.

    Raises:
        ArgumentError: a text without a name or without `=`.

    Example:
        >>> parsed_options(["decay=0.5", "candidate_ratio=null", "rule=topk"])
        {'decay': 0.5, 'candidate_ratio': None, 'rule': 'topk'}
    """
    options = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not (name and separator):
            raise ArgumentError(f"{what}: expected NAME=VALUE, got {text!r}")
        try:
            options[name] = json.loads(value)
        except json.JSONDecodeError:
            options[name] = value
    return options


def check_options(what: str, takes: Callable[..., Any], given: Iterable[str]) -> None:
    """See that a class or function has options of these names.

    Args:
        what: the message begins with this.
        takes: its options are the parameters with a default and those by keyword only. A class
            that hands further keywords on (`**common`) has those of its base class too.
        given: the names that the user wrote.

    Raises:
        ArgumentError: an option that it does not take; the nearest and all of them are named.

    Example:
        >>> def rule(n, *, novelty=1.0, decay=0.5): ...
        >>> check_options("rule", rule, ["novlety"])
        Traceback (most recent call last):
        ...
        insight_ext.errors.ArgumentError: rule: expected options among novelty, decay, \
got 'novlety'; did you mean 'novelty'?
    """
    known = _options(takes)
    for name in given:
        if known is None or name in known:
            continue
        expected = f"options among {', '.join(known)}" if known else "no options"
        near = get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ArgumentError(f"{what}: expected {expected}, got {name!r}{hint}")


def _options(takes: Callable[..., Any]) -> Sequence[str] | None:
    """The names of its options; None if it takes any."""
    steps: list[Any] = [takes]
    if isinstance(takes, type):
        own = [vars(kind)["__init__"] for kind in takes.__mro__ if "__init__" in vars(kind)]
        steps = [init for init in own if init is not object.__init__]
    names: dict[str, None] = {}
    for step in steps:
        parameters = signature(step).parameters.values()
        names |= dict.fromkeys(
            p.name
            for p in parameters
            if p.default is not Parameter.empty or p.kind is Parameter.KEYWORD_ONLY
        )
        if not any(p.kind is Parameter.VAR_KEYWORD for p in parameters):
            return list(names)
    return None if steps else []
