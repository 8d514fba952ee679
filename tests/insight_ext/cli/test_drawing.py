from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from insight_ext.cli.drawing import BLOCKS, beliefs_text, histogram, sparkline

sizes = st.floats(-1e300, 1e300)
counts = st.lists(st.integers(0, 10**9), min_size=20, max_size=20)


def bars(counts):
    """The lines of a histogram without scale and axis, each 60 characters."""
    return [line.partition("│")[2].ljust(60) for line in histogram(counts)[:-2]]


@given(st.lists(sizes | st.sampled_from([math.nan, math.inf])), st.integers(1, 40))
def test_a_sparkline_has_a_block_for_each_value_that_fits(values, width):
    line = sparkline(values, width)
    assert len(line) == min(width, sum(map(math.isfinite, values)))
    assert set(line) <= set(BLOCKS[1:])


def test_a_sparkline_rises_with_its_values():
    line = sparkline(list(range(100)), 20)
    assert sorted(line) == list(line)
    assert (line[0], line[-1]) == (BLOCKS[1], BLOCKS[-1])


@given(counts)
def test_a_bar_is_seen_where_something_was_counted(counts):
    lowest = bars(counts)[3]
    assert [lowest[3 * at] != " " for at in range(20)] == [count > 0 for count in counts]


@given(counts)
def test_the_largest_bar_is_full(counts):
    counts[7] = max(counts) + 1
    assert bars(counts)[0][3 * 7] == "█"


@given(counts, st.integers(1, 10**9))
def test_beliefs_fit_a_terminal_of_80_columns(counts, unseen):
    lines = beliefs_text("after step 10,000,000", unseen, counts).splitlines()
    assert max(map(len, lines)) <= 80
