from __future__ import annotations

import pytest

from insight_ext import ArgumentError
from insight_ext.options import check_options, imported, parsed_options


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
