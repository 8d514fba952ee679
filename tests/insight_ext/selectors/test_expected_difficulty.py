from __future__ import annotations

import pytest
import torch

from insight_ext import ArgumentError
from insight_ext.selectors import ExpectedDifficulty


def test_the_score_is_the_distance_of_the_mean_to_the_target():
    selector = ExpectedDifficulty(3, target=0.6)
    selector.observe([0, 1, 2], [8, 4, 0], 8, step=0)  # means .9, .5, .1
    score = selector.explain([0, 1, 2])["score"]
    torch.testing.assert_close(score, -torch.tensor([0.3, 0.1, 0.5]))
    assert selector.select(2, step=1).tolist() == [1, 0]


def test_a_target_that_is_no_rate_is_refused():
    with pytest.raises(ArgumentError, match="target: expected"):
        ExpectedDifficulty(3, target=1.5)
