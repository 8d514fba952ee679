from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from insight_ext import GroupResult, ObservationError
from insight_ext.distributed.ranks import digest
from insight_ext.loop.in_flight import InFlight

K = 4


def reward(group, number):
    """What rollout `number` of a group earns."""
    return float((group * 7 + number * 3) % 5)


def piece(group, first, count):
    return GroupResult(group, [reward(group, n) for n in range(first, first + count)], first, K)


def dealt(groups):
    flights = InFlight()
    for group in range(groups):
        assert flights.add(100 + group, step=0, version=5) == group
    return flights


PIECES = st.tuples(st.integers(0, 5), st.integers(0, K - 1), st.integers(1, K)).map(
    lambda t: piece(t[0], t[1], min(t[2], K - t[1]))
)


@given(deliveries=st.lists(st.lists(PIECES, max_size=6), max_size=8))
def test_every_rollout_counts_once_whatever_the_order_and_the_repeats(deliveries):
    flights, finished = dealt(6), []
    for results in deliveries:
        flights.receive(results)
        finished += flights.take(before=0)
    whole = [group.id for group in finished]
    finished += flights.take(before=1)
    delivered = [
        (r.group, r.first + i) for results in deliveries for r in results for i in range(len(r[1]))
    ]
    counted = {group.id: group.rewards for group in finished}
    assert len(counted) == len(finished)
    assert all((group.prompt, group.version) == (100 + group.id, 5) for group in finished)
    for group in range(6):
        numbers = sorted({number for g, number in delivered if g == group})
        assert counted.get(group, ()) == tuple(reward(group, number) for number in numbers)
    assert all(len(counted[group]) == K for group in whole)
    assert sum(map(len, counted.values())) + flights.duplicates == len(delivered)
    assert flights.incomplete == 6 - len(whole)
    assert len(flights) == len(flights.prompts) == 0


def test_of_a_rollout_that_comes_twice_the_first_counts():
    flights = dealt(1)
    flights.receive([GroupResult(0, [1.0, 2.0], of=K), GroupResult(0, [9.0, 9.0, 3.0], of=K)])
    (group,) = flights.take(before=1)
    assert (group.rewards, flights.duplicates) == ((1.0, 2.0, 3.0), 2)


def test_what_comes_after_a_group_was_closed_is_a_duplicate():
    flights = dealt(2)
    assert flights.take(before=0) == []
    flights.add(102, step=1, version=6)
    flights.receive([piece(0, 0, 3)])
    closed = flights.take(before=1)
    assert [(group.id, len(group.rewards)) for group in closed] == [(0, 3)]
    assert (flights.incomplete, len(flights)) == (2, 1)
    flights.receive([piece(0, 3, 1), piece(1, 0, K)])
    assert flights.duplicates == 1 + K


def test_a_result_without_a_size_is_the_last_of_its_group():
    flights = dealt(1)
    flights.receive([piece(0, 0, 1)])
    assert flights.take(before=0) == []
    flights.receive([GroupResult(0, [reward(0, n) for n in range(1, K)], first=1)])
    (group,) = flights.take(before=0)
    assert group.rewards == tuple(reward(0, n) for n in range(K))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (GroupResult(2, [1.0]), r"group 2: expected a group that was dealt, 0 to 1"),
        (GroupResult(-1, [1.0]), r"group: expected a whole number in \[0, .*\], got -1"),
        (GroupResult(0, [1.0], first=K, of=K), r"rollouts among 0 to 3, got 1 from 4 on"),
        (GroupResult(0, [1.0], first=-1, of=K), r"first: expected a whole number in .* got -1"),
        (GroupResult(0, []), r"group 0: expected at least one reward"),
        (GroupResult(1, [1.0], of=9), r"group 1: expected a group of 4 rollouts as before"),
        (GroupResult(0, [0.0, math.inf], of=K), r"group 0, rollout 1: expected a finite"),
        (GroupResult(0, [0.0], of=K, perplexity=[0.0]), r"perplexity of group 0: expected a numb"),
        (GroupResult(0, [0.0], of=K, entropy=[0.0, 1.0]), r"entropy of group 0: .* each of 1 roll"),
    ],
)
def test_a_bad_result_is_refused_and_nothing_is_taken_in(bad, message):
    flights = dealt(2)
    flights.receive([piece(1, 0, 2)])
    before = digest(flights.state_dict())
    with pytest.raises(ObservationError, match=message):
        flights.receive([piece(0, 0, K), bad])
    assert digest(flights.state_dict()) == before


@given(early=st.lists(PIECES, max_size=6), late=st.lists(PIECES, max_size=6))
def test_what_is_restored_goes_on_as_the_first(early, late):
    first, second = dealt(6), InFlight()
    first.receive(early)
    second.load_state_dict(first.state_dict())
    for flights in (first, second):
        flights.receive(late)
    assert second.take(before=1) == first.take(before=1)
    assert digest(second.state_dict()) == digest(first.state_dict())


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=40))
def test_the_prompts_in_flight_are_those_of_the_groups(events):
    flights = InFlight()
    for prompt, lands in events:
        flights.add(prompt, step=0, version=0)
        if lands:
            flights.remove(next(iter(flights)))
        expected = {flight.prompt for flight in flights}
        assert sorted(flights.prompts.tolist()) == sorted(expected)
        assert all(flights.holds(prompt) == (prompt in expected) for prompt in range(10))


@pytest.mark.parametrize("kind", [torch.tensor, np.array])
def test_results_may_come_as_tensors_and_arrays(kind):
    flights = dealt(1)
    flights.receive([GroupResult(kind(0), kind([1.0, 0.0]), kind(0), kind(2))])
    (group,) = flights.take(before=0)
    assert (group.id, group.prompt, group.rewards) == (0, 100, (1.0, 0.0))


def test_an_answer_that_could_not_be_scored_is_back_all_the_same():
    flights = dealt(1)
    flights.receive([GroupResult(0, [1.0, None, float("nan"), 0.0])])
    (group,) = flights.take(before=0)
    assert group.scored == (1.0, 0.0)
    assert len(group.rewards) == 4


@pytest.mark.parametrize(
    "bad",
    [
        *((0, [1.0]), None, GroupResult(0, ["x"]), GroupResult(0, ["nan"]), GroupResult(0, ["1"])),
        *(GroupResult(group, [1.0]) for group in ("0", 0.5, False, 1 << 64)),
        *(GroupResult(0, [1.0], first=first) for first in (True, 0.0, 1 << 31)),
        *(GroupResult(0, [1.0], of=of) for of in (True, 0, 1.0, 1 << 31, 1 << 64)),
    ],
    ids=str,
)
def test_what_is_no_result_is_refused(bad):
    flights = dealt(1)
    with pytest.raises(ObservationError, match=r"expected"):
        flights.receive([piece(0, 0, 1), bad])
    assert len(flights.received) == 0
