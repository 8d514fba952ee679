"""What the adapters share."""

from __future__ import annotations

import pytest

from insight_ext import ArgumentError, ObservationError, Prompt, PromptPool, SelectionLoop
from insight_ext.adapters.common import make_loop, report_answers


def dealt(groups=3, rollouts=4):
    loop = SelectionLoop(PromptPool(Prompt(id, id, "") for id in "abc"), rollouts=rollouts)
    loop.deal(groups)
    return loop, list(range(groups * rollouts))


def test_a_group_that_is_reported_in_two_parts_is_whole_after_the_second():
    loop, answers = dealt()
    report_answers(loop, answers[:6], [1.0] * 6, of=4)
    report_answers(loop, answers[6:], [0.0] * 6, of=4)
    metrics = loop.end_step()
    assert metrics["groups_incomplete"] == 0
    assert metrics["frac_mixed"] == pytest.approx(1 / 3)


def test_without_a_size_a_group_is_what_came_of_it():
    loop, answers = dealt()
    report_answers(loop, [answers[3], answers[5], answers[7]], [1.0, 0.0, 1.0])
    metrics = loop.end_step()
    assert (metrics["rollouts_generated"], metrics["rollouts_duplicate"]) == (3, 0)
    assert metrics["groups_incomplete"] == 1  # the third group


def test_answers_that_were_not_dealt_are_left_out():
    loop, answers = dealt()
    report_answers(loop, [], [1.0] * 12, of=4)
    report_answers(loop, answers, [1.0] * 12, of=4)
    assert loop.end_step()["rollouts_duplicate"] == 0


def test_an_uncertainty_that_is_not_there_for_each_answer_changes_nothing():
    loop, answers = dealt()
    with pytest.raises(ObservationError, match="entropy: expected one for each of 12 answers"):
        report_answers(loop, answers, [1.0] * 12, of=4, entropy=[0.5])
    assert loop.end_step()["rollouts_generated"] == 0


@pytest.mark.parametrize("option", ["filter", "filter_options", "ranks"])
def test_what_the_trainer_decides_itself_is_refused(option):
    pool = PromptPool(Prompt(name, name, "") for name in "abcd")
    with pytest.raises(ArgumentError, match=f"{option}: expected none, since verl decides"):
        make_loop("verl", pool, {option: "dynamic_sampling"}, 2, rollouts=2)


def test_another_number_of_prompts_a_step_is_warned_of_at_a_resume():
    pool = PromptPool(Prompt(name, name, "") for name in "abcd")
    first, second = (make_loop("verl", pool, {}, k, rollouts=2) for k in (2, 3))
    with pytest.warns(UserWarning, match="prompts_per_step: 2 in the checkpoint, 3 from here on"):
        second.load_state_dict(first.state_dict())
