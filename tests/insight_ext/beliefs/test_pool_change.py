from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from insight_ext import CheckpointError, Prompt, PromptPool
from insight_ext.beliefs.pool_change import PoolChange
from insight_ext.selectors import SELECTORS, make_selector
from insight_ext.state import carried

NAMES = st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=12, unique=True)


def pool(names, rewritten=()):
    return PromptPool(
        Prompt(name, f"what about {name}?", "no" if name in rewritten else "yes") for name in names
    )


@given(before=NAMES, now=NAMES, data=st.data())
def test_every_prompt_is_found_again_by_its_id(before, now, data):
    rewritten = data.draw(st.sets(st.sampled_from(now)))
    kept = [name for name in now if name in before and name not in rewritten]
    saved = pool(before).state_dict()
    if not kept:
        with pytest.raises(CheckpointError, match="another pool"):
            PoolChange(saved, pool(now, rewritten))
        return
    change = PoolChange(saved, pool(now, rewritten))
    found = [before[i] if i >= 0 else None for i in change.source.tolist()]
    assert found == [name if name in kept else None for name in now]
    assert change.kept == len(kept)
    assert change.lost == [name for name in before if name not in now]
    assert change.gained == [name for name in now if name not in before]
    assert change.rewritten == [n for n in now if n in before and n in rewritten]
    assert change.reordered == (sorted(kept, key=before.index) != kept)
    positions = change.positions(torch.arange(len(before)))
    assert [now[i] for i in positions.tolist()] == [name for name in before if name in kept]


def test_equal_pools_have_nothing_to_carry():
    change = PoolChange(pool("abc").state_dict(), pool("abc"))
    assert str(change) == "3 of 3 prompts kept"
    assert change.source.tolist() == [0, 1, 2]


def test_a_large_pool_is_compared_in_one_pass():
    names = [str(i) for i in range(100_000)]
    change = PoolChange(pool(names).state_dict(), pool(names[1:]))
    assert (change.lost, change.kept) == (["0"], 99_999)


def test_a_damaged_state_is_refused():
    saved = pool("abc").state_dict()
    for damage in (
        {"ids": saved["ids"][:-1] * 0 + 255},
        {"contents": torch.zeros(2)},
        {"ids": 3},
        {"lengths": torch.tensor([3, -3, 3])},  # of many, each as long as all of them
        {"lengths": torch.tensor([2**62] * 3)},
    ):
        with pytest.raises(CheckpointError, match="damaged"):
            PoolChange(saved | damage, pool("abc"))


@pytest.mark.parametrize("name", sorted(SELECTORS))
def test_every_strategy_goes_on_with_a_changed_pool(name):
    before, now = (
        pool([f"p{i}" for i in range(30)]),
        pool(["new", *(f"p{i}" for i in range(29, 4, -1))]),
    )
    options = {"seed": 3}
    old = make_selector(name, len(before), pool=before, **options, **features(name))
    for step in range(6):
        chosen = old.select(5, step=step)
        old.observe(chosen, (chosen + step) % 9, 8, step=step)
    old.select(5, step=6)
    change = PoolChange(before.state_dict(), now)
    new = make_selector(name, len(now), pool=now, **options, **features(name))
    fresh = make_selector(name, len(now), pool=now, **options, **features(name))
    new.load_state_dict(carried(old.state_dict(), fresh.state_dict(), change))
    for side in ("alpha", "beta", "visits", "latest"):
        old_rows, new_rows = getattr(old.posterior, side), getattr(new.posterior, side)
        assert torch.equal(new_rows[1:], old_rows[5:].flip(0))
        assert new_rows[0] == getattr(fresh.posterior, side)[0]
    for step in range(6, 14):
        chosen = new.select(5, step=step)
        assert len(set(chosen.tolist())) == 5
        assert int(chosen.max()) < len(now)
        new.observe(chosen, chosen % 9, 8, step=step)


def features(name):
    return {"features": "ngrams:8"} if name == "gps" else {}


def test_an_epoch_keeps_its_prompts():
    before, now = pool("abcdef"), pool("fedc")
    change = PoolChange(before.state_dict(), now)
    selector = make_selector("uniform", 6, seed=1)
    dealt = selector.select(4, step=0).tolist()
    fresh = make_selector("uniform", 4, seed=1).state_dict()
    (queue,) = carried(selector.state_dict(), fresh, change)["positions"]["queue"]
    assert {now.ids[i] for i in queue} == set("cdef") - {before.ids[i] for i in dealt}


def of_kinds(kinds, first=0):
    return PromptPool(
        Prompt(f"{kind}{i}", f"{kind} {i}", "", {"kind": kind})
        for kind in kinds
        for i in range(first, first + 20)
    )


def learned(pool, source, steps=60):
    """A run of gps that saw all of the kind b solved, and nothing of others."""
    selector = make_selector("gps", len(pool), pool=pool, features=source, seed=1)
    right = torch.tensor([8 * (name[0] == "b") for name in pool.ids])
    for step in range(steps):
        selector.select(12, step=step)
        selector.observe(range(len(pool)), right, 8, step=step)
    return selector


def moved(run, before, now, source):
    """The run's selector on a changed pool."""
    change = PoolChange(before.state_dict(), now)
    new, fresh = (
        make_selector("gps", len(now), pool=now, features=source, seed=1) for _ in range(2)
    )
    new.load_state_dict(carried(run.state_dict(), fresh.state_dict(), change))
    return new


@pytest.mark.parametrize("source", ["meta:kind", "ngrams:32"])
def test_gps_knows_the_kinds_again_where_a_changed_pool_has_others(source):
    before = of_kinds("bc")
    now = PromptPool([*of_kinds("ac", 10), *of_kinds("b", 100)])
    new = moved(learned(before, source), before, now, source)
    rates = {kind: [] for kind in "abc"}
    for name, rate in zip(now.ids, new.model.success_rates().tolist(), strict=True):
        rates[name[0]].append(rate)
    means = {kind: sum(each) / len(each) for kind, each in rates.items()}
    assert means["b"] > 0.8
    assert means["c"] < 0.2
    if source == "meta:kind":
        assert means["c"] < means["a"] < means["b"]  # of a new kind nothing is known


def test_gps_goes_on_with_the_same_weights_where_a_kind_comes_first():
    before, now = of_kinds("bc"), PromptPool([*of_kinds("a"), *of_kinds("bc")])
    run = learned(before, "meta:kind", steps=5)
    run.select(6, step=5)
    new = moved(run, before, now, "meta:kind")
    for name in ("lift.weight", "from_embedding.weight"):
        old, present = (s.model.weights[name] for s in (run, new))
        assert torch.equal(present[:, 1:], old)
        assert not present[:, 0].any()
    for name in ("exp_avg", "exp_avg_sq"):
        old, present = (s.model.moments[0][name] for s in (run, new))
        assert torch.equal(present[:, 1:], old)
    torch.testing.assert_close(new.model.success_rates()[20:], run.model.success_rates())
    new.select(6, step=6)
    run.select(6, step=6)
    old, present = run.explain(range(40)), new.explain(range(20, 60))
    for name in ("score", "alpha", "beta", "visits"):
        torch.testing.assert_close(present[name], old[name])


def test_gps_refuses_features_that_have_no_column_in_common_and_names_them():
    before, now = of_kinds("bc"), PromptPool([*of_kinds("bc", 5)])
    run = learned(before, "meta:kind", steps=2)
    now = PromptPool(Prompt(p.id, p.prompt, "", {"level": "hard"}) for p in now)
    with pytest.raises(CheckpointError, match=r"columns level=hard, .* has kind=b, kind=c; resume"):
        moved(run, before, now, "meta:level")
    with pytest.raises(CheckpointError, match="expected columns None, the checkpoint has .*kind=b"):
        moved(run, before, now, "ngrams:2")
