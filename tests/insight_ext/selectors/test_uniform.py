from __future__ import annotations

from collections import Counter

import torch
from hypothesis import given
from hypothesis import strategies as st

from insight_ext.selectors import Uniform


@given(st.integers(1, 30), st.data())
def test_an_epoch_deals_every_prompt_once(n, data):
    k = data.draw(st.sampled_from([d for d in range(1, n + 1) if n % d == 0]))
    selector = Uniform(n, seed=data.draw(st.integers(0, 9)))
    steps = n // k
    for epoch in range(3):
        numbers = range(epoch * steps, (epoch + 1) * steps)
        dealt = [i for step in numbers for i in selector.select(k, step=step).tolist()]
        assert sorted(dealt) == list(range(n))


@given(st.integers(1, 30), st.data())
def test_no_prompt_falls_behind_when_batches_do_not_divide_the_pool(n, data):
    k = data.draw(st.integers(1, n))
    selector = Uniform(n)
    seen: Counter[int] = Counter()
    for step in range(12):
        seen.update(selector.select(k, step=step).tolist())
        assert max(seen.values()) - min(seen[i] for i in range(n)) <= 2


@given(st.integers(2, 20))
def test_prompts_in_flight_are_no_part_of_an_epoch_and_come_when_they_are_back(n):
    selector, out = Uniform(n), torch.tensor([0])
    for step in range(3 * (n - 1)):
        assert selector.select(1, step=step, exclude=out).tolist() != [0]
    steps = range(3 * (n - 1), 3 * (n - 1) + n)
    assert 0 in [int(selector.select(1, step=step)) for step in steps]


def test_epochs_differ():
    selector = Uniform(100)
    assert selector.select(100, step=0).tolist() != selector.select(100, step=1).tolist()


def test_prompts_in_flight_when_an_epoch_begins_come_at_its_end():
    selector = Uniform(10)
    selector.select(10, step=0)
    first = selector.select(5, step=1, exclude=torch.tensor([3, 4]))
    second = selector.select(5, step=2)
    assert sorted(torch.cat((first, second)).tolist()) == list(range(10))
    assert set(second[-2:].tolist()) == {3, 4}
