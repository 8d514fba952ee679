from __future__ import annotations

from insight_ext.proposers import MixedGroup


def test_the_likeliest_to_be_mixed_is_selected():
    proposer = MixedGroup(3)
    proposer.observe([0, 1, 2], [0, 5, 8], 8)
    assert proposer.select(1).tolist() == [1]
