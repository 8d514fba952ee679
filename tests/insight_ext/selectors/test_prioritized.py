from __future__ import annotations

import pytest
import torch

from insight_ext.selectors import Prioritized


def test_a_single_draw_falls_in_proportion_to_failure():
    counts = torch.zeros(3)
    for seed in range(1500):
        selector = Prioritized(3, seed=seed)
        # Failure rates (1 + 8 - s) / 10: .2, .5, .9
        selector.observe([0, 1, 2], [7, 4, 0], 8, step=0)
        counts[selector.select(1, step=1)] += 1
    expected = torch.tensor([0.2, 0.5, 0.9]) / 1.6
    assert (counts / 1500).tolist() == pytest.approx(expected.tolist(), abs=0.05)
