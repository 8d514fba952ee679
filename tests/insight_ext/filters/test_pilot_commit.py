from __future__ import annotations

from fractions import Fraction

import pytest

from insight_ext.beliefs.group import Group
from insight_ext.filters import PilotCommit


def pilots(first: int, *successes: int, k: int = 16) -> list[Group]:
    """Prompts first, first + 1, ... with these numbers of successes."""
    return [Group(first + i, (1.0,) * s + (0.0,) * (k - s)) for i, s in enumerate(successes)]


def committing(**options) -> PilotCommit:
    return PilotCommit(success_threshold=1.0, max_batches=2, **options)


def deferred_after_one_step(**options) -> PilotCommit:
    """Pilots of prompts 0 to 3: too hard, too hard, too easy, and one that was committed."""
    chosen = committing(**options)
    chosen.judge([pilots(3, 30, k=64)], 1, abandoned=pilots(0, 0, 1, 13))
    return chosen


@pytest.mark.parametrize("k", range(2, 65))
def test_pass_rates_from_an_eighth_to_three_quarters_are_committed(k):
    chosen = committing()
    for successes in range(k + 1):
        expected = Fraction(1, 8) <= Fraction(successes, k) <= Fraction(3, 4)
        assert chosen.passes(pilots(0, successes, k=k)[0]) == expected


def test_a_deferred_prompt_comes_back_when_a_refill_is_wanted_after_its_time():
    chosen = deferred_after_one_step(wait=3)
    assert chosen.metrics()["deferred_prompts"] == 2.0
    for step in (1, 2):
        verdict = chosen.judge([pilots(10 * step, 0, 30, k=64)], 2)
        assert (verdict.recall, verdict.wanted) == ([], 2)
        chosen.judge([pilots(10 * step, 20, 30, k=64)], 2)
    assert chosen.judge([pilots(30, 20, 30, k=64)], 2).settled
    verdict = chosen.judge([pilots(30, 30, 0, 0, k=64)], 2)
    assert (verdict.recall, verdict.wanted) == ([0, 1], 0)
    assert chosen.judge([pilots(30, 0, k=64)], 5).wanted == 3


def test_a_deferred_prompt_is_remembered_until_it_is_rolled_out_again():
    chosen = deferred_after_one_step(wait=1)
    verdict = chosen.judge([pilots(30, 0, k=64)], 4)
    assert (verdict.recall, verdict.wanted) == ([0, 1], 2)
    # Prompt 0 is committed this time, prompt 1 is too hard again.
    with pytest.warns(UserWarning, match="2 generation batches gave 1 of 4"):
        chosen.judge([pilots(30, 0, k=64), pilots(0, 9, k=64)], 4, abandoned=pilots(1, 1))
    assert chosen.judge([pilots(40, 0, k=64)], 4).recall == [1]


def test_a_prompt_that_the_step_has_already_is_not_recalled():
    chosen = deferred_after_one_step(wait=1)
    assert chosen.judge([pilots(30, 0, k=64)], 4, abandoned=pilots(1, 2)).recall == [0]


def test_pilots_that_could_not_be_scored_are_given_up_and_not_deferred():
    lost = Group(5, (float("nan"),) * 16)
    chosen = committing()
    assert not chosen.passes(lost)
    chosen.judge([pilots(3, 30, k=64)], 1, abandoned=[lost])
    assert chosen.metrics()["deferred_prompts"] == 0.0


def test_deferred_prompts_survive_a_checkpoint():
    chosen, resumed = deferred_after_one_step(wait=1), committing(wait=1)
    resumed.load_state_dict(chosen.state_dict())
    assert resumed.judge([pilots(30, 0, k=64)], 4).recall == [0, 1]
