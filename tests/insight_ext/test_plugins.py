from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Literal

import pytest

from insight_ext import ArgumentError, InsightError
from insight_ext.plugins import (
    check_options,
    check_types,
    find,
    imported,
    make,
    need,
    parsed_options,
)


class Base:
    def __init__(self, size, *, decay=1.0, seed=0):
        self.decay = decay


class Hands(Base):
    def __init__(self, size, *, seed=0, novelty=1.0, **common):
        super().__init__(size, seed=seed, **common)


class Heir(Hands):
    pass


class Needs(Base):
    def __init__(self, size, *, target):
        super().__init__(size)


class Plain:
    pass


class Anything:
    def __init__(self, **settings):
        self.settings = settings


@pytest.mark.parametrize("kind", [Hands, Heir])
def test_options_are_those_of_a_class_and_of_the_bases_it_hands_on_to(kind):
    check_options("it", kind, ["novelty", "decay", "seed"])
    with pytest.raises(ArgumentError) as caught:
        check_options("it", kind, ["decay", "size"])
    assert str(caught.value) == "it: expected options among seed, novelty, decay, got 'size'"


def test_an_option_that_has_to_be_given_is_one():
    check_options("it", Needs, ["target"])
    with pytest.raises(ArgumentError, match="it: expected options among target, got 'decay'"):
        check_options("it", Needs, ["decay"])


def test_a_class_without_options_and_one_with_any():
    with pytest.raises(ArgumentError, match="it: expected no options, got 'a'"):
        check_options("it", Plain, ["a"])
    check_options("it", Anything, ["a"])


@pytest.mark.parametrize("text", ["decay", "=3", ""])
def test_an_option_needs_a_name_and_a_value(text):
    with pytest.raises(ArgumentError, match="it: expected NAME=VALUE, got"):
        parsed_options([text], "it")


def test_a_value_may_hold_an_equals_sign():
    assert parsed_options(["rule=a=b"]) == {"rule": "a=b"}


@pytest.mark.parametrize("path", ["nowhere:X", "math:X", "math:", ":X", ".math:X"])
def test_a_path_that_leads_nowhere_is_named(path):
    with pytest.raises(ArgumentError, match=f"reward '{path}': cannot import it"):
        imported("reward", path)


TABLE = {"hands": Hands, "needs": Needs}


def test_an_unknown_name_lists_the_known_ones_and_suggests_the_nearest():
    with pytest.raises(ArgumentError) as caught:
        find("thing", TABLE, Base, "hand")
    assert str(caught.value) == (
        "unknown thing 'hand': expected one of hands, needs, or an import path such as "
        "'package.module:Class'; did you mean 'hands'?"
    )


def test_an_import_path_is_as_good_as_a_name():
    assert find("thing", {}, None, "math:sqrt") is math.sqrt
    assert make("thing", {}, dict, "collections:Counter", "aab") == {"a": 2, "b": 1}


@pytest.mark.parametrize(
    ("base", "path", "expected"),
    [
        (Base, "collections:Counter", "a subclass of Base"),
        (Base, "math:pi", "a subclass of Base"),
        (None, "math:pi", "something that can be called"),
    ],
)
def test_a_path_to_something_else_is_refused(base, path, expected):
    with pytest.raises(ArgumentError, match=f"thing '{path}': expected {expected}, got"):
        find("thing", TABLE, base, path)


def test_options_are_checked_by_name_before_anything_is_made():
    with pytest.raises(ArgumentError, match="thing 'hands': expected options among seed, .*'sed'"):
        make("thing", TABLE, Base, "hands", 3, sed=1)
    assert make("thing", TABLE, Base, "hands", 3, decay=0.5).decay == 0.5


def declares(
    n,
    *,
    whole: int = 1,
    number: float | None = None,
    text: str = "",
    pair: Sequence[float] = (0, 1),
    way: Literal["up", "down"] = "up",
    anything=None,
): ...


@pytest.mark.parametrize(
    ("name", "taken", "refused", "expected"),
    [
        ("whole", [3, -1], [True, 2.0, "3", None], "a whole number"),
        ("number", [3, 0.5, None], [False, "0.5", [1.0]], "a number or none"),
        ("text", [""], [3, None], "a text"),
        ("pair", [(0.2, 1), []], [0.5, "ab", ["a", 1], None], "a list of numbers"),
        ("way", ["up", 3], [], ""),
        ("anything", [3, "x", object()], [], ""),
    ],
)
def test_options_have_the_types_that_are_declared(name, taken, refused, expected):
    for value in taken:
        check_types("it", declares, {name: value})
    for value in refused:
        with pytest.raises(ArgumentError, match=f"it: expected {name} to be {expected}, got"):
            check_types("it", declares, {name: value})


def test_an_option_that_is_missing_is_named():
    with pytest.raises(ArgumentError, match="thing 'needs': .*'target'"):
        make("thing", TABLE, Base, "needs", 3)


def test_what_is_not_installed_is_named_with_what_installs_it(monkeypatch):
    need("it", "json", "math")
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(InsightError) as caught:
        need("it", "no_such_module", "json", "sentence_transformers")
    assert str(caught.value) == (
        "it: expected no_such_module and sentence_transformers to be installed; "
        "run: pip install 'insight-ext[lightning]' sentence-transformers"
    )
