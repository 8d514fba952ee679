"""What every selector promises, whatever its strategy."""

from __future__ import annotations

import io
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from insight_ext import ArgumentError, CheckpointError, ObservationError
from insight_ext.selectors import SELECTORS, BeliefSelector, make_selector

NAMES = pytest.mark.parametrize("name", SELECTORS)
PREDICTIVE = ("gps", "insight_prior")


def make(name: str, pool_size: int, **options) -> BeliefSelector:
    """The selector, with features where it can use them."""
    if name in PREDICTIVE:
        options["features"] = torch.randn(pool_size, 3, generator=torch.Generator().manual_seed(1))
    return make_selector(name, pool_size, **options)


def step(selector: BeliefSelector, k: int, rollouts: int = 8) -> list[int]:
    """One turn of the loop with outcomes that depend on the prompt alone."""
    chosen = selector.select(k)
    selector.observe(chosen, chosen % (rollouts + 1), rollouts)
    return chosen.tolist()


@NAMES
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_a_selection_is_k_distinct_prompts_of_the_pool(name, data):
    n = data.draw(st.integers(1, 50))
    selector = make(name, n, seed=data.draw(st.integers(0, 5)))
    for _ in range(4):
        k = data.draw(st.integers(1, n))
        chosen = step(selector, k)
        assert len(set(chosen)) == k
        assert set(chosen) <= set(range(n))
        assert selector.select(1).dtype == torch.int64


@NAMES
def test_equal_seeds_choose_equally_and_others_do_not(name):
    one, same, other = (make(name, 1000, seed=s) for s in (1, 1, 2))
    chosen = [[step(p, 16) for _ in range(5)] for p in (one, same, other)]
    assert chosen[0] == chosen[1] != chosen[2]


@NAMES
def test_a_resumed_selector_goes_on_bit_for_bit(name):
    selector = make(name, 40, seed=3, decay=0.75)
    for _ in range(7):
        step(selector, 7)
    file = io.BytesIO()
    torch.save(selector.state_dict(), file)
    file.seek(0)
    resumed = make(name, 40, seed=3, decay=0.75)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for _ in range(7):
        assert step(selector, 7) == step(resumed, 7)
        assert selector.metrics() == resumed.metrics()


@NAMES
@pytest.mark.parametrize("k", [0, -1, 11])
def test_k_outside_the_pool_is_refused(name, k):
    with pytest.raises(ArgumentError, match=rf"k: expected an integer in \[1, 10\], got {k}"):
        make(name, 10).select(k)


@NAMES
def test_the_share_of_unseen_prompts_is_reported(name):
    selector = make(name, 10)
    step(selector, 10)
    assert selector.metrics()["frac_unseen"] == 1.0
    step(selector, 10)
    assert selector.metrics()["frac_unseen"] == 0.0


@NAMES
def test_a_bad_observation_changes_nothing(name):
    selector = make(name, 10)
    step(selector, 4)
    before = saved(selector)
    for indices, successes in (
        ([1, 2], [3, 9]),
        ([1, 10], [3, 3]),
        ([1, 2], [-1, 3]),
        ([1], [2.5]),
    ):
        with pytest.raises(ObservationError):
            selector.observe(indices, successes, 8)
        assert saved(selector) == before
    with pytest.raises(ArgumentError):
        selector.select(11)
    assert saved(selector) == before


@NAMES
@pytest.mark.parametrize("successes", [0, 8])
def test_a_run_without_any_mixed_group_goes_on(name, successes):
    selector = make(name, 12)
    for _ in range(15):
        chosen = selector.select(4)
        assert len(set(chosen.tolist())) == 4
        selector.observe(chosen, [successes] * 4, 8)
    for column in selector.explain(range(12)).values():
        assert bool(torch.isfinite(column.double()).all())
    assert all(math.isfinite(value) for value in selector.metrics().values())


@NAMES
def test_a_pool_of_one_prompt_is_a_pool(name):
    selector = make(name, 1)
    assert [step(selector, 1) for _ in range(4)] == [[0]] * 4


def saved(selector: BeliefSelector) -> bytes:
    """The state as it would be written."""
    file = io.BytesIO()
    torch.save(selector.state_dict(), file)
    return file.getvalue()


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
@pytest.mark.parametrize("others", [0, 1])
def test_results_from_another_device_are_taken(name, others):
    selector, plain = (make(name, 20, in_flight=2) for _ in range(2))
    for _ in range(others):
        assert torch.equal(selector.select(4), plain.select(4))
    chosen = selector.select(4)
    assert torch.equal(chosen, plain.select(4))
    selector.observe(chosen.as_subclass(Elsewhere), chosen % 9, 8)
    plain.observe(chosen, chosen % 9, 8)
    assert torch.equal(selector.posterior.alpha, plain.posterior.alpha)
    assert len(selector.state_dict()["pending"]) == others


@NAMES
@pytest.mark.parametrize("change", [{"seed": 1}, {"pool_size": 9}, {"decay": 0.25}])
def test_a_state_of_other_settings_is_refused_and_changes_nothing(name, change):
    saved = make(name, **{"pool_size": 10, "seed": 0, **change})
    step(saved, 4)
    selector, untouched = (make(name, 10, seed=0) for _ in range(2))
    with pytest.raises(CheckpointError, match="expected"):
        selector.load_state_dict(saved.state_dict())
    assert [step(selector, 3) for _ in range(4)] == [step(untouched, 3) for _ in range(4)]


@NAMES
def test_prompts_in_flight_are_not_selected_again(name):
    selector = make(name, 40, in_flight=2)
    step(selector, 10)
    first, second = selector.select(10), selector.select(10)
    assert not set(first.tolist()) & set(second.tolist())
    third = selector.select(20)
    assert set(third.tolist()) | set(first.tolist()) | set(second.tolist()) == set(range(40))


@pytest.mark.parametrize("in_flight", [1, 2, 3, 5])
def test_so_many_selections_are_in_flight_as_were_asked_for(in_flight):
    selector = make("expected_difficulty", 100, in_flight=in_flight)
    latest = [selector.select(4) for _ in range(8)][-in_flight:]
    state = selector.state_dict()["pending"]
    assert [kept.tolist() for kept in state] == [chosen.tolist() for chosen in latest]


@NAMES
@pytest.mark.parametrize("in_flight", [0, 1, 3])
def test_more_prompts_for_a_step_are_others(name, in_flight):
    selector = make(name, 40, in_flight=in_flight)
    step(selector, 8)
    dealt = selector.select(8)
    for _ in range(3):
        dealt = torch.cat((dealt, selector.more(8, dealt)))
    assert len(set(dealt.tolist())) == 32
    selector.observe(dealt, dealt % 9, 8)
    assert selector.state_dict()["pending"] == []


def test_a_prompt_whose_results_are_in_may_come_again():
    selector = make("expected_difficulty", 10)
    chosen = selector.select(9)
    selector.observe(chosen, [4] * 9, 8)
    assert len(selector.select(9)) == 9


def test_prompts_in_flight_give_way_where_the_pool_is_too_small():
    selector = make("insight", 5)
    selector.select(3)
    assert len(set(selector.select(3).tolist())) == 3


@NAMES
def test_exploration_reaches_prompts_that_the_strategy_would_not(name):
    selector = make(name, 50, exploration=1.0)
    seen = {i for _ in range(60) for i in step(selector, 5)}
    assert seen == set(range(50))


@NAMES
def test_exploration_is_a_share_of_the_selection(name):
    selector = make(name, 30, exploration=0.4)
    for _ in range(5):
        assert len(set(step(selector, 10))) == 10


@NAMES
def test_a_choice_is_explained_by_one_number_per_prompt(name):
    selector = make(name, 20)
    step(selector, 8)
    step(selector, 8)
    columns = selector.explain([3, 5, 3])
    assert {"success_rate", "alpha", "beta", "visits", "age"} <= set(columns)
    for column in columns.values():
        assert column.shape == (3,)
        assert column[0] == column[2]


@NAMES
def test_a_half_life_is_taken(name):
    selector = make(name, 20, half_life=5.0)
    for _ in range(5):
        step(selector, 6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exploration": 1.5}, "exploration: expected a share in"),
        ({"in_flight": -1}, "in_flight: expected 0 or more"),
        ({"half_life": 0.0}, "half_life: expected a positive"),
        ({"seed": -1}, "seed: expected a non-negative"),
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
    with pytest.raises(CheckpointError, match="checksum"):
        make(name, 10).load_state_dict(saved.state_dict())


def test_a_state_of_another_strategy_is_refused():
    with pytest.raises(CheckpointError, match="expected strategy InSight, .* Uniform"):
        make_selector("insight", 10).load_state_dict(make_selector("uniform", 10).state_dict())


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ArgumentError, match=r"unknown selector 'magic'.*uniform, insight"):
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
    for option in ("seed", "prior", "decay", "half_life", "exploration", "in_flight"):
        assert f"{option}, " in message or f", {option}" in message
    assert "common" not in message
    assert "pool_size" not in message


def test_a_mistyped_option_of_a_model_is_named():
    with pytest.raises(ArgumentError, match="gps: model: .*got 'widht'; did you mean 'width'"):
        make_selector("gps", 10, features=torch.ones(10, 2), model={"widht": 8})


def test_an_own_strategy_is_found_by_its_import_path():
    path = "insight_ext.selectors.uniform:Uniform"
    assert type(make_selector(path, 10)).__name__ == "Uniform"


@pytest.mark.parametrize("path", ["nowhere:X", "math:X", "math:pi", "builtins:int"])
def test_an_import_path_that_leads_to_no_selector_is_refused(path):
    with pytest.raises(ArgumentError, match=path):
        make_selector(path, 10)
