from __future__ import annotations

import numpy as np

from insight_ext.simulate.compare import Setting
from insight_ext.simulate.held_out import RULES, held_out, markdown


def test_answers_dealt_by_what_is_known_solve_more_prompts_with_fewer_answers():
    setting = Setting("logistic", 300, 0.95, steps=60, prompts=64)
    found = held_out(setting, seeds=2)
    evenly, bins, singly, best = (found[rule] for rule in RULES)
    np.testing.assert_array_equal(evenly[1], 1.0)
    for rule in (bins, singly):
        assert (rule[0] > evenly[0]).all()
        assert (rule[1] < 1.0).all()
        assert (best[0] > rule[0]).all()
    assert "| gps, 10 bins |" in markdown(found)
