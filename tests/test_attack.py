"""A short form of every attack; `make attack` runs the long one."""

from __future__ import annotations

import pytest

from benchmarks.attack import ATTACKS, attacked


@pytest.mark.parametrize("name", ATTACKS)
def test_hostile_input_is_refused_in_one_sentence_or_goes_in_right(name):
    ends, failures = attacked(name, max(2, ATTACKS[name][1] // 50))
    assert not failures, failures[0]
    assert ends.total()
