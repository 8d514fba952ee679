from __future__ import annotations

import pytest
import torch

from insight_ext import ArgumentError
from insight_ext.selectors import DifficultyPools


def test_the_latest_group_decides_the_pool():
    selector = DifficultyPools(3)
    selector.observe([0, 1, 2], [9, 1, 3], 10, step=0)
    assert selector.pool.tolist() == [1, 2, 0]
    selector.observe([0, 1], [8, 2], 10, step=1)
    assert selector.pool.tolist() == [0, 0, 0]


def test_a_batch_holds_the_given_shares():
    selector = DifficultyPools(300, easy_share=0.2, hard_share=0.1)
    rows = torch.arange(300)
    selector.observe(rows, torch.tensor([8, 0, 4])[rows % 3], 8, step=0)
    kinds = torch.bincount(selector.select(50, step=1) % 3, minlength=3)
    assert kinds.tolist() == [10, 5, 35]


def test_other_pools_fill_in_where_one_runs_out():
    selector = DifficultyPools(10)
    selector.observe(list(range(10)), [8] * 10, 8, step=0)
    assert sorted(selector.select(10, step=1).tolist()) == list(range(10))


@pytest.mark.parametrize(
    "options",
    [
        {"easy_share": 0.7, "hard_share": 0.4},
        {"easy_share": -0.1},
        {"easy": 0.2, "hard": 0.2},
        {"easy": 1.0},
        {"easy": 1.0, "weights": [0.2, 0.2]},
        {"hard": 0.0},
    ],
)
def test_bad_shares_and_thresholds_are_refused(options):
    with pytest.raises(ArgumentError, match="expected"):
        DifficultyPools(3, **options)


def test_prompts_without_weight_come_last_and_excluded_ones_never():
    selector = DifficultyPools(8, easy=0.75, hard=0.25, weights=[0.0, 0.0])
    selector.observe(range(6), [8, 8, 8, 0, 0, 4], 8, step=0)
    exclude = torch.tensor([5, 0])
    chosen = selector.select(6, step=1, exclude=exclude).tolist()
    assert set(chosen[:2]) == {6, 7}
    assert set(chosen) == {1, 2, 3, 4, 6, 7}


@pytest.mark.parametrize("weights", [[0.2], [-0.1, 0.2], [0.2, float("inf")], [1, float("nan")]])
def test_weights_outside_their_domain_are_refused(weights):
    with pytest.raises(ArgumentError, match="weights: expected two finite numbers"):
        DifficultyPools(8, easy=0.75, weights=weights)
