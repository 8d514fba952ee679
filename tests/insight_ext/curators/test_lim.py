from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from insight_ext import ArgumentError, ObservationError
from insight_ext.curators import lim
from insight_ext.curators.lim import alignment, epochs, fill_gaps, learning_curves
from insight_ext.offline.logs import GroupLog

NAN = np.nan


def log(*visits: tuple[str, int, int], by: str = "epoch", rollouts: int = 8) -> GroupLog:
    """Visits as (id, epoch or step, successes)."""
    ids = tuple(sorted({visit[0] for visit in visits}))
    time = np.array([visit[1] for visit in visits])
    return GroupLog(
        ids=ids,
        prompt=np.array([ids.index(visit[0]) for visit in visits]),
        successes=np.array([visit[2] for visit in visits]),
        rollouts=np.full(len(visits), rollouts),
        step=time if by == "step" else None,
        epoch=time if by == "epoch" else None,
    )


@given(arrays(float, (5, 4), elements=st.floats(0.0, 1.0)))
def test_an_always_correct_curve_scores_zero_and_the_average_curve_one(curves):
    # Two curves that average to the others' mean leave the mean unchanged.
    curves = np.vstack((curves, np.ones(4)))
    curves = np.vstack((curves, curves.mean(axis=0)))
    if (curves == 1.0).all():
        return
    scores = alignment(curves)
    assert scores[5] == 0.0
    assert scores[6] == 1.0 or np.isclose(scores[6], 1.0, atol=1e-12)
    assert scores.max() <= 1.0


def test_a_case_by_hand():
    # Average (.5, .75): scale .25 + .0625; first curve differs by (-.5, .25).
    curves = np.array([[0.0, 1.0], [1.0, 0.5]])
    expected = 1 - (0.25 + 0.0625) / (0.25 + 0.0625)
    np.testing.assert_allclose(alignment(curves), [expected, expected])
    # Average (.25, .5, .5): scale .5625 + .25 + .25.
    curves = np.array([[0.0, 0.0, 1.0], [0.5, 1.0, 0.0]])
    np.testing.assert_allclose(alignment(curves), 1 - (0.0625 + 0.25 + 0.25) / 1.0625)


def test_there_is_no_lower_bound():
    # 99 prompts nearly always solved, one never: its distance is far larger than theirs to 1.
    curves = np.vstack((np.full((99, 2), 0.99), np.zeros((1, 2))))
    assert alignment(curves)[99] < -1000


def test_a_gap_is_filled_from_the_next_epoch_only():
    curves = np.array([[NAN, 0.5, 0.25], [NAN, NAN, 0.25], [0.5, 0.25, NAN], [0.5, NAN, 0.75]])
    expected = [[0.5, 0.5, 0.25], [NAN, 0.25, 0.25], [0.5, 0.25, NAN], [0.5, 0.75, 0.75]]
    np.testing.assert_array_equal(fill_gaps(curves), expected)


def test_prompts_with_gaps_left_are_listed_and_not_scored():
    result = lim(log(("a", 0, 2), ("a", 1, 4), ("b", 0, 2), ("c", 1, 6), ("d", 0, 2), ("d", 1, 8)))
    (reason,) = result.dropped
    assert reason == "for gaps in their curve"
    assert result.dropped[reason].tolist() == [1]
    assert np.isnan(result.scores).tolist() == [False, True, False, False]
    # The average is over the prompts with a whole curve: (2, 6, 2) and (4, 6, 8) of 24.
    curves = np.array([[2, 4], [6, 6], [2, 8]]) / 8
    np.testing.assert_allclose(result.scores[[0, 2, 3]], alignment(curves))


def test_prompts_are_kept_by_score_or_by_number_best_first():
    visits = [("a", 0, 0), ("a", 1, 8), ("b", 0, 3), ("b", 1, 5), ("c", 0, 8), ("c", 1, 8)]
    result = lim(log(*visits), keep=-5.0)
    assert result.scores[result.kept].tolist() == sorted(result.scores, reverse=True)
    assert lim(log(*visits), keep=0.6).kept_ids == ["b"]
    assert lim(log(*visits)).kept_ids == ["b"]
    assert len(lim(log(*visits), count=2).kept) == 2
    assert len(lim(log(*visits), count=99).kept) == 3


def test_visits_of_one_epoch_count_together():
    visits = log(("a", 0, 2), ("a", 0, 6), ("a", 1, 8))
    result = learning_curves(visits, [slice(0, 2), slice(2, 3)])
    np.testing.assert_array_equal(result, [[0.5, 1.0]])


def test_without_epochs_visits_are_counted():
    # Two prompts, two of them a step apart: epochs end after 2, 4 visits; the fifth is left over.
    steps = log(("a", 0, 1), ("b", 1, 2), ("b", 2, 3), ("a", 3, 4), ("a", 4, 5), by="step")
    assert epochs(steps)[1] == [slice(0, 2), slice(2, 4)]
    result = lim(steps, keep=-9)
    assert "the last 1 visits, less than an epoch, are not used" in result.notes
    np.testing.assert_allclose(result.scores, alignment(np.array([[1, 4], [2, 3]]) / 8))


def test_steps_may_be_given_their_epochs():
    steps = log(("a", 10, 1), ("b", 11, 2), ("a", 12, 3), ("b", 13, 4), by="step")
    assert epochs(steps, steps_per_epoch=2)[1] == [slice(0, 2), slice(2, 4)]
    with pytest.raises(ArgumentError, match="expected a whole number of at least 1, got 0"):
        epochs(steps, steps_per_epoch=0)
    with pytest.raises(ArgumentError, match="a log with steps"):
        epochs(log(("a", 0, 1)), steps_per_epoch=2)


def test_steps_that_make_no_whole_epoch_are_left_out():
    visits = [("a", 0, 1), ("b", 1, 2), ("a", 2, 3), ("b", 3, 4)]
    longer = log(*visits, ("a", 4, 8), by="step")
    assert epochs(longer, steps_per_epoch=2)[1] == [slice(0, 2), slice(2, 4)]
    both = (lim(each, keep=-9, steps_per_epoch=2) for each in (longer, log(*visits, by="step")))
    np.testing.assert_array_equal(*(result.scores for result in both))
    with pytest.raises(ObservationError, match="a whole epoch of 6 steps, got a log of 5"):
        lim(longer, steps_per_epoch=6)


def test_later_epochs_may_be_left_out():
    visits = [(name, epoch, wins) for epoch in range(3) for name, wins in (("a", epoch), ("b", 8))]
    few = lim(log(*visits), keep=-9, max_epochs=2)
    np.testing.assert_array_equal(few.scores, lim(log(*visits[:4]), keep=-9).scores)
    assert "2 epochs" in few.notes
    for name in ("max_epochs", "steps_per_epoch", "count"):
        for number in (-1, 1.5, True, float("nan")):
            with pytest.raises(ArgumentError, match=f"{name}: expected a whole number of at least"):
                lim(log(*visits), **{name: number})
    with pytest.raises(ArgumentError, match="keep: expected a finite score, got nan"):
        lim(log(*visits), keep=float("nan"))


def test_an_epoch_without_number_zero_is_the_first_one():
    assert epochs(log(("a", 3, 1), ("a", 7, 2)))[1] == [slice(0, 1), slice(1, 2)]


def test_steps_may_begin_anew_with_each_epoch():
    visits = [("a", 1, 4), ("b", 0, 8), ("b", 1, 6), ("a", 0, 2)]
    by_step = replace(log(*visits), step=np.array([0, 0, 1, 1]))
    np.testing.assert_array_equal(lim(by_step).scores, lim(log(*sorted(visits))).scores)


def test_a_log_in_which_everything_was_solved_is_refused():
    with pytest.raises(ObservationError, match="every prompt was always solved"):
        lim(log(("a", 0, 8), ("a", 1, 8), ("b", 0, 8), ("b", 1, 8)))


def test_a_log_without_a_whole_curve_is_refused():
    with pytest.raises(ObservationError, match="none of the 2 prompts has a result in each of the"):
        lim(log(("a", 0, 1), ("a", 3, 1), ("b", 1, 2), ("b", 2, 2)))


def test_a_single_prompt_is_the_average():
    assert lim(log(("a", 0, 1), ("a", 1, 4))).scores.tolist() == [1.0]


@pytest.mark.parametrize("options", [{"keep": 0.5, "count": 3}, {"count": -1}])
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ArgumentError, match="count"):
        lim(log(("a", 0, 1)), **options)


@pytest.mark.parametrize("last", [1, 20, 37])
def test_an_epoch_of_the_log_that_ended_early_is_left_out(last):
    visits = [(f"p{i}", at, i % 8) for at in range(3) for i in range(40 if at < 2 else last)]
    assert epochs(log(*visits))[1] == [slice(0, 40), slice(40, 80)]
    assert lim(log(*visits)).scores.tolist() == lim(log(*visits[:80])).scores.tolist()
    assert f"the last {last} visits, less than an epoch, are not used" in lim(log(*visits)).notes
    missing = [visit for visit in visits[:80] if visit[:2] != ("p3", 1)]
    assert epochs(log(*missing))[1] == [slice(0, 40), slice(40, 79)]


def test_an_epoch_ended_early_only_if_each_before_has_more_visits():
    visits = [(f"p{i}", at, i % 8) for at, size in enumerate((40, 38, 37)) for i in range(size)]
    assert len(epochs(log(*visits))[1]) == 3
