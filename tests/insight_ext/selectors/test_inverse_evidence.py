from __future__ import annotations

from insight_ext.selectors import InverseEvidence


def test_the_fewest_answers_come_first_whatever_they_were():
    selector = InverseEvidence(4)
    selector.observe([0, 1, 2], [4, 8, 0], [8, 16, 4], step=0)
    assert selector.select(4, step=1).tolist() == [3, 2, 0, 1]
