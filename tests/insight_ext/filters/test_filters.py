"""What every filter promises, whatever its strategy."""

from __future__ import annotations

import io
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from insight_ext import ArgumentError, CheckpointError, ObservationError
from insight_ext.filters import FILTERS, Filter, Groups, make_filter

NAMES = pytest.mark.parametrize("name", FILTERS)


def groups(seed: int, g: int = 8, k: int = 8, pool: int = 40, chance: float | None = None):
    generator = torch.Generator().manual_seed(seed)
    rate = torch.rand(g, 1, generator=generator) if chance is None else torch.tensor(chance)
    return Groups(
        torch.randperm(pool, generator=generator)[:g],
        (torch.rand(g, k, generator=generator) < rate).float(),
        1.0 + torch.rand(g, k, generator=generator),
    )


def step(chosen: Filter, seed: int, target: int = 8) -> tuple[list[int], int]:
    """One training step with random outcomes; the prompts trained on and the rollouts spent."""
    batches = [groups(100 * seed, target)]
    while True:
        verdict = chosen.judge(batches, target)
        if verdict.settled:
            prompts = torch.cat([batch.indices for batch in batches])[verdict.train]
            return prompts.tolist(), sum(batch.rollouts for batch in batches)
        more = groups(100 * seed + len(batches), verdict.wanted + len(verdict.recall))
        if len(verdict.recall):
            more = Groups(verdict.recall, more.rewards, more.uncertainty)
        batches.append(more)


@NAMES
@given(seed=st.integers(0, 1000))
def test_a_step_trains_on_distinct_prompts_and_no_more_than_wanted(name, seed):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prompts, _ = step(make_filter(name), seed)
    assert len(set(prompts)) == len(prompts) <= 8


@NAMES
def test_every_rollout_counts(name):
    chosen = make_filter(name)
    spent = [step(chosen, seed)[1] for seed in range(5)]
    assert chosen.rollouts == sum(spent)
    assert chosen.metrics()["filter_rollouts"] == spent[-1]


@NAMES
def test_rollouts_of_prompts_given_up_count(name):
    chosen = make_filter(name)
    batch = groups(1)
    batch = Groups(batch.indices, batch.rewards, batch.uncertainty, abandoned=12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        chosen.judge([batch], 8, refillable=False)
    assert chosen.rollouts == 8 * 8 + 12


@NAMES
@pytest.mark.parametrize("chance", [0.0, 1.0])
def test_a_step_without_any_spread_ends_with_nothing_to_train_on_and_a_warning(name, chance):
    chosen = make_filter(name)
    with pytest.warns(UserWarning, match="none, since no rewards vary"):
        verdict = chosen.judge([groups(i, chance=chance) for i in range(10)], 8)
    assert verdict.settled
    assert len(verdict.train) == 0
    assert chosen.metrics()["groups_trained"] == 0.0


def test_groups_that_vary_are_trained_on_if_none_passes():
    rewards = torch.tensor([[1.0, 0, 0, 0, 0, 0, 0, 0], [0.0] * 8])
    chosen = make_filter("vcrl", early=0.8)
    with pytest.warns(UserWarning, match="training on those whose rewards vary"):
        verdict = chosen.judge([Groups(torch.tensor([5, 6]), rewards)], 2)
    assert verdict.train.tolist() == [0]
    assert chosen.metrics()["filter_passed"] == 0.0


@NAMES
def test_a_prompt_that_comes_twice_is_trained_on_once(name):
    one = groups(3, chance=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        verdict = make_filter(name).judge([one, one], 16, refillable=False)
    assert 0 < len(verdict.train) <= 8
    assert verdict.train.max() < 8


@NAMES
def test_a_resumed_filter_goes_on_bit_for_bit(name):
    chosen = make_filter(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed in range(30):
            step(chosen, seed)
        file = io.BytesIO()
        torch.save(chosen.state_dict(), file)
        file.seek(0)
        resumed = make_filter(name)
        resumed.load_state_dict(torch.load(file, weights_only=True))
        for seed in range(30, 40):
            assert step(chosen, seed) == step(resumed, seed)
            assert chosen.metrics() == resumed.metrics()
    assert chosen.rollouts == resumed.rollouts


@NAMES
def test_a_state_of_another_filter_is_refused(name):
    other = next(n for n in FILTERS if n != name)
    with pytest.raises(CheckpointError, match=r"expected filter \w+, the checkpoint has \w+;"):
        make_filter(name).load_state_dict(make_filter(other).state_dict())


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("dynamic_sampling", {"max_batches": 3}),
        ("learnability", {"keep": 0.2}),
        ("speed", {"screening": 2}),
        ("uncertainty_consistency", {"gamma": 1.0}),
        ("vcrl", {"late": 0.5}),
    ],
)
def test_a_state_of_other_settings_is_refused_and_changes_nothing(name, options):
    saved, chosen = make_filter(name, **options), make_filter(name)
    saved.judge([groups(0)], 1)
    with pytest.raises(CheckpointError, match="expected settings"):
        chosen.load_state_dict(saved.state_dict())
    assert (chosen.steps, chosen.rollouts) == (0, 0)


def test_nothing_changes_before_the_verdict_is_settled():
    chosen = make_filter("vcrl")
    chosen.judge([groups(0, chance=0.5)], 8)
    before = chosen.state_dict()
    verdict = chosen.judge([groups(1, chance=0.0)], 8)
    assert not verdict.settled
    assert str(chosen.state_dict()) == str(before)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Groups(torch.arange(3), torch.zeros(2, 8)), r"\(3,\) and \(2, 8\)"),
        (lambda: Groups(torch.arange(1), torch.tensor([[torch.nan]])), "finite rewards"),
        (lambda: Groups(torch.arange(1), torch.ones(1, 2), torch.ones(1, 3)), r"got \(1, 3\)"),
        (lambda: Groups(torch.arange(1), torch.ones(1, 2), torch.zeros(1, 2)), "positive"),
    ],
)
def test_groups_that_are_none_are_refused(build, message):
    with pytest.raises(ObservationError, match=message):
        build()


def test_a_missing_uncertainty_is_named():
    batch = Groups(torch.arange(2), torch.eye(2))
    with pytest.raises(ArgumentError, match="UncertaintyConsistency: expected Groups with uncert"):
        make_filter("uncertainty_consistency").judge([batch], 2)


@pytest.mark.parametrize(("batches", "target"), [([], 4), ([groups(0)], 0)])
def test_a_step_without_batch_or_target_is_refused(batches, target):
    with pytest.raises(ArgumentError, match="judge: expected"):
        make_filter("learnability").judge(batches, target)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ArgumentError, match=r"unknown filter 'magic'.*dynamic_sampling, learnab"):
        make_filter("magic")


@NAMES
def test_an_option_that_a_filter_does_not_take_is_named_beside_those_it_takes(name):
    (option, *_) = make_filter(name).settings()
    message = f"filter '{name}': expected options among .*got '{option}_'; did you mean '{option}'"
    with pytest.raises(ArgumentError, match=message):
        make_filter(name, **{f"{option}_": 1})


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("dynamic_sampling", {"max_batches": 0}),
        ("dynamic_sampling", {"refill": 0}),
        ("learnability", {"keep": 0.0}),
        ("speed", {"screening": 1}),
        ("uncertainty_consistency", {"gamma": -0.1}),
        ("uncertainty_consistency", {"keep": 1.5}),
        ("vcrl", {"early": 2.0}),
        ("vcrl", {"warmup": -1}),
        ("vcrl", {"kappa": 0.3}),
    ],
)
def test_an_option_outside_its_domain_is_refused(name, options):
    with pytest.raises(ArgumentError, match=next(iter(options))):
        make_filter(name, **options)
