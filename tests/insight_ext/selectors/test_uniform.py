from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from insight_ext.selectors import Uniform


@given(st.integers(1, 30), st.data())
def test_an_epoch_deals_every_prompt_once(n, data):
    k = data.draw(st.sampled_from([d for d in range(1, n + 1) if n % d == 0]))
    selector = Uniform(n, seed=data.draw(st.integers(0, 9)))
    for _ in range(3):
        dealt = [i for _ in range(n // k) for i in selector.select(k).tolist()]
        assert sorted(dealt) == list(range(n))


@given(st.integers(1, 30), st.data())
def test_no_prompt_falls_behind_when_batches_do_not_divide_the_pool(n, data):
    k = data.draw(st.integers(1, n))
    selector = Uniform(n)
    seen: Counter[int] = Counter()
    for _ in range(12):
        seen.update(selector.select(k).tolist())
        assert max(seen.values()) - min(seen[i] for i in range(n)) <= 2


def test_epochs_differ():
    selector = Uniform(100)
    assert selector.select(100).tolist() != selector.select(100).tolist()
