"""What every filter promises, whatever its strategy."""

from __future__ import annotations

import io
import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from insight_ext import ArgumentError, CheckpointError, ObservationError
from insight_ext.beliefs.group import Group
from insight_ext.filters import FILTERS, Filter, Verdict, make_filter

NAMES = pytest.mark.parametrize("name", FILTERS)


def made(name: str, **options) -> Filter:
    return make_filter(name, success_threshold=1.0, **options)


def groups(
    seed: int, g: int = 8, k: int = 8, pool: int = 40, chance: float | None = None
) -> list[Group]:
    random = np.random.default_rng(seed)
    prompts = random.permutation(pool)[:g].tolist()
    rate = random.random((g, 1)) if chance is None else chance
    rewards = (random.random((g, k)) < rate).astype(float).tolist()
    uncertainty = (1.0 + random.random((g, k))).tolist()
    return [
        Group(prompt, tuple(given), perplexity=tuple(each))
        for prompt, given, each in zip(prompts, rewards, uncertainty, strict=True)
    ]


def step(chosen: Filter, seed: int, target: int = 8) -> tuple[list[int], int]:
    """One training step with random outcomes; the prompts trained on and the rollouts spent."""
    batches = [groups(100 * seed, target)]
    while True:
        verdict = chosen.judge(batches, target)
        every = [group for batch in batches for group in batch]
        if verdict.settled:
            return [every[i].prompt for i in verdict.train], 8 * len(every)
        more = groups(100 * seed + len(batches), verdict.wanted + len(verdict.recall))
        if verdict.recall:
            more = [replace(g, prompt=p) for g, p in zip(more, verdict.recall, strict=True)]
        batches.append(more)


@NAMES
@given(seed=st.integers(0, 1000))
def test_a_step_trains_on_distinct_prompts_and_no_more_than_wanted(name, seed):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prompts, _ = step(made(name), seed)
    assert len(set(prompts)) == len(prompts) <= 8


@NAMES
def test_every_rollout_counts(name):
    chosen = made(name)
    spent = [step(chosen, seed)[1] for seed in range(5)]
    assert chosen.rollouts_spent == sum(spent)
    assert chosen.metrics()["filter_rollouts"] == spent[-1]


@NAMES
def test_rollouts_of_prompts_given_up_count(name):
    chosen = made(name)
    given_up = [Group(prompt, (0.0,) * 4) for prompt in (50, 51, 52)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        chosen.judge([groups(1)], 8, abandoned=given_up, refillable=False)
    assert chosen.rollouts_spent == 8 * 8 + 12


@NAMES
@pytest.mark.parametrize("chance", [0.0, 1.0])
def test_a_step_without_any_spread_ends_with_nothing_to_train_on_and_a_warning(name, chance):
    chosen = made(name)
    with pytest.warns(UserWarning, match="none, since no rewards vary"):
        verdict = chosen.judge([groups(i, chance=chance) for i in range(10)], 8)
    assert verdict.settled
    assert len(verdict.train) == 0
    assert chosen.metrics()["groups_trained"] == 0.0


def test_groups_that_vary_are_trained_on_if_none_passes():
    batch = [Group(5, (1.0, 0, 0, 0, 0, 0, 0, 0)), Group(6, (0.0,) * 8)]
    chosen = made("vcrl", early=0.8)
    with pytest.warns(UserWarning, match="training on those whose rewards vary"):
        verdict = chosen.judge([batch], 2)
    assert verdict.train == [0]
    assert chosen.metrics()["filter_passed"] == 0.0


@NAMES
def test_a_prompt_that_comes_twice_is_trained_on_once(name):
    one = groups(3, chance=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        verdict = made(name).judge([one, one], 16, refillable=False)
    assert 0 < len(verdict.train) <= 8
    assert max(verdict.train) < 8


@NAMES
@given(seed=st.integers(0, 1000))
def test_answers_that_could_not_be_scored_change_nothing_but_the_cost(name, seed):
    scored = groups(seed)
    unscored = [
        replace(g, rewards=(*g.rewards, math.nan), perplexity=(*(g.perplexity or ()), 1.0))
        for g in scored
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one, other = made(name), made(name)
        verdict = one.judge([scored], 4, refillable=False)
        assert other.judge([unscored], 4, refillable=False) == verdict
    assert other.rollouts_spent == one.rollouts_spent + len(scored)


@NAMES
def test_a_group_without_scored_answers_is_never_trained_on(name):
    lost = [Group(40 + i, (math.nan,) * 8, perplexity=(1.0,) * 8) for i in range(8)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        verdict = made(name).judge([[*lost, *groups(0, chance=0.5)]], 16, refillable=False)
    assert verdict.train
    assert min(verdict.train) >= 8


def test_a_prompts_second_group_is_taken_where_the_first_could_not_be_scored():
    batch = [Group(3, (math.nan, math.nan)), Group(3, (0.0, 1.0)), Group(3, (1.0, 0.0))]
    assert made("dynamic_sampling").judge([batch], 1).train == [1]


@NAMES
def test_groups_of_different_sizes_are_judged_together(name):
    mixed = [g for k in (2, 3, 8, 64) for g in groups(k, g=2, k=k, chance=0.5)]
    batch = [replace(group, prompt=i) for i, group in enumerate(mixed)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        chosen = made(name)
        chosen.judge([batch], 8, refillable=False)
    assert chosen.rollouts_spent == 2 * (2 + 3 + 8 + 64)


@NAMES
def test_a_resumed_filter_goes_on_bit_for_bit(name):
    chosen = made(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed in range(30):
            step(chosen, seed)
        file = io.BytesIO()
        torch.save(chosen.state_dict(), file)
        file.seek(0)
        resumed = made(name)
        resumed.load_state_dict(torch.load(file, weights_only=True))
        for seed in range(30, 40):
            assert step(chosen, seed) == step(resumed, seed)
            assert chosen.metrics() == resumed.metrics()
    assert chosen.rollouts_spent == resumed.rollouts_spent


@NAMES
def test_a_state_of_another_filter_is_refused(name):
    other = next(n for n in FILTERS if n != name)
    with pytest.raises(CheckpointError, match=r"filter: expected kind \w+, the checkpoint has \w+"):
        made(name).load_state_dict(made(other).state_dict())


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("dynamic_sampling", {"max_batches": 3}),
        ("dynamic_sampling", {"by_spread": True}),
        ("learnability", {"keep": 0.2}),
        ("learnability", {"oversample": 2.0}),
        ("pilot_commit", {"skip": 0.5}),
        ("speed", {"screening": 2}),
        ("speed", {"max_batches": 2}),
        ("uncertainty_consistency", {"gamma": 1.0}),
        ("vcrl", {"late": 0.5}),
        ("vcrl", {"max_replays": None}),
    ],
)
def test_a_state_of_other_settings_is_refused_and_changes_nothing(name, options):
    saved, chosen = made(name, **options), made(name)
    saved.judge([groups(0)], 1)
    with pytest.raises(CheckpointError, match=f"filter: expected {next(iter(options))} "):
        chosen.load_state_dict(saved.state_dict())
    assert (chosen.steps, chosen.rollouts_spent) == (0, 0)


def test_a_state_of_another_success_threshold_is_refused():
    saved = make_filter("learnability", success_threshold=0.5)
    with pytest.raises(CheckpointError, match=r"expected success_threshold 1\.0, .* has 0\.5"):
        made("learnability").load_state_dict(saved.state_dict())


def test_nothing_changes_before_the_verdict_is_settled():
    chosen = made("vcrl")
    chosen.judge([groups(0, chance=0.5)], 8)
    before = chosen.state_dict()
    verdict = chosen.judge([groups(1, chance=0.0)], 8)
    assert not verdict.settled
    assert str(chosen.state_dict()) == str(before)


@pytest.mark.parametrize(
    ("uncertainty", "message"),
    [
        ((1.0,) * 3, "prompt 7: expected the perplexity of each of 2 answers, got 3"),
        ((1.0, 0.0), "prompt 7, answer 1: expected a positive finite perplexity, got 0.0"),
        ((math.nan, 1.0), "prompt 7, answer 0: expected a positive finite perplexity, got nan"),
        ((math.inf, 1.0), "prompt 7, answer 0: expected a positive finite perplexity, got inf"),
    ],
)
def test_uncertainties_that_are_none_are_refused_and_change_nothing(uncertainty, message):
    chosen = made("uncertainty_consistency")
    with pytest.raises(ObservationError, match=message):
        chosen.judge([[*groups(0), Group(7, (0.0, 1.0), perplexity=uncertainty)]], 2)
    assert (chosen.steps, chosen.rollouts_spent) == (0, 0)


def test_a_missing_uncertainty_is_named():
    batch = [Group(0, (1.0, 0.0)), Group(1, (0.0, 1.0))]
    with pytest.raises(ArgumentError, match="UncertaintyConsistency: expected groups with the per"):
        made("uncertainty_consistency").judge([batch], 2)


@pytest.mark.parametrize("name", ["learnability", "vcrl"])
def test_a_missing_threshold_is_named(name):
    with pytest.raises(ArgumentError, match=r"\w+: expected a success_threshold, got none; give"):
        make_filter(name).judge([groups(0)], 2)


@pytest.mark.parametrize(("batches", "target"), [([], 4), ([groups(0)], 0)])
def test_a_step_without_batch_or_target_is_refused(batches, target):
    with pytest.raises(ArgumentError, match="judge: expected"):
        made("learnability").judge(batches, target)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ArgumentError, match=r"unknown filter 'magic'.*dynamic_sampling, learnab"):
        made("magic")


@NAMES
def test_a_first_batch_holds_as_many_prompts_as_groups_are_wanted_unless_said_otherwise(name):
    assert made(name).first_batch(7) == 7
    if name != "vcrl":
        assert made(name, oversample=3).first_batch(7) == 21
        assert made(name, oversample=1.5).first_batch(3) == 5


class EveryOther(Filter):
    """A filter of a user: `decide`, and what it learns."""

    values = ("seen",)

    def __init__(self, offset: int = 0, success_threshold: float | None = None) -> None:
        super().__init__(success_threshold)
        self.offset, self.seen = offset, 0

    def decide(self, rolled):
        return Verdict(list(range(len(rolled.groups)))[self.offset :: 2])

    def remember(self, rolled):
        self.seen += len(rolled.groups)


def test_a_filter_of_your_own_needs_no_more_than_decide():
    chosen = EveryOther(offset=1)
    assert chosen.judge([groups(0, g=3), groups(1, g=2, pool=2)], 8).train[0] == 1
    resumed = EveryOther(offset=1)
    resumed.load_state_dict(chosen.state_dict())
    assert (resumed.steps, resumed.seen) == (1, chosen.seen)


def test_a_filter_of_your_own_is_made_from_its_import_path():
    path = "insight_ext.filters.speed:Speed"
    assert make_filter(path, screening=3).screening == 3
    with pytest.raises(ArgumentError, match="expected a subclass of Filter"):
        make_filter("math:sqrt")


@NAMES
def test_an_option_that_a_filter_does_not_take_is_named_beside_those_it_takes(name):
    option = FILTERS[name].settings[0]
    message = f"filter '{name}': expected options among .*got '{option}_'; did you mean '{option}'"
    with pytest.raises(ArgumentError, match=message):
        make_filter(name, **{f"{option}_": 1})


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("dynamic_sampling", {"max_batches": 0}),
        ("dynamic_sampling", {"refill": 0}),
        ("dynamic_sampling", {"oversample": 0.5}),
        ("learnability", {"keep": 0.0}),
        ("learnability", {"oversample": math.inf}),
        ("pilot_commit", {"defer": 0.8}),
        ("pilot_commit", {"skip": 1.1}),
        ("pilot_commit", {"wait": 0}),
        ("pilot_commit", {"screening": 1}),
        ("speed", {"screening": 1}),
        ("speed", {"screening": math.nan}),
        ("pilot_commit", {"wait": math.nan}),
        ("uncertainty_consistency", {"gamma": -0.1}),
        ("uncertainty_consistency", {"keep": 1.5}),
        ("vcrl", {"early": 2.0}),
        ("vcrl", {"warmup": -1}),
        ("uncertainty_consistency", {"uncertainty": "length"}),
        ("vcrl", {"max_replays": 0}),
        ("vcrl", {"kappa": 0.3}),
    ],
)
def test_an_option_outside_its_domain_is_refused(name, options):
    with pytest.raises(ArgumentError, match=next(iter(options))):
        made(name, **options)
