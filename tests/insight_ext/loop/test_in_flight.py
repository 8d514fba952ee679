from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from insight_ext import ArgumentError, GroupLedger, GroupResult, ObservationError

K = 4


def reward(group, number):
    """What rollout `number` of a group earns."""
    return float((group * 7 + number * 3) % 5)


def piece(group, first, count):
    return GroupResult(group, [reward(group, n) for n in range(first, first + count)], first, K)


def dealt(groups, max_staleness=3):
    ledger = GroupLedger(max_staleness)
    ledger.deal(range(groups), [100 + g for g in range(groups)], step=0, version=5)
    return ledger


PIECES = st.tuples(st.integers(0, 5), st.integers(0, K - 1), st.integers(1, K)).map(
    lambda t: piece(t[0], t[1], min(t[2], K - t[1]))
)


@given(deliveries=st.lists(st.lists(PIECES, max_size=6), max_size=8))
def test_every_rollout_counts_once_whatever_the_order_and_the_repeats(deliveries):
    ledger = dealt(6)
    finished = [group for results in deliveries for group in ledger.receive(results)]
    given_up = ledger.close(step=3)
    delivered = [
        (r.group, r.first + i) for results in deliveries for r in results for i in range(len(r[1]))
    ]
    counted = {}
    for group in finished + given_up:
        assert group.group not in counted
        assert (group.prompt, group.version) == (100 + group.group, 5)
        counted[group.group] = group.rewards
    for group in range(6):
        numbers = sorted({number for g, number in delivered if g == group})
        assert counted.get(group, []) == [reward(group, number) for number in numbers]
    assert all(len(group.rewards) == K for group in finished)
    assert sum(map(len, counted.values())) + ledger.duplicates == len(delivered)
    assert ledger.incomplete == 6 - len(finished)
    assert len(ledger) == 0


def test_of_a_rollout_that_comes_twice_the_first_counts():
    ledger = dealt(1)
    ledger.receive([GroupResult(0, [1.0, 2.0], of=K), GroupResult(0, [9.0, 9.0, 3.0], of=K)])
    (group,) = ledger.close(step=3)
    assert (group.rewards, ledger.duplicates) == ([1.0, 2.0, 3.0], 2)


def test_a_group_is_waited_for_so_many_steps_and_no_longer():
    ledger = dealt(2, max_staleness=2)
    assert ledger.close(step=1) == []
    ledger.deal([2], [102], step=1, version=6)
    ledger.receive([piece(0, 0, 3)])
    closed = ledger.close(step=2)
    assert [(group.group, len(group.rewards)) for group in closed] == [(0, 3)]
    assert (ledger.incomplete, len(ledger)) == (2, 1)
    assert ledger.receive([piece(0, 3, 1), piece(1, 0, K)]) == []
    assert ledger.duplicates == 1 + K


def test_a_result_without_a_size_is_the_last_of_its_group():
    ledger = dealt(1)
    assert ledger.receive([piece(0, 0, 1)]) == []
    last = GroupResult(0, [reward(0, n) for n in range(1, K)], first=1)
    assert ledger.receive([last])[0].rewards == [reward(0, n) for n in range(K)]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (GroupResult(2, [1.0]), r"group 2: expected a group that was dealt, 0 to 1"),
        (GroupResult(-1, [1.0]), r"group -1: expected a group that was dealt"),
        (GroupResult(0, [1.0], first=K, of=K), r"rollouts among 0 to 3, got 1 from 4 on"),
        (GroupResult(0, [1.0], first=-1, of=K), r"rollouts among 0 to 3, got 1 from -1 on"),
        (GroupResult(0, []), r"group 0: expected rollouts among"),
        (
            GroupResult(1, [1.0], of=9),
            r"group 1: expected a group of 4 rollouts as before",
        ),
        (GroupResult(0, [float("nan")], first=2, of=K), r"group 0, rollout 2: expected a finite"),
    ],
)
def test_a_bad_result_is_refused_and_nothing_is_taken_in(bad, message):
    ledger = dealt(2)
    ledger.receive([piece(1, 0, 2)])
    before = ledger.state_dict()
    with pytest.raises(ObservationError, match=message):
        ledger.receive([piece(0, 0, K), bad])
    assert ledger.state_dict() == before


@given(early=st.lists(PIECES, max_size=6), late=st.lists(PIECES, max_size=6))
def test_a_restored_ledger_goes_on_as_the_first(early, late):
    first = dealt(6)
    first.receive(early)
    second = GroupLedger(3)
    second.load_state_dict(first.state_dict())
    assert second.receive(late) == first.receive(late)
    assert second.close(3) == first.close(3)
    assert second.state_dict() == first.state_dict()


@pytest.mark.parametrize("kind", [torch.tensor, np.array])
def test_results_may_come_as_tensors_and_arrays(kind):
    ledger = dealt(1)
    (finished,) = ledger.receive([GroupResult(kind(0), kind([1.0, 0.0]), kind(0), kind(2))])
    assert finished == (0, 100, [1.0, 0.0], 5)


@pytest.mark.parametrize(
    "bad",
    [(0, [1.0]), GroupResult("0", [1.0]), GroupResult(0.5, [1.0]), GroupResult(0, ["x"]), None],
)
def test_what_is_no_result_is_refused(bad):
    ledger = dealt(1)
    with pytest.raises(ObservationError, match=r"results\[1\]: expected"):
        ledger.receive([piece(0, 0, 1), bad])
    assert not ledger.state_dict()["open"][0][5]


def test_ids_may_not_come_again():
    ledger = dealt(2)
    with pytest.raises(ArgumentError, match="groups: expected ids from 2 on, got 1"):
        ledger.deal([1], [0], step=1, version=0)
    with pytest.raises(ArgumentError, match="max_staleness: expected 0 or more steps, got -1"):
        GroupLedger(-1)
