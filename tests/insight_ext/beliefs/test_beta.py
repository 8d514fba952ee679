from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from insight_ext import (
    ArgumentError,
    BeliefError,
    BetaPosteriors,
    CheckpointError,
    ObservationError,
)

VISITS = st.lists(
    st.tuples(st.integers(0, 9), st.integers(1, 64)).flatmap(
        lambda t: st.tuples(st.just(t[0]), st.integers(0, t[1]), st.just(t[1]))
    ),
    max_size=30,
)


def observe(beliefs: BetaPosteriors, visits: list[tuple[int, int, int]]) -> None:
    columns = [list(column) for column in zip(*visits, strict=True)] or [[], [], []]
    beliefs.observe(*columns)


def test_a_visit_follows_equation_6_by_hand():
    beliefs = BetaPosteriors(3, prior=(2.0, 1.0), decay=0.5)
    beliefs.observe([1], successes=[6], rollouts=8)
    beliefs.observe([1], successes=[1], rollouts=8)
    # 2 -> .5*2 + .5*2 + 6 = 8 -> .5*8 + .5*2 + 1 = 6;  1 -> .5 + .5 + 2 = 3 -> 1.5 + .5 + 7 = 9
    assert beliefs.alpha.tolist() == [2.0, 6.0, 2.0]
    assert beliefs.beta.tolist() == [1.0, 9.0, 1.0]
    assert beliefs.visits.tolist() == [0, 2, 0]


@given(VISITS)
def test_without_decay_beliefs_are_the_prior_plus_the_counts(visits):
    beliefs = BetaPosteriors(10)
    for visit in visits:
        observe(beliefs, [visit])
    for i in range(10):
        assert beliefs.alpha[i] == 1 + sum(s for j, s, _ in visits if j == i)
        assert beliefs.beta[i] == 1 + sum(r - s for j, s, r in visits if j == i)


@given(VISITS, st.floats(0, 1))
def test_repeats_within_a_call_are_one_visit_with_summed_counts(visits, decay):
    together, by_hand = BetaPosteriors(10, decay=decay), BetaPosteriors(10, decay=decay)
    observe(together, visits)
    for i in sorted({i for i, _, _ in visits}):
        mine = [(s, r) for j, s, r in visits if j == i]
        by_hand.observe([i], [sum(s for s, _ in mine)], [sum(r for _, r in mine)])
    assert torch.equal(together.alpha, by_hand.alpha)
    assert torch.equal(together.beta, by_hand.beta)
    assert torch.equal(together.visits, by_hand.visits)


@given(VISITS, st.floats(0, 1))
def test_beliefs_stay_finite_and_positive(visits, decay):
    beliefs = BetaPosteriors(10, prior=(0.5, 0.5), decay=decay)
    observe(beliefs, visits)
    for belief in (beliefs.alpha, beliefs.beta):
        assert bool((torch.isfinite(belief) & (belief > 0)).all())


@given(st.permutations([(0, 1, 8), (3, 8, 8), (5, 0, 4), (3, 2, 8)]))
def test_the_order_of_one_calls_rows_does_not_matter(visits):
    one, other = BetaPosteriors(6, decay=0.7), BetaPosteriors(6, decay=0.7)
    observe(one, visits)
    observe(other, sorted(visits))
    assert torch.equal(one.alpha, other.alpha)
    assert torch.equal(one.beta, other.beta)


def test_numpy_tensors_and_lists_are_taken():
    for make in (list, np.array, torch.tensor):
        beliefs = BetaPosteriors(4)
        beliefs.observe(make([3, 0]), make([1, 2]), make([2, 2]))
        assert beliefs.alpha.tolist() == [3.0, 1.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("indices", "successes", "rollouts", "message"),
    [
        ([0, 4], [1, 1], 2, r"indices\[1\]: expected in \[0, 4\), got 4"),
        ([0, -1], [1, 1], 2, r"indices\[1\]: expected in \[0, 4\), got -1"),
        ([0, 1], [1, 3], 2, r"successes\[1\]: expected in \[0, rollouts\], got 3 of 2 rollouts"),
        ([0, 1], [-1, 3], 4, r"successes\[0\].*got -1"),
        ([0, 1], [0, 0], 0, r"rollouts\[0\]: expected 1 to 2\^63 - 1, got 0"),
        ([0, 1], [0], 1, r"successes: expected one value per index, shape \(2,\).*got \(1,\)"),
        ([0, 1], [0, 0], [1], r"rollouts: expected one value per index"),
        ([[0, 1]], [[0, 0]], 1, r"one dimension, got \(1, 2\)"),
        ([0, 1], [0.0, 1.0], 1, r"successes: expected integers, got torch.float"),
        ([True, False], [0, 1], 1, r"indices: expected integers, got torch.bool"),
        ([0], [1j], 1, r"successes: expected integers, got torch.complex"),
        (["a"], [1], 1, r"indices: expected integers of shape \(m,\), got \['a'\]; no belief"),
        ([0], [None], 1, r"successes: expected integers of shape \(m,\), got \[None\]"),
        ([0], [1], None, r"rollouts: expected integers of shape \(m,\), got None"),
        ([[0], [1, 2]], [0, 0], 1, r"indices: expected integers of shape \(m,\), got \[\[0\]"),
        ([0], [0], np.array([2**64 - 1], np.uint64), r"rollouts\[0\]: expected 1 to 2\^63 - 1"),
        ([2**70], [0], 1, r"indices: expected integers of shape \(m,\), got \[1180591620"),
    ],
)
def test_what_cannot_be_counted_is_refused_and_changes_nothing(
    indices, successes, rollouts, message
):
    beliefs = BetaPosteriors(4)
    before = beliefs.state_dict()["per_prompt"]
    with pytest.raises(ObservationError, match=message):
        beliefs.observe(indices, successes, rollouts)
    for name, rows in before.items():
        assert torch.equal(getattr(beliefs, name), rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "n: expected a whole number of at least 1, got 0"),
        ({"n": True}, "n: expected a whole number of at least 1, got True"),
        ({"n": 1, "prior": (0.0, 1.0)}, "prior: expected two finite positive"),
        ({"n": 1, "prior": (1.0, float("inf"))}, "prior: expected two finite positive"),
        ({"n": 3, "prior": 1.0}, r"prior: expected two numbers .* shape \(3,\), .*got 1.0"),
        ({"n": 1, "prior": (1.0,)}, r"prior: expected two numbers .* got \(1.0,\)"),
        ({"n": 1, "prior": ("a", "b")}, r"prior: expected two numbers .* got \('a', 'b'\)"),
        ({"n": 1, "decay": 1.5}, r"decay: expected a number in \[0, 1\], got 1.5"),
        ({"n": 1, "decay": float("nan")}, "decay"),
    ],
)
def test_settings_outside_their_domain_are_refused(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        BetaPosteriors(**arguments)


def test_the_state_survives_a_safe_load_and_goes_on_bit_for_bit():
    beliefs = BetaPosteriors(5, decay=0.9)
    observe(beliefs, [(1, 3, 8), (4, 0, 8)])
    file = io.BytesIO()
    torch.save(beliefs.state_dict(), file)
    file.seek(0)
    resumed = BetaPosteriors(5, decay=0.9)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for one in (beliefs, resumed):
        observe(one, [(1, 1, 8), (2, 2, 8)])
    for name in ("alpha", "beta", "visits"):
        assert torch.equal(getattr(beliefs, name), getattr(resumed, name))


def test_a_state_is_a_copy():
    beliefs = BetaPosteriors(2)
    state = beliefs.state_dict()
    observe(beliefs, [(0, 1, 1)])
    assert state["per_prompt"]["alpha"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("section", "change", "error", "message"),
    [
        ("settings", {"decay": 0.5}, CheckpointError, "decay 1.0, the checkpoint has 0.5"),
        ("per_prompt", {"alpha": torch.ones(3)}, CheckpointError, r"alpha .*\(2,\), .*\(3,\)"),
        ("per_prompt", {"beta": None}, CheckpointError, r"beta .*\(2,\), the checkpoint has None"),
        ("per_prompt", {"beta": torch.tensor([1.0, math.nan])}, BeliefError, r"beta\[1\].*nan"),
        ("per_prompt", {"alpha": torch.tensor([-1.0, 1.0])}, BeliefError, r"alpha\[0\].*got -1"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(section, change, error, message):
    beliefs = BetaPosteriors(2)
    observe(beliefs, [(0, 1, 1)])
    before, state = beliefs.state_dict()["per_prompt"], BetaPosteriors(2).state_dict()
    with pytest.raises(error, match=message):
        beliefs.load_state_dict({**state, section: {**state[section], **change}})
    for name, rows in before.items():
        assert torch.equal(getattr(beliefs, name), rows)


def test_evidence_halves_with_each_half_life_by_hand():
    beliefs = BetaPosteriors(2, half_life=10.0)
    beliefs.observe([0], [8], 8)
    beliefs.step = 20
    alpha, beta = beliefs.current()
    assert alpha.tolist() == [1.0 + 8.0 / 4.0, 1.0]  # two half-lives
    assert beta.tolist() == [1.0, 1.0]
    assert beliefs.current(torch.tensor([0]))[0].tolist() == [3.0]


def test_a_visit_adds_to_what_time_has_left():
    beliefs = BetaPosteriors(1, half_life=10.0)
    beliefs.observe([0], [8], 8)
    beliefs.step = 10
    beliefs.observe([0], [0], 8)
    assert (beliefs.alpha.tolist(), beliefs.beta.tolist()) == ([5.0], [9.0])


@pytest.mark.parametrize("half_life", [0.3, 3.7, 64.0])
def test_fading_does_not_depend_on_where_a_belief_lies(half_life):
    beliefs = BetaPosteriors(1_003, half_life=half_life)
    beliefs.latest = torch.arange(1_003, dtype=torch.int32) % 997
    beliefs.alpha += 3.0
    beliefs.step = 1_000
    alpha, _ = beliefs.current()
    for i in range(7):
        part, _ = beliefs.current(torch.arange(i, 1_003, 7))
        assert torch.equal(part, alpha[i::7])


def test_without_a_half_life_time_changes_nothing():
    beliefs = BetaPosteriors(1)
    beliefs.observe([0], [8], 8)
    beliefs.step = 1000
    assert beliefs.current()[0] is beliefs.alpha


def test_each_prompt_may_have_its_own_prior():
    prior = (torch.tensor([1.0, 25.0]), torch.tensor([1.0, 1.0]))
    beliefs = BetaPosteriors(2, prior=prior, decay=0.5)
    beliefs.observe([0, 1], [4, 4], 8)
    assert beliefs.alpha.tolist() == [5.0, 29.0]
    resumed = BetaPosteriors(2, prior=prior, decay=0.5)
    resumed.load_state_dict(beliefs.state_dict())
    assert torch.equal(resumed.alpha, beliefs.alpha)
    with pytest.raises(CheckpointError, match="expected prior"):
        BetaPosteriors(2, decay=0.5).load_state_dict(beliefs.state_dict())


@pytest.mark.parametrize(
    ("prior", "error"),
    [
        ((torch.ones(3), torch.ones(2)), ArgumentError),
        ((torch.ones(2), 1.0), ArgumentError),
        ((torch.tensor([1.0, 0.0]), torch.ones(2)), BeliefError),
    ],
)
def test_a_bad_prior_of_prompts_is_refused(prior, error):
    with pytest.raises(error, match="prior"):
        BetaPosteriors(2, prior=prior)


@pytest.mark.parametrize("device", ["cuda:99", "gpu"])
def test_a_device_that_is_not_there_is_named(device):
    with pytest.raises(ArgumentError, match=f"device: expected one that .* got '{device}'"):
        BetaPosteriors(3, device=device)
