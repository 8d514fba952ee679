"""The rows of the summary, on runs whose numbers are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from insight_ext.report.summary import compared, measured
from insight_ext.report.tables import Groups, Series
from insight_ext.runs.reader import Experiment, Run
from insight_ext.runs.rows import SummaryRow

STEPS = np.arange(4)


def a_run(
    arm: str,
    seed: int = 0,
    accuracy: tuple[float, ...] = (0.0, 0.3, 0.6, 0.9),
    successes: tuple[int, ...] = (0, 4, 8, 8),
    selection_ms: float = 0.1,
) -> Run:
    values = {
        "val_accuracy": np.array(accuracy),
        "train_seconds": np.array([1.0, 2.0, 3.0, 4.0]),
        "step_ms": np.full(4, 1000.0),
        "selection_ms": np.full(4, selection_ms),
        "observation_ms": np.full(4, 0.1),
    }
    rollouts, index = np.full(4, 8), np.array([0, 1, 1, 2])
    groups = Groups(index, STEPS, np.array(successes), rollouts, np.full(4, 0.5))
    return Run(arm, seed, {name: Series(STEPS, v) for name, v in values.items()}, groups, None)


def an_experiment(*runs: Run) -> Experiment:
    arms = dict.fromkeys(run.arm for run in runs)
    return Experiment(Path(), {arm: tuple(r for r in runs if r.arm == arm) for arm in arms})


def row_about(words: str, rows: list[SummaryRow]) -> SummaryRow:
    return next(row for row in rows if words in row.question)


def test_the_worst_seed_decides_about_mixed_groups() -> None:
    experiment = an_experiment(
        a_run("random", 0),
        a_run("random", 1, successes=(1, 4, 8, 8)),
        a_run("insight", 0, successes=(1, 4, 8, 8)),
        a_run("insight", 1, successes=(1, 4, 7, 8)),
    )
    row = row_about("mixed groups, in multiples", compared(experiment))
    assert row.per_seed == {0: 2.0, 1: 1.5}
    assert (row.value, row.verdict) == (1.5, "missed")
    assert row.result == "1.75 (seeds: 2.00, 1.50)"


def test_runs_of_different_length_are_compared_over_common_steps() -> None:
    short = a_run("random", successes=(0, 4, 0, 4))
    assert short.groups is not None
    short = Run("random", 0, short.metrics, short.groups.until(1), None)
    experiment = an_experiment(short, a_run("insight", successes=(4, 4, 0, 0)))
    assert row_about("in multiples", compared(experiment)).per_seed == {0: 2.0}


def test_steps_to_reach_is_the_mean_over_seeds() -> None:
    fast, base = (0.0, 0.9, 0.9, 0.9), (0.0, 0.3, 0.6, 0.9)
    experiment = an_experiment(
        a_run("random", 0, base), a_run("insight", 0, fast), a_run("random", 1), a_run("insight", 1)
    )
    row = row_about("Steps needed", compared(experiment))
    # The level 0.6 is reached at 3 of 4 steps, and by the slow seed like by random.
    assert row.per_seed == {0: pytest.approx(0.75), 1: pytest.approx(1.0)}
    assert row.value == pytest.approx(0.875)
    assert row.verdict == "missed"


def test_a_seed_that_never_gets_there_misses_the_target_and_says_so() -> None:
    experiment = an_experiment(a_run("random"), a_run("insight", accuracy=(0.0, 0.1, 0.1, 0.1)))
    row = row_about("Steps needed", compared(experiment))
    assert row.verdict == "missed"
    assert row.result == "> 1.00 (one seed); not reached in 1 of 1"


def test_only_steps_are_judged_but_rollouts_and_seconds_are_shown() -> None:
    rows = compared(an_experiment(a_run("random"), a_run("insight")))
    for effort in ("Rollouts", "Seconds"):
        row = row_about(f"{effort} needed", rows)
        assert (row.target, row.verdict, row.value) == ("", "", pytest.approx(1.0))


@pytest.mark.parametrize(("selection_ms", "verdict"), [(4.8, "met"), (4.9, "missed")])
def test_choosing_may_cost_half_a_percent(selection_ms: float, verdict: str) -> None:
    experiment = an_experiment(a_run("random"), a_run("insight", selection_ms=selection_ms))
    assert row_about("share of a step", compared(experiment)).verdict == verdict


def test_without_a_baseline_or_without_columns_nothing_is_judged() -> None:
    bare = Run("insight", 0, {"step_ms": Series(STEPS, np.ones(4))}, None, None)
    for experiment in (an_experiment(a_run("insight")), an_experiment(bare, a_run("random", 3))):
        rows = [row for row in compared(experiment) if "mixed" in row.question]
        assert [row.verdict for row in rows if row.target] == ["not measured"]


def test_a_run_that_never_had_a_mixed_group_measures_nothing() -> None:
    experiment = an_experiment(a_run("random", successes=(0, 0, 8, 8)), a_run("insight"))
    row = row_about("in multiples", compared(experiment))
    assert (row.verdict, row.result) == ("not measured", "random had no mixed group")


def test_plain_numbers_exist_for_every_arm() -> None:
    rows = measured(an_experiment(a_run("random"), a_run("random", 1), a_run("insight")))
    prompts = [row for row in rows if row.question == "Different prompts drawn"]
    assert [(row.arm, row.result) for row in prompts] == [("random", "3 ± 0"), ("insight", "3")]
    assert row_about("Rollouts generated", rows).value == 32
