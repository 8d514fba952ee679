from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pointbiserialr

from insight_ext import ArgumentError, ObservationError
from insight_ext.curators import point_biserial
from insight_ext.curators.point_biserial import correlations
from insight_ext.offline.logs import GroupLog


def log(n: int = 20, answers: int = 64, seed: int = 0, uncertainty: bool = True) -> GroupLog:
    """Prompts whose uncertainty follows correctness the more, the larger their position."""
    random = np.random.default_rng(seed)
    prompt = np.repeat(np.arange(n), answers)
    order = random.permutation(len(prompt))
    correct = random.random(len(prompt)) < np.linspace(0, 1, n)[prompt]
    noise = random.normal(0, 1, len(prompt))
    values = 5 + noise - prompt / n * correct
    return GroupLog(
        ids=tuple(f"p{i}" for i in range(n)),
        prompt=prompt[order],
        successes=correct.astype(np.int64)[order],
        rollouts=np.ones(len(prompt), dtype=np.int64),
        step=np.zeros(len(prompt), dtype=np.int64),
        epoch=None,
        uncertainty=values[order] if uncertainty else None,
    )


@given(
    st.lists(st.tuples(st.booleans(), st.floats(1.0, 9.0)), min_size=2, max_size=64).filter(
        lambda rows: 0 < sum(c for c, _ in rows) < len(rows) and np.std([u for _, u in rows]) > 1e-3
    )
)
def test_the_correlation_is_scipys(rows):
    correct = np.array([c for c, _ in rows])
    uncertainty = np.array([u for _, u in rows])
    visits = {"prompt": np.zeros(len(rows), dtype=int), "rollouts": np.ones(len(rows), dtype=int)}
    answers = GroupLog(("a",), successes=correct.astype(int), step=None, epoch=None, **visits)
    found = correlations(replace(answers, uncertainty=uncertainty))
    expected = pointbiserialr(correct, uncertainty).statistic
    assert found == pytest.approx([expected], rel=1e-9, abs=1e-9)


def test_every_prompt_gets_its_own_correlation():
    rows = log()
    result = point_biserial(rows)
    for prompt in range(1, 19):
        mine = rows.prompt == prompt
        expected = pointbiserialr(rows.successes[mine], rows.uncertainty[mine]).statistic
        assert -result.scores[prompt] == pytest.approx(expected, rel=1e-12)


def test_the_smallest_correlations_are_kept_thirty_percent_of_all_prompts():
    result = point_biserial(log())
    assert result.dropped["always or never solved"].tolist() == [0, 19]
    assert np.isnan(result.scores[[0, 19]]).all()
    assert sorted(result.kept) == sorted(1 + np.argsort(-result.scores[1:19])[:6])
    assert len(point_biserial(log(), keep=0.5).kept) == 10
    assert len(point_biserial(log(), count=3).kept) == 3
    assert len(point_biserial(log(9)).kept) == 3  # 2.7


def test_the_share_may_be_one_of_the_scored_prompts():
    assert len(point_biserial(log(), of="scored").kept) == round(0.3 * 18)
    assert len(point_biserial(log(), keep=1.0, of="scored").kept) == 18
    assert len(point_biserial(log(), keep=1.0).kept) == 18


def test_prompts_never_rolled_out_are_listed_as_such():
    rows = log()
    more = replace(rows, ids=(*rows.ids, "later", "never"))
    result = point_biserial(more, keep=0.5)
    assert result.dropped["never rolled out"].tolist() == [20, 21]
    assert result.dropped["always or never solved"].tolist() == [0, 19]
    assert len(result.kept) == 11
    assert "never rolled out" not in point_biserial(rows).dropped


def test_equal_uncertainties_are_listed():
    rows = GroupLog(
        ids=("a",),
        prompt=np.array([0, 0]),
        successes=np.array([0, 1]),
        rollouts=np.array([1, 1]),
        step=np.array([0, 0]),
        epoch=None,
        uncertainty=np.array([0.1, 0.1]),
    )
    result = point_biserial(rows)
    assert result.dropped["equally uncertain throughout"].tolist() == [0]
    assert result.kept_ids == []


def test_a_log_without_uncertainty_is_refused():
    with pytest.raises(ObservationError, match="expected a column uncertainty"):
        point_biserial(log(uncertainty=False))


def test_several_answers_in_a_row_are_refused():
    rows = log(n=2)
    rows.rollouts[0] = 8
    with pytest.raises(ObservationError, match=r"one row per answer .*got a row of 8"):
        point_biserial(rows)


@pytest.mark.parametrize(
    "options", [{"keep": 0.5, "count": 3}, {"count": -1}, {"keep": 1.5}, {"of": "some"}]
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ArgumentError, match=r"count|keep|of:"):
        point_biserial(log(), **options)
