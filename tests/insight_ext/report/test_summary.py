"""The rows of the summary, on runs whose numbers are known."""

from __future__ import annotations

import numpy as np
import pytest

from insight_ext.report.experiment import Experiment
from insight_ext.report.summary import SummaryRow, compared, measured, result_sentence
from insight_ext.runs.reader import Groups, Run, Series

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
    prompts, rollouts = np.array([0, 1, 1, 2]), np.full(4, 8)
    groups = Groups(("a", "b", "c"), prompts, STEPS, np.array(successes), rollouts, np.full(4, 0.5))
    metrics = {name: Series(STEPS[: len(v)], v) for name, v in values.items()}
    return Run(f"{arm}-seed{seed}", metrics, groups)


def an_experiment(*runs: Run) -> Experiment:
    arms = dict.fromkeys(run.arm for run in runs)
    return Experiment({arm: tuple(r for r in runs if r.arm == arm) for arm in arms})


def row_about(words: str, rows: list[SummaryRow]) -> SummaryRow:
    return next(row for row in rows if words in row.question)


def test_mixed_groups_are_compared_seed_by_seed() -> None:
    experiment = an_experiment(
        a_run("random", 0),
        a_run("random", 1, successes=(1, 4, 8, 8)),
        a_run("insight", 0, successes=(1, 4, 8, 8)),
        a_run("insight", 1, successes=(1, 4, 7, 8)),
    )
    row = row_about("mixed groups, in multiples", compared(experiment))
    assert row.per_seed == {0: 2.0, 1: 1.5}
    assert (row.value, row.result) == (1.75, "1.75 ± 0.35 (seeds: 2.00, 1.50)")


def test_runs_of_different_length_are_compared_over_common_steps() -> None:
    short = a_run("random", successes=(0, 4, 0, 4))
    assert short.groups is not None
    short = Run(short.name, short.metrics, short.groups.where(STEPS <= 1))
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


def test_a_seed_that_never_gets_there_is_a_bound_and_says_so() -> None:
    experiment = an_experiment(a_run("random"), a_run("insight", accuracy=(0.0, 0.1, 0.1, 0.1)))
    for effort in ("Steps", "Rollouts", "Seconds"):
        row = row_about(f"{effort} needed", compared(experiment))
        assert row.result == "> 1.00; not reached in 1 of 1"


def test_the_gain_is_in_points() -> None:
    better = a_run("insight", accuracy=(0.0, 0.6, 0.9, 0.9))
    row = row_about("Final accuracy above", compared(an_experiment(a_run("random"), better)))
    assert (row.result, row.value) == ("+20.0", pytest.approx(20.0))


def test_without_a_baseline_nothing_is_compared() -> None:
    assert compared(an_experiment(a_run("insight"), a_run("gps"))) == []
    assert compared(an_experiment(a_run("uniform"))) == []


def test_a_number_that_cannot_be_had_says_why() -> None:
    experiment = an_experiment(a_run("random", successes=(0, 0, 8, 8)), a_run("insight"))
    row = row_about("in multiples", compared(experiment))
    assert (row.value, row.result) == (None, "random had no mixed group")
    bare = an_experiment(Run("random"), Run("insight"))
    assert {row.result for row in compared(bare)} >= {"no seed with groups in both arms"}


def test_plain_numbers_exist_for_every_arm() -> None:
    rows = measured(an_experiment(a_run("random"), a_run("random", 1), a_run("insight")))
    prompts = [row for row in rows if row.question == "Different prompts drawn"]
    assert [(row.arm, row.result) for row in prompts] == [
        ("random", "3 with each of 2 seeds"),
        ("insight", "3"),
    ]
    assert row_about("Rollouts generated", rows).value == 32
    assert row_about("share of a step's time", rows).result == "0.02% with each of 2 seeds"


@pytest.mark.parametrize(
    ("runs", "sentence"),
    [
        (
            [a_run("mine")],
            "Held-out accuracy went from 0.0% after 1 step to 90.0% after 4.",
        ),
        (
            [a_run("mine", accuracy=(0.6,))],
            "Held-out accuracy was 60.0% after 1 step.",
        ),
        (
            [a_run("random"), a_run("insight", accuracy=(0.0, 0.9, 0.9, 0.9))],
            "After 4 steps insight has the highest held-out accuracy, 90.0%, +30.0 points against "
            "random, whose final accuracy it reaches in 75% of the steps.",
        ),
        (
            [a_run("random", accuracy=(0.0, 0.9, 0.9, 0.9)), a_run("insight")],
            "After 4 steps random has the highest held-out accuracy, 90.0%.",
        ),
        (
            [Run("mine", {}, a_run("mine").groups)],
            "In 4 steps 25% of 4 groups of mine were mixed.",
        ),
    ],
)
def test_one_sentence_says_what_came_out(runs: list[Run], sentence: str) -> None:
    assert result_sentence(an_experiment(*runs)) == sentence
