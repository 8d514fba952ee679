"""What a class names as its state is saved, checked and restored, and nothing else happens."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from insight_ext import CheckpointError, Prompt, PromptPool
from insight_ext.beliefs.pool_change import PoolChange
from insight_ext.selectors import make_selector
from insight_ext.selectors.base import NONE, Selector
from insight_ext.state import Stateful, carried

SIZE = 6


class Memory(Stateful):
    """A part with rows of several columns, and a table whose first column names prompts."""

    what = "memory"
    per_prompt = ("rows",)
    positions = ("_history",)

    def __init__(self, size: int) -> None:
        self.rows = torch.zeros(size, 2)
        self._history = torch.empty(0, 2, dtype=torch.int64)


class Counter(Stateful):
    """Something of every kind."""

    what = "counter"
    settings = ("rate", "name")
    of_pool = ("digest",)
    per_prompt = ("counts",)
    positions = (("_queue", "_weights"),)
    values = ("_step", "_mean", "table")
    parts = ("memory", "nothing")

    def __init__(self, size: int, digest: str = "a") -> None:
        self.rate, self.name, self.digest = 0.5, "counter", digest
        self.counts = torch.zeros(size, dtype=torch.int32)
        self._queue, self._weights = NONE, torch.empty(0)
        self._step, self._mean, self.table = 0, torch.zeros(3), {"a": torch.zeros(2)}
        self.memory, self.nothing = Memory(size), None


FLOATS = st.floats(width=32, allow_nan=False)


@st.composite
def counters(draw: Any, size: int = SIZE) -> Counter:
    """A counter that has lived."""
    counter = Counter(size)
    prompts = st.lists(st.integers(0, size - 1), max_size=8)
    counter.counts = torch.tensor(
        draw(st.lists(st.integers(0, 99), min_size=size, max_size=size)), dtype=torch.int32
    )
    queue = draw(prompts)
    counter._queue = torch.tensor(queue, dtype=torch.int64)
    counter._weights = torch.tensor([draw(FLOATS) for _ in queue], dtype=torch.float32)
    counter._step = draw(st.integers(0, 1000))
    counter._mean = torch.tensor([draw(FLOATS) for _ in range(3)], dtype=torch.float32)
    counter.table = {"a": torch.tensor([draw(FLOATS), 1.0])}
    counter.memory.rows += draw(FLOATS)
    history = [[prompt, draw(st.integers(0, 9))] for prompt in draw(prompts)]
    counter.memory._history = torch.tensor(history, dtype=torch.int64).reshape(-1, 2)
    return counter


def written_and_read(state: Any) -> Any:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def entries(state: Any) -> Any:
    """A state as lists and primitives, which can be compared."""
    if isinstance(state, dict):
        return {name: entries(value) for name, value in state.items()}
    if isinstance(state, list):
        return [entries(value) for value in state]
    return state.tolist() if isinstance(state, torch.Tensor) else state


@given(counters())
def test_what_was_saved_comes_back(counter):
    other = Counter(SIZE)
    other.load_state_dict(written_and_read(counter.state_dict()))
    assert entries(other.state_dict()) == entries(counter.state_dict())


def test_a_state_is_a_copy_both_ways():
    counter, other = Counter(SIZE), Counter(SIZE)
    counter._queue = torch.tensor([1, 2])
    counter._weights = torch.ones(2)
    state = counter.state_dict()
    other.load_state_dict(state)
    before = entries(state)
    for each in (counter, other):
        each.counts += 1
        each._queue[0] = 5
        each._mean += 1
        each.table["a"] += 1
        each.memory.rows += 1
    assert entries(state) == before


def places(state: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place of a state, as the keys that lead to it."""
    found = [path] if path else []
    if isinstance(state, (dict, list)):
        keys = state if isinstance(state, dict) else range(len(state))
        found += [place for key in keys for place in places(state[key], (*path, key))]
    return found


GARBAGE = (
    torch.full((2, 2, 2), 7.0),
    torch.tensor([10**9]),
    torch.tensor([[-1, 0]]),
    torch.tensor(3),
    {},
    {"a": 1},
    [],
    [torch.ones(1)],
    object(),
)


@given(counters(), st.data())
def test_a_damaged_state_is_taken_whole_or_refused_with_nothing_changed(counter, data):
    state = copy.deepcopy(counter.state_dict())
    *path, key = data.draw(st.sampled_from(places(state)))
    holder = state
    for name in path:
        holder = holder[name]
    if data.draw(st.booleans()):
        del holder[key]
    else:
        holder[key] = data.draw(st.sampled_from(GARBAGE))
    other = Counter(SIZE)
    other._queue, other._weights = torch.tensor([4]), torch.tensor([0.5])
    before = entries(other.state_dict())
    try:
        other.load_state_dict(state)
    except CheckpointError:
        assert entries(other.state_dict()) == before
    else:  # what cannot be told from a sound state, such as another number or another table
        own, taken = entries(other.state_dict()), entries(state)
        for section in ("per_prompt", "positions", "settings", "of_pool"):
            assert own[section].items() <= taken[section].items()
        assert type(other._step) is int


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda s: s.pop("values"), "counter: expected a saved state with the entries kind"),
        (lambda s: s.update(values=None), "counter: expected a saved state"),
        (lambda s: s.update(kind="Other"), "counter: expected kind Counter, .* has Other"),
        (lambda s: s["settings"].update(rate=0.25), "expected rate 0.5, the checkpoint has 0.25"),
        (lambda s: s["of_pool"].update(digest="b"), "expected digest a, the checkpoint has b"),
        (lambda s: s["per_prompt"].pop("counts"), "expected counts in the checkpoint, found none"),
        (lambda s: s["per_prompt"].update(counts=torch.zeros(6)), "expected counts like a int32"),
        (lambda s: s["values"].update(mean=torch.zeros(4)), r"mean like .* \(3,\), .* \(4,\)"),
        (lambda s: s["positions"]["queue"].pop(), "expected queue as 2 columns of one length"),
        (
            lambda s: s["positions"].update(queue=[torch.tensor([6]), torch.ones(1)]),
            r"expected queue to hold positions in \[0, 6\), the checkpoint has 6",
        ),
        (
            lambda s: s["parts"]["memory"]["positions"].update(history=[torch.tensor([[-1, 0]])]),
            r"memory: expected history to hold positions in \[0, 6\), the checkpoint has -1",
        ),
        (lambda s: s["parts"].update(memory=None), "expected memory Memory, the checkpoint has No"),
        (lambda s: s["parts"].update(nothing={}), "expected nothing None, the checkpoint has ano"),
    ],
)
def test_what_does_not_fit_is_named(damage, message):
    counter, state = Counter(SIZE), Counter(SIZE).state_dict()
    damage(state)
    before = entries(counter.state_dict())
    with pytest.raises(CheckpointError, match=message):
        counter.load_state_dict(state)
    assert entries(counter.state_dict()) == before


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        ([0.1, 0.2, 0.35], r"expected prior\[0\]\[2\] 3.79.*, the checkpoint has 3.40.*;"),
        ([0.5] * 4, r"prior\[0\] a float32 tensor of shape \(4,\), .* tensor of shape \(3,\);"),
        (None, "prior_kind one prior for all prompts, .* has a prior for each prompt; resume with"),
    ],
    ids=["value", "length", "none"],
)
def test_of_lists_of_tensors_the_place_that_differs_is_named(prior, message):
    run = make_selector("mopps", 3, prior=torch.tensor([0.1, 0.2, 0.3]))
    options = {} if prior is None else {"prior": torch.tensor(prior)}
    other = make_selector("mopps", len(prior or "abc"), **options)
    with pytest.raises(CheckpointError, match=message):
        other.load_state_dict(run.state_dict())


def test_of_a_tables_columns_each_ones_type_and_length_is_told():
    counter, state = Counter(SIZE), Counter(SIZE).state_dict()
    state["positions"]["queue"] = [torch.tensor([1, 2]), torch.ones(3)]
    told = r"a int64 tensor of shape \(2,\) and a float32 tensor of shape \(3,\); it is damaged"
    with pytest.raises(CheckpointError, match=f"as 2 columns of one length, the .* {told}"):
        counter.load_state_dict(state)


def pool(names: str) -> PromptPool:
    return PromptPool(Prompt(name, f"{name}?", "1") for name in names)


@given(counters(), st.permutations("abcdefgh").map(lambda p: "".join(p[:5])))
def test_a_state_is_carried_over_prompt_by_prompt(counter, names):
    before, now = pool("abcdef"), pool(names)
    change, fresh = PoolChange(before.state_dict(), now), Counter(5, digest="b")
    saved = counter.state_dict()
    kept = entries(saved)
    fresh.load_state_dict(carried(saved, Counter(5, digest="b").state_dict(), change))
    assert entries(saved) == kept
    for place, name in enumerate(names):
        was = "abcdef".find(name)
        row = counter.memory.rows[was].tolist() if was >= 0 else [0.0, 0.0]
        assert fresh.counts[place] == (counter.counts[was] if was >= 0 else 0)
        assert fresh.memory.rows[place].tolist() == row

    def stays(position: int) -> bool:
        return "abcdef"[position] in names

    queue = [(before.ids[i], w) for i, w in zip(counter._queue, counter._weights, strict=True)]
    assert [(now.ids[i], w) for i, w in zip(fresh._queue, fresh._weights, strict=True)] == [
        (name, weight) for name, weight in queue if name in names
    ]
    history = [(before.ids[i], n) for i, n in counter.memory._history.tolist() if stays(i)]
    assert [(now.ids[i], n) for i, n in fresh.memory._history.tolist()] == history
    assert (fresh._step, fresh.digest) == (counter._step, "b")


@given(counters(), st.data())
def test_a_damaged_state_is_not_carried_over(counter, data):
    change, fresh = PoolChange(pool("abcdef").state_dict(), pool("fab")), Counter(3)
    state = copy.deepcopy(counter.state_dict())
    *path, key = data.draw(st.sampled_from(places(state)))
    holder = state
    for name in path:
        holder = holder[name]
    holder[key] = data.draw(st.sampled_from(GARBAGE))
    try:
        fresh.load_state_dict(carried(state, Counter(3).state_dict(), change))
    except CheckpointError:
        assert entries(fresh.state_dict()) == entries(Counter(3).state_dict())


class MostFailures(Selector):
    per_prompt = ("failures",)

    def __init__(self, pool_size: int, *, seed: int = 0) -> None:
        super().__init__(pool_size, seed=seed)
        self.failures = torch.zeros(pool_size)

    def select(self, k, *, step, exclude):
        scores = self.failures.clone()
        scores[exclude] = -1.0
        return scores.topk(k).indices

    def observe(self, indices, successes, rollouts, *, step):
        self.failures[indices] += rollouts - successes


def test_your_own_selector_of_fifteen_lines_resumes_and_survives_a_changed_pool():
    own, resumed = MostFailures(4), MostFailures(4)
    own.observe(torch.tensor([1, 3]), torch.tensor([2, 0]), torch.tensor([8, 8]), step=0)
    resumed.load_state_dict(written_and_read(own.state_dict()))
    assert resumed.select(2, step=1, exclude=NONE).tolist() == [3, 1]
    change = PoolChange(pool("abcd").state_dict(), pool("dxb"))
    moved = MostFailures(3)
    moved.load_state_dict(carried(own.state_dict(), MostFailures(3).state_dict(), change))
    assert moved.failures.tolist() == [8.0, 0.0, 6.0]
    with pytest.raises(CheckpointError, match="selector: expected failures like"):
        MostFailures(3).load_state_dict(own.state_dict())
