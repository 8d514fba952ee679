"""What a user names: strategies, import paths, options, packages; checked before it is used."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from inspect import Parameter, Signature, signature
from numbers import Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

from insight_ext.errors import ArgumentError, InsightError

Entry = TypeVar("Entry")

# What to install for modules that do not come with the package's own extra.
PACKAGES = {
    "matplotlib": "'insight-ext[cli]'",
    "pyarrow": "'insight-ext[cli]'",
    "rich": "'insight-ext[cli]'",
    "sentence_transformers": "sentence-transformers",
    "peft": "'insight-ext[lora]'",
    "reasoning_gym": "'insight-ext[reasoning-gym]'",
    "shtab": "'insight-ext[completion]'",
    "wordllama": "'insight-ext[wordllama]'",
}
EXTRA = "'insight-ext[lightning]'"
# What options are declared as, in words.
UNIONS = (Union, UnionType)
KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    NoneType: "none",
}


def named(kind: str, table: Mapping[str, Entry], name: str, *, otherwise: str = "") -> Entry:
    """The entry of this name.

    Args:
        kind: of what the table is, for the message.
        table: by name.
        name: as the user wrote it.
        otherwise: what else could have been written, for the message.

    Raises:
        ArgumentError: an unknown name; all known ones are listed and the nearest is suggested.

    Examples:
        >>> named("colour", {"red": 1, "blue": 2}, "bleu")
        Traceback (most recent call last):
        ...
        insight_ext.errors.ArgumentError: unknown colour 'bleu': expected one of red, blue; \
did you mean 'blue'?
    """
    if name in table:
        return table[name]
    raise ArgumentError(
        f"unknown {kind} {name!r}: expected one of {', '.join(table)}{otherwise}"
        f"{nearest(name, table)}"
    )


def find(
    kind: str,
    table: Mapping[str, Any],
    base: type | None,
    name: str,
    options: Iterable[str] = (),
    by_place: int | None = None,
) -> Any:
    """The class or function of this name, if it takes options of these names; nothing is called.

    Args:
        kind: what it is, such as "selector", for the messages.
        table: the known ones by name.
        base: of which it has to be a subclass; None: anything that can be called.
        name: in the table, or an import path `package.module:Class`.
        options: their names.
        by_place: see `check_options`.

    Raises:
        ArgumentError: an unknown name (the known ones listed, the nearest suggested), a path that
            leads nowhere or to something else, or an option that it does not take.
    """
    if ":" in name:
        found = imported(kind, name)
    else:
        path = ", or an import path such as 'package.module:Class'"
        if name.endswith(".py"):
            module = ".".join(Path(name).with_suffix("").parts)
            path += f" from the present folder; did you mean '{module}:NAME'?"
        found = named(kind, table, name, otherwise=path)
    if base is None:
        fits, expected = callable(found), "something that can be called"
    else:
        fits = isinstance(found, type) and issubclass(found, base)
        expected = f"a subclass of {base.__name__}"
    if not fits:
        raise ArgumentError(f"{kind} {name!r}: expected {expected}, got {found!r}")
    check_options(f"{kind} {name!r}", found, options, by_place)
    return found


def make(
    kind: str,
    table: Mapping[str, Any],
    base: type | None,
    name: str,
    /,
    *arguments: Any,
    **options: Any,
) -> Any:
    """What the class or function of this name makes of these arguments and options.

    Args:
        kind, table, base, name: see `find`.
        arguments: what every one of this kind is given.
        options: what the user wrote.

    Raises:
        ArgumentError: see `find`; an option that is missing or outside its domain.

    Examples:
        >>> make("sum", {"plain": sum}, None, "plain", [1, 2], start=3)
        6
    """
    found = find(kind, table, base, name, options)
    options = plain(options)
    check_types(f"{kind} {name!r}", found, options)
    try:
        return found(*arguments, **options)
    except TypeError as error:
        raise ArgumentError(f"{kind} {name!r}: {error}") from error


def plain(value: Any) -> Any:
    """A setting in Python's own types: numbers of NumPy, and containers of OmegaConf, are others.

    Examples:
        >>> import numpy as np
        >>> plain({"seed": np.int64(3), "shares": [np.float32(0.5)]})
        {'seed': 3, 'shares': [0.5]}
    """
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        return value.item()
    if type(value) is tuple:
        return tuple(map(plain, value))
    if type(value) in (dict, list) or type(value).__module__.startswith("omegaconf."):
        if isinstance(value, Mapping):
            return {plain(name): plain(each) for name, each in value.items()}
        return list(map(plain, value))
    return value


def whole(name: str, value: Any, least: int, most: float = math.inf) -> int:
    """A whole number, also NumPy's or a tensor's of one element; never a truth value or 1.7.

    Raises:
        ArgumentError: something else, or a number outside [least, most].

    Examples:
        >>> whole("k", 1.7, 1)
        Traceback (most recent call last):
        ...
        insight_ext.errors.ArgumentError: k: expected a whole number of at least 1, got 1.7
    """
    number = plain(value)
    if type(number) is not int or not least <= number <= most:
        domain = f"of at least {least}" if most == math.inf else f"in [{least}, {most}]"
        raise ArgumentError(f"{name}: expected a whole number {domain}, got {value!r:.80}")
    return number


def check_at_least(least: float, **settings: float) -> None:
    """See that numbers are in their domain.

    Raises:
        ArgumentError: one of them is smaller than `least`.

    Examples:
        >>> check_at_least(1, workers=0)
        Traceback (most recent call last):
        ...
        insight_ext.errors.ArgumentError: workers: expected at least 1, got 0
    """
    for name, value in settings.items():
        if not least <= value < math.inf:
            raise ArgumentError(f"{name}: expected at least {least}, got {value}")


def check_above_0(**settings: float) -> None:
    """ArgumentError where one of these numbers is not more than 0; see `check_at_least`."""
    for name, value in settings.items():
        if not value > 0:
            raise ArgumentError(f"{name}: expected more than 0, got {value}")


def check_between(what: str, low: float, high: float, **settings: float) -> None:
    """ArgumentError where one of these is not in [low, high]; see `check_at_least`.

    Examples:
        >>> check_between("a share", 0.0, 1.0, keep=1.5)
        Traceback (most recent call last):
        ...
        insight_ext.errors.ArgumentError: keep: expected a share in [0, 1], got 1.5
    """
    for name, value in settings.items():
        is_number = isinstance(value, Real)
        if not (is_number and low <= value <= high):
            got = value if is_number else f"{value!r:.80}"
            raise ArgumentError(f"{name}: expected {what} in [{low:g}, {high:g}], got {got}")


def truth(name: str, value: Any) -> bool:
    """A truth value, also NumPy's; never a text or a number, of which most are true.

    Raises:
        ArgumentError: something else.

    Examples:
        >>> truth("answers", "no")
        Traceback (most recent call last):
        ...
        insight_ext.errors.ArgumentError: answers: expected True or False, got 'no'
    """
    found = plain(value)
    if not isinstance(found, bool):
        raise ArgumentError(f"{name}: expected True or False, got {value!r:.80}")
    return found


def imported(kind: str, path: str) -> Any:
    """The object at an import path `package.module:attribute`.

    Args:
        kind: of which the path is, for the message.
        path: as the user wrote it.

    Raises:
        ArgumentError: no such module or attribute.

    Examples:
        >>> imported("reward", "math:sqrt")(9.0)
        3.0
    """
    module, _, attribute = path.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        where = ""
        if isinstance(error, ModuleNotFoundError):
            where = f"; modules are looked for in the present folder, {Path.cwd()}, and PYTHONPATH"
        raise ArgumentError(f"{kind} {path!r}: cannot import it: {error}{where}") from error


def parsed_options(texts: Iterable[str], what: str = "option") -> dict[str, Any]:
    """A strategy's options from texts NAME=VALUE; a value is read as JSON if it is some.

    Raises:
        ArgumentError: a text without a name or without `=`.

    Examples:
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


def given_options(
    what: str, given: Mapping[str, Any] | None, taken: Iterable[str] = ()
) -> dict[str, Any]:
    """What a user gave as options, as keywords.

    Args:
        what: the message begins with this.
        given: by name; None for none.
        taken: names that are given beside the options.

    Raises:
        ArgumentError: no options by name, or one of those that are taken.

    Examples:
        >>> given_options("selector_options", {"pool": 1}, ["pool"])
        Traceback (most recent call last):
        ...
        insight_ext.errors.ArgumentError: selector_options: expected no option 'pool', which is \
given beside them
    """
    given = {} if given is None else given
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise ArgumentError(f"{what}: expected options by their names, got {given!r:.80}")
    for name in taken:
        if name in given:
            raise ArgumentError(f"{what}: expected no option {name!r}, which is given beside them")
    return dict(given)


def check_options(
    what: str, takes: Callable[..., Any], given: Iterable[str], by_place: int | None = None
) -> None:
    """See that a class or function has options of these names.

    Args:
        what: the message begins with this.
        takes: its options are the parameters with a default and those by keyword only. A class
            that hands further keywords on (`**common`) has those of its base class too.
        given: the names that the user wrote.
        by_place: how many parameters it is given by their place: those after them are options too,
            with a default or without. None: all those without.

    Raises:
        ArgumentError: an option that it does not take; the nearest and all of them are named.

    Examples:
        >>> def rule(n, *, novelty=1.0, decay=0.5): ...
        >>> check_options("rule", rule, ["novlety"])
        Traceback (most recent call last):
        ...
        insight_ext.errors.ArgumentError: rule: expected options among novelty, decay, \
got 'novlety'; did you mean 'novelty'?
    """
    given = list(given)
    known = _options(takes, by_place) if given else None
    for name in given:
        if known is None or name in known:
            continue
        expected = f"options among {', '.join(known)}" if known else "no options"
        raise ArgumentError(f"{what}: expected {expected}, got {name!r}{nearest(name, known)}")


def check_types(what: str, takes: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """See that options have the types that a class or function declares for them.

    Numbers, texts, truth values, none, sequences of these and classes are looked at; what is
    declared as anything else is left to the class or function.

    Args:
        what, takes: see `check_options`, which has seen that the options are known.
        given: by name.

    Raises:
        ArgumentError: an option of another type.

    Examples:
        >>> def rule(n, *, novelty: float = 1.0, shares: Sequence[float] | None = None): ...
        >>> check_types("rule", rule, {"novelty": 1, "shares": None})
        >>> check_types("rule", rule, {"shares": 0.5})
        Traceback (most recent call last):
        ...
        insight_ext.errors.ArgumentError: rule: expected shares to be a list of numbers or none, \
got 0.5
    """
    declared = _options(takes) or {}
    for name, value in given.items():
        annotation = declared.get(name, Any)
        kinds = get_args(annotation) if get_origin(annotation) in UNIONS else (annotation,)
        if not any(_is_a(value, kind) for kind in kinds):
            expected = " or ".join(map(_told, kinds))
            raise ArgumentError(f"{what}: expected {name} to be {expected}, got {value!r:.80}")


def _is_a(value: Any, kind: Any) -> bool:
    """Whether a value is of a kind; yes where the kind cannot be looked at."""
    if get_origin(kind) is Sequence:
        each = get_args(kind)[0]
        return isinstance(value, list | tuple) and all(_is_a(item, each) for item in value)
    if get_origin(kind) is dict:
        return isinstance(value, Mapping)
    if isinstance(value, bool) and kind in KINDS:
        return kind is bool
    try:
        return isinstance(value, (int, float) if kind is float else kind)
    except TypeError:  # no class
        return True


def _told(kind: Any) -> str:
    """A kind in words."""
    if get_origin(kind) is Sequence:
        return f"a list of {_told(get_args(kind)[0]).partition(' ')[2]}s"
    if get_origin(kind) is dict:
        return "settings by name"
    return KINDS.get(kind) or f"a {kind.__name__}"


def takes(called: Callable[..., Any], name: str) -> bool:
    """Whether it names an option so itself; see `check_options`.

    Examples:
        >>> def rule(n, *, decay=0.5): ...
        >>> takes(rule, "decay"), takes(rule, "novelty")
        (True, False)
    """
    return name in (_options(called) or ())


def need(what: str, *modules: str) -> None:
    """See that packages which only some commands need are installed, before they are imported.

    Args:
        what: the message begins with this.
        modules: their import names.

    Raises:
        InsightError: some are missing; all of those are named, and what installs them.

    Examples:
        >>> need("report", "json", "no_such_module")
        Traceback (most recent call last):
        ...
        insight_ext.errors.InsightError: report: expected no_such_module to be installed; run: ...
    """
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        packages = dict.fromkeys(PACKAGES.get(module, EXTRA) for module in missing)
        raise InsightError(
            f"{what}: expected {' and '.join(missing)} to be installed; "
            f"run: pip install {' '.join(packages)}"
        )


def nearest(name: str, known: Iterable[str]) -> str:
    """What a message adds about the known name that is nearest to this one; empty if none is near.

    Examples:
        >>> nearest("--topp", ["--top", "--seed"])
        "; did you mean '--top'?"
    """
    near = get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _options(takes: Callable[..., Any], by_place: int | None = None) -> dict[str, Any] | None:
    """The names of its options, and what each is declared as; None if it takes any."""
    steps: list[Any] = [takes]
    if isinstance(takes, type):
        own = [vars(kind)["__init__"] for kind in takes.__mro__ if "__init__" in vars(kind)]
        steps = [init for init in own if init is not object.__init__]
        by_place = None if by_place is None else by_place + 1  # and itself
    names: dict[str, Any] = {}
    for step in steps:
        parameters = _signature(step).parameters.values()
        for place, p in enumerate(parameters):
            later = by_place is not None and place >= by_place
            named = p.kind is Parameter.POSITIONAL_OR_KEYWORD and later
            if named or p.default is not Parameter.empty or p.kind is Parameter.KEYWORD_ONLY:
                names.setdefault(p.name, Any if p.annotation is p.empty else p.annotation)
        if not any(p.kind is Parameter.VAR_KEYWORD for p in parameters):
            return names
    return None if steps else {}


def _signature(called: Callable[..., Any]) -> Signature:
    try:
        return signature(called, eval_str=True)
    except NameError:  # an annotation that only a type checker can read, which says nothing here
        return signature(called)


def split_list(text: str) -> list[str]:
    """The names of a list, by semicolon if there is one, else by comma.

    A comma within brackets, or before the next option of a name, is none between two names.

    Examples:
        >>> split_list("insight, mopps:decay=1,prior=[2,3],gps")
        ['insight', 'mopps:decay=1,prior=[2,3]', 'gps']
        >>> split_list("insight:features=model:FOLDER:Hard, or not?;gps")
        ['insight:features=model:FOLDER:Hard, or not?', 'gps']
    """
    between = r";" if ";" in text else r",(?!\s*\w+=)(?![^\[(]*[\])])"
    return [name for part in re.split(between, text) if (name := part.strip())]


def as_number(value: Any) -> float | None:
    """A finite number, or one written as text, as every field of a CSV file is; else None.

    Examples:
        >>> as_number(0.5), as_number(" 0.75"), as_number("geometry"), as_number(True)
        (0.5, 0.75, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
