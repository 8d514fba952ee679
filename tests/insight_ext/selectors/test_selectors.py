"""What every selector promises, whatever its strategy."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from insight_ext import ArgumentError, CheckpointError, ObservationError
from insight_ext.selectors import SELECTORS, BeliefSelector, Selector, make_selector
from insight_ext.selectors.base import NONE, next_of, without

NAMES = pytest.mark.parametrize("name", SELECTORS)
FADING = pytest.mark.parametrize("name", [name for name in SELECTORS if name != "bots"])
PREDICTIVE = ("gps",)


def make(name: str, pool_size: int, **options) -> BeliefSelector:
    """The selector, with features where it can use them."""
    if name in PREDICTIVE:
        options["features"] = torch.randn(pool_size, 3, generator=torch.Generator().manual_seed(1))
    return make_selector(name, pool_size, **options)


def turns(selector: Selector, k: int, steps: int, first: int = 0) -> Iterator[list[int]]:
    """Steps of a loop with outcomes that depend on the prompt alone."""
    for step in range(first, first + steps):
        chosen = selector.select(k, step=step, exclude=NONE)
        selector.observe(chosen, chosen % 9, torch.full_like(chosen, 8), step=step)
        yield chosen.tolist()


def run(selector: Selector, k: int, steps: int, first: int = 0) -> list[list[int]]:
    """What those steps were dealt."""
    return list(turns(selector, k, steps, first))


def dealt(selector: Selector, sizes: list[int], step: int, exclude: torch.Tensor = NONE):
    """What a step is dealt that asks several times."""
    chosen = NONE
    for k in sizes:
        more = selector.select(k, step=step, exclude=torch.cat((exclude, chosen)))
        chosen = torch.cat((chosen, more))
    return chosen


@NAMES
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_a_selection_is_k_distinct_prompts_of_the_pool(name, data):
    n = data.draw(st.integers(1, 50))
    options = {"exploration": data.draw(st.sampled_from([0.0, 0.3, 1.0]))}
    selector = make(name, n, seed=data.draw(st.integers(0, 5)), **options)
    for step in range(4):
        k = data.draw(st.integers(1, n))
        chosen = selector.select(k, step=step)
        assert chosen.dtype == torch.int64
        assert len(set(chosen.tolist())) == k
        assert set(chosen.tolist()) <= set(range(n))
        selector.observe(chosen, chosen % 9, 8, step=step)


@NAMES
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_what_is_excluded_is_not_selected_and_the_rest_can_be(name, data):
    n = data.draw(st.integers(1, 40))
    options = {"exploration": data.draw(st.sampled_from([0.0, 0.3]))}
    selector = make(name, n, **options)
    for step in range(3):
        out = data.draw(st.permutations(range(n)))[: data.draw(st.integers(0, n - 1))]
        free = n - len(out)
        sizes = []
        while free and data.draw(st.booleans()):
            sizes.append(data.draw(st.integers(1, free)))
            free -= sizes[-1]
        if free:
            sizes.append(free)
        chosen = dealt(selector, sizes, step, torch.tensor(out, dtype=torch.int64))
        assert sorted(chosen.tolist() + out) == list(range(n))
        selector.observe(chosen, chosen % 9, 8, step=step)


WHOLE_POOL = ("insight", "mopps", "expected_difficulty", "inverse_evidence", "mixed_group", "bots",
              "dps", "adarft", "prioritized")  # fmt: skip


@pytest.mark.parametrize("exploration", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("name", WHOLE_POOL)
def test_a_step_dealt_one_by_one_is_the_step_dealt_at_once(name, exploration):
    options = {"candidate_ratio": None, "exploration": exploration}
    one_by_one, at_once, in_parts = (make(name, 2000, **options) for _ in range(3))
    for step in range(4):
        out = torch.arange(step, 2000, 41)
        chosen = dealt(at_once, [256], step, out)
        assert dealt(one_by_one, [1] * 256, step, out).tolist() == chosen.tolist()
        assert dealt(in_parts, [7, 100, 149], step, out).tolist() == chosen.tolist()
        for selector in (one_by_one, at_once, in_parts):
            selector.observe(chosen, chosen % 9, 8, step=step)


@pytest.mark.parametrize("name", ["insight", "expected_difficulty", "mixed_group"])
def test_the_index_of_the_pool_answers_as_the_pass_over_it_does(name, monkeypatch):
    indexed, passed = (make(name, 3000, candidate_ratio=None, seed=4) for _ in range(2))
    monkeypatch.setattr(passed, "_pool_index", lambda: None)
    for step in range(8):
        out = torch.arange(step, 3000, 50)
        chosen = dealt(indexed, [40, 1, 1, 30], step, out)
        assert torch.equal(chosen, dealt(passed, [40, 1, 1, 30], step, out))
        assert indexed.metrics() == passed.metrics()
        for selector in (indexed, passed):
            selector.observe(chosen, chosen % 9, 8, step=step)
    assert indexed._index is not None
    assert passed._index is None


@NAMES
def test_equal_seeds_choose_equally_and_others_do_not(name):
    one, same, other = (make(name, 1000, seed=s) for s in (1, 1, 2))
    chosen = [run(selector, 16, steps=5) for selector in (one, same, other)]
    assert chosen[0] == chosen[1]
    assert name == "file_order" or chosen[0] != chosen[2]


@NAMES
def test_a_resumed_selector_goes_on_bit_for_bit(name):
    selector = make(name, 40, seed=3, decay=0.75)
    run(selector, 7, steps=7)
    resumed = make(name, 40, seed=3, decay=0.75)
    resumed.load_state_dict(saved_and_read(selector))
    for here, there in zip(
        turns(selector, 7, 7, first=7), turns(resumed, 7, 7, first=7), strict=True
    ):
        assert here == there
        assert selector.metrics() == resumed.metrics()


@NAMES
def test_a_selector_resumes_after_its_first_step(name):
    selector, resumed = (make(name, 40) for _ in range(2))
    run(selector, 7, steps=1)
    resumed.load_state_dict(saved_and_read(selector))
    assert run(selector, 7, 3, first=1) == run(resumed, 7, 3, first=1)


@NAMES
@pytest.mark.parametrize("exploration", [0.0, 0.3])
def test_a_selector_resumed_within_a_step_goes_on_bit_for_bit(name, exploration):
    selector, resumed = (make(name, 60, exploration=exploration) for _ in range(2))
    run(selector, 9, steps=3)
    chosen = dealt(selector, [6, 1, 1], step=3)
    resumed.load_state_dict(saved_and_read(selector))
    assert selector.metrics() == resumed.metrics()
    here, there = (dealt(each, [1, 5, 1, 9], 3, chosen) for each in (selector, resumed))
    assert here.tolist() == there.tolist()
    assert selector.metrics() == resumed.metrics()
    everything = torch.cat((chosen, here))
    for each in (selector, resumed):
        each.observe(everything, everything % 9, 8, step=3)
    assert run(selector, 9, 3, first=4) == run(resumed, 9, 3, first=4)
    assert entries(selector.state_dict()) == entries(resumed.state_dict())


@NAMES
def test_a_state_takes_the_place_of_what_was_chosen_before(name):
    selector, used = (make(name, 400) for _ in range(2))
    run(selector, 9, steps=3)
    chosen = dealt(selector, [6, 1], step=3)
    run(used, 11, steps=2)
    dealt(used, [3, 1], step=3)
    used.load_state_dict(saved_and_read(selector))
    here, there = (dealt(each, [1, 4, 1], 3, chosen) for each in (selector, used))
    assert here.tolist() == there.tolist()


@NAMES
@pytest.mark.parametrize("k", [0, -1, 11])
def test_k_outside_the_pool_is_refused(name, k):
    with pytest.raises(ArgumentError, match=rf"k: expected an integer in \[1, 10\], .*got {k}$"):
        make(name, 10).select(k, step=0)


@NAMES
def test_more_than_what_is_not_excluded_is_refused(name):
    with pytest.raises(ArgumentError, match=r"k: expected an integer in \[1, 3\], .* got 4"):
        make(name, 10).select(4, step=0, exclude=torch.arange(7))


@NAMES
def test_the_share_of_unseen_prompts_is_reported(name):
    selector = make(name, 10)
    shares = [selector.metrics()["frac_unseen"] for _ in turns(selector, 10, steps=2)]
    assert shares == [1.0, 0.0]


@NAMES
def test_a_bad_observation_changes_nothing(name):
    selector = make(name, 10)
    run(selector, 4, steps=1)
    before = saved(selector)
    for indices, successes in (
        ([1, 2], [3, 9]),
        ([1, 10], [3, 3]),
        ([1, 2], [-1, 3]),
        ([1], [8.5 if selector.takes_parts else 2.5]),
    ):
        with pytest.raises(ObservationError):
            selector.observe(indices, successes, 8, step=1)
        assert saved(selector) == before
    with pytest.raises(ArgumentError):
        selector.select(11, step=1)
    assert saved(selector) == before


@NAMES
@pytest.mark.parametrize("successes", [0, 8])
def test_a_run_without_any_mixed_group_goes_on(name, successes):
    selector = make(name, 12)
    for step in range(15):
        chosen = selector.select(4, step=step)
        assert len(set(chosen.tolist())) == 4
        selector.observe(chosen, [successes] * 4, 8, step=step)
    for column in selector.explain(range(12)).values():
        assert bool(torch.isfinite(column.double()).all())
    assert all(math.isfinite(value) for value in selector.metrics().values())


@NAMES
def test_a_pool_of_one_prompt_is_a_pool(name):
    selector = make(name, 1)
    assert run(selector, 1, steps=4) == [[0]] * 4


def saved(selector: BeliefSelector) -> bytes:
    """The state as it would be written."""
    file = io.BytesIO()
    torch.save(selector.state_dict(), file)
    return file.getvalue()


def entries(state: Any) -> Any:
    """A state as lists and primitives, which can be compared."""
    if isinstance(state, dict):
        return {name: entries(value) for name, value in state.items()}
    if isinstance(state, list):
        return [entries(value) for value in state]
    return state.tolist() if isinstance(state, torch.Tensor) else state


def saved_and_read(selector: Selector):
    """The state as it comes from a file."""
    file = io.BytesIO()
    torch.save(selector.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


class Elsewhere(torch.Tensor):
    """Stands for a tensor on another device: only what `to` makes of it meets other tensors."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func is torch.Tensor.to:
            return args[0].as_subclass(torch.Tensor).clone()
        if func in (torch.equal, torch.isin):
            raise RuntimeError("expected all tensors to be on the same device")
        return super().__torch_function__(func, types, args, kwargs)


@NAMES
def test_results_from_another_device_are_taken(name):
    selector, plain = (make(name, 20) for _ in range(2))
    chosen = selector.select(4, step=0)
    assert torch.equal(chosen, plain.select(4, step=0))
    selector.observe(chosen.as_subclass(Elsewhere), chosen % 9, 8, step=0)
    plain.observe(chosen, chosen % 9, 8, step=0)
    assert torch.equal(selector.posterior.alpha, plain.posterior.alpha)


@NAMES
@pytest.mark.parametrize("change", [{"seed": 1}, {"pool_size": 9}, {"decay": 0.25}])
def test_a_state_of_other_settings_is_refused_and_changes_nothing(name, change):
    saved = make(name, **{"pool_size": 10, "seed": 0, **change})
    run(saved, 4, steps=1)
    selector, untouched = (make(name, 10, seed=0) for _ in range(2))
    with pytest.raises(CheckpointError, match="expected"):
        selector.load_state_dict(saved.state_dict())
    assert run(selector, 3, steps=4) == run(untouched, 3, steps=4)


@FADING
def test_a_refill_does_not_age_the_beliefs(name):
    selector = make(name, 40, half_life=3.0)
    run(selector, 8, steps=2)
    before = selector.explain(range(40))
    dealt(selector, [4, 1, 1, 9], step=2)
    after = selector.explain(range(40))
    for column in ("alpha", "beta", "age", "success_rate"):
        assert torch.equal(before[column], after[column])


@pytest.mark.parametrize(
    ("step", "exclude", "named"),
    [("1", NONE, "step"), (0, [1], "exclude")],
    ids=["step", "exclude"],
)
def test_what_is_no_step_and_no_tensor_of_positions_is_refused(step, exclude, named):
    with pytest.raises(ArgumentError, match=f"^{named}: expected "):
        make_selector("insight", 8).select(2, step=step, exclude=exclude)


@NAMES
def test_exploration_reaches_prompts_that_the_strategy_would_not(name):
    selector = make(name, 50, exploration=1.0)
    assert {i for step in run(selector, 5, steps=60) for i in step} == set(range(50))


def test_exploration_is_a_share_of_the_step_however_it_is_dealt():
    selector = make("inverse_evidence", 1000, exploration=0.25)
    selector.observe(range(100, 1000), [4] * 900, 8, step=0)
    for step, sizes in enumerate(([40], [1] * 40, [13, 27]), start=1):
        chosen = dealt(selector, sizes, step)
        # One of ten prompts drawn uniformly is unseen too, of the others all.
        assert 6 <= int((chosen >= 100).sum()) <= 10


def test_the_prompts_drawn_are_spread_evenly():
    """Chi-squared over the 30 prompts that can be, at the level of one in a thousand."""
    selector = make("uniform", 40, exploration=1.0)
    counts, out = torch.zeros(40), torch.tensor([39, 3, *range(8, 16)])
    for step in range(3000):
        counts[selector.select(1, step=step, exclude=out)] += 1
    assert int(counts[out].sum()) == 0
    assert float(((counts - 100) ** 2 / 100).sum()) - len(out) * 100 < 58.3


@given(st.sets(st.integers(0, 30), max_size=20))
def test_places_among_those_not_excluded_are_prompts_of_the_pool(excluded):
    free = [i for i in range(31) if i not in excluded]
    out = torch.tensor(list(excluded), dtype=torch.int64)
    assert without(torch.arange(len(free)), out).tolist() == free


@given(st.permutations(range(12)), st.integers(0, 14), st.sets(st.integers(0, 14)))
def test_a_queue_gives_the_first_that_are_not_excluded(order, k, excluded):
    out = torch.tensor(list(excluded), dtype=torch.int64)
    chosen, left = next_of(torch.tensor(order), k, out)
    free = [i for i in order if i not in excluded]
    assert chosen.tolist() == free[:k]
    assert left.tolist() == [i for i in order if i not in free[:k]]


@NAMES
def test_a_choice_is_explained_by_one_number_per_prompt(name):
    selector = make(name, 20)
    run(selector, 8, steps=2)
    columns = selector.explain([3, 5, 3])
    assert {"success_rate", "alpha", "beta", "visits", "age"} <= set(columns)
    for column in columns.values():
        assert column.shape == (3,)
        assert column[0] == column[2]


@FADING
def test_evidence_that_has_faded_does_not_come_back_with_the_next_visit(name):
    selector = make(name, 20, half_life=0.1, decay=1.0)
    selector.observe([0], [8], 8, step=0)
    selector.observe([0], [0], 8, step=20)
    alpha, beta = (side[0] for side in selector.posterior.current())
    assert (float(alpha), float(beta)) == (1.0, 9.0)


def test_parts_of_successes_are_refused_where_a_prior_is_fitted_to_counts():
    selector = make("insight", 80, prior="empirical")
    with pytest.raises(ObservationError, match="successes: expected integers"):
        selector.observe(range(80), torch.full((80,), 0.5), 8, step=0)
    assert int(selector.posterior.visits.sum()) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exploration": 1.5}, "exploration: expected a share in"),
        ({"half_life": 0.0}, "half_life: expected a positive"),
        ({"seed": -1}, "seed: expected a whole number"),
    ],
)
@NAMES
def test_bad_common_options_are_refused(name, options, message):
    with pytest.raises(ArgumentError, match=message):
        make(name, 10, **options)


@pytest.mark.parametrize("name", PREDICTIVE)
def test_bad_features_are_refused_with_the_first_bad_row(name):
    features = torch.ones(10, 2)
    features[4, 1] = float("nan")
    with pytest.raises(ArgumentError, match=r"features\[4\]: expected finite"):
        make_selector(name, 10, features=features)
    with pytest.raises(ArgumentError, match=r"expected shape \(10, d\)"):
        make_selector(name, 10, features=torch.ones(9, 2))


def test_gps_without_embeddings_is_refused():
    with pytest.raises(ArgumentError, match="gps: expected embeddings"):
        make_selector("gps", 10)


@pytest.mark.parametrize("name", PREDICTIVE)
def test_a_state_of_other_features_is_refused(name):
    saved = make_selector(name, 10, features=torch.ones(10, 2))
    with pytest.raises(CheckpointError, match="expected features"):
        make(name, 10).load_state_dict(saved.state_dict())


def test_a_state_of_another_strategy_is_refused():
    with pytest.raises(CheckpointError, match="expected kind InSight, .* Uniform"):
        make_selector("insight", 10).load_state_dict(make_selector("uniform", 10).state_dict())


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ArgumentError, match=r"unknown selector 'magic'.*uniform, file_order"):
        make_selector("magic", 10)


def test_an_option_that_a_strategy_does_not_take_is_refused():
    with pytest.raises(ArgumentError, match="selector 'uniform'.*exploration.*got 'eta'$"):
        make_selector("uniform", 10, eta=3.0)


@NAMES
def test_a_mistyped_option_is_named_with_the_nearest_and_all(name):
    with pytest.raises(ArgumentError) as caught:
        make_selector(name, 10, half_lif=3.0)
    message = str(caught.value)
    assert "got 'half_lif'; did you mean 'half_life'?" in message
    for option in ("seed", "prior", "decay", "half_life", "exploration"):
        assert f"{option}, " in message or f", {option}" in message
    assert "common" not in message
    assert "pool_size" not in message


def test_a_mistyped_option_of_a_model_is_named():
    with pytest.raises(ArgumentError, match="gps: model: .*got 'widht'; did you mean 'width'"):
        make_selector("gps", 10, features=torch.ones(10, 2), model={"widht": 8})


def test_your_own_strategy_is_found_by_its_import_path():
    path = "insight_ext.selectors.uniform:Uniform"
    assert type(make_selector(path, 10)).__name__ == "Uniform"


@pytest.mark.parametrize("path", ["nowhere:X", "math:X", "math:pi", "builtins:int"])
def test_an_import_path_that_leads_to_no_selector_is_refused(path):
    with pytest.raises(ArgumentError, match=path):
        make_selector(path, 10)


@pytest.mark.parametrize(
    "indices",
    [[True, False], [1.7], [-1], [2**64 - 1], np.array([2**64 - 1], np.uint64), [8], ["1"], None],
)
def test_what_is_no_position_is_neither_predicted_nor_explained(indices):
    selector = make_selector("insight", 8)
    for call in (selector.predict, selector.explain):
        with pytest.raises(ArgumentError, match=r"indices: expected positions in \[0, 8\)"):
            call(indices)


@pytest.mark.parametrize("k", [True, 1.0, "1", None, 2**64])
def test_what_is_no_number_of_prompts_is_refused(k):
    with pytest.raises(ArgumentError, match="k: expected an integer"):
        make_selector("insight", 8).select(k, step=0)
