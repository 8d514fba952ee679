"""What every proposer promises, whatever its strategy."""

from __future__ import annotations

import io

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from insight_ext import ArgumentError, CheckpointError, ObservationError
from insight_ext.proposers import PROPOSERS, Proposer, make_proposer

NAMES = pytest.mark.parametrize("name", PROPOSERS)


def step(proposer: Proposer, k: int, rollouts: int = 8) -> list[int]:
    """One turn of the loop with outcomes that depend on the prompt alone."""
    chosen = proposer.select(k)
    proposer.observe(chosen, chosen % (rollouts + 1), rollouts)
    return chosen.tolist()


@NAMES
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_a_selection_is_k_distinct_prompts_of_the_pool(name, data):
    n = data.draw(st.integers(1, 50))
    proposer = make_proposer(name, n, seed=data.draw(st.integers(0, 5)))
    for _ in range(4):
        k = data.draw(st.integers(1, n))
        chosen = step(proposer, k)
        assert len(set(chosen)) == k
        assert set(chosen) <= set(range(n))
        assert proposer.select(1).dtype == torch.int64


@NAMES
def test_equal_seeds_choose_equally_and_others_do_not(name):
    one, same, other = (make_proposer(name, 1000, seed=s) for s in (1, 1, 2))
    chosen = [[step(p, 16) for _ in range(5)] for p in (one, same, other)]
    assert chosen[0] == chosen[1] != chosen[2]


@NAMES
def test_a_resumed_proposer_goes_on_bit_for_bit(name):
    proposer = make_proposer(name, 40, seed=3, decay=0.75)
    for _ in range(7):
        step(proposer, 7)
    file = io.BytesIO()
    torch.save(proposer.state_dict(), file)
    file.seek(0)
    resumed = make_proposer(name, 40, seed=3, decay=0.75)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for _ in range(7):
        assert step(proposer, 7) == step(resumed, 7)
        assert proposer.metrics() == resumed.metrics()


@NAMES
@pytest.mark.parametrize("k", [0, -1, 11])
def test_k_outside_the_pool_is_refused(name, k):
    with pytest.raises(ArgumentError, match=rf"k: expected an integer in \[1, 10\], got {k}"):
        make_proposer(name, 10).select(k)


@NAMES
def test_the_share_of_unseen_prompts_is_reported(name):
    proposer = make_proposer(name, 10)
    step(proposer, 10)
    assert proposer.metrics()["frac_unseen"] == 1.0
    step(proposer, 10)
    assert proposer.metrics()["frac_unseen"] == 0.0


@NAMES
def test_a_bad_observation_changes_nothing(name):
    proposer = make_proposer(name, 10)
    before = proposer.posterior.state_dict()
    with pytest.raises(ObservationError):
        proposer.observe([1, 2], [3, 9], 8)
    assert torch.equal(proposer.posterior.alpha, before["alpha"])


@NAMES
@pytest.mark.parametrize("change", [{"seed": 1}, {"pool_size": 9}, {"decay": 0.25}])
def test_a_state_of_other_settings_is_refused_and_changes_nothing(name, change):
    saved = make_proposer(name, **{"pool_size": 10, "seed": 0, **change})
    step(saved, 4)
    proposer, untouched = (make_proposer(name, 10, seed=0) for _ in range(2))
    with pytest.raises(CheckpointError, match="expected"):
        proposer.load_state_dict(saved.state_dict())
    assert [step(proposer, 3) for _ in range(4)] == [step(untouched, 3) for _ in range(4)]


def test_a_state_of_another_strategy_is_refused():
    with pytest.raises(CheckpointError, match="expected strategy InSight, .* Uniform"):
        make_proposer("insight", 10).load_state_dict(make_proposer("uniform", 10).state_dict())


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ArgumentError, match=r"unknown proposer 'magic'.*uniform, insight"):
        make_proposer("magic", 10)


def test_an_option_that_a_strategy_does_not_take_is_refused():
    with pytest.raises(ArgumentError, match="proposer 'uniform'.*eta"):
        make_proposer("uniform", 10, eta=3.0)


def test_an_own_strategy_is_found_by_its_import_path():
    path = "insight_ext.proposers.uniform:Uniform"
    assert type(make_proposer(path, 10)).__name__ == "Uniform"


@pytest.mark.parametrize("path", ["nowhere:X", "math:X", "math:pi", "builtins:int"])
def test_an_import_path_that_leads_to_no_proposer_is_refused(path):
    with pytest.raises(ArgumentError, match=path):
        make_proposer(path, 10)
