from __future__ import annotations

import csv
import re

import numpy as np
import pytest

from insight_ext import ArgumentError
from insight_ext.cli.main import main
from insight_ext.simulate import ARMS, Setting, compare
from insight_ext.simulate.arms import parse_arm, trainable_arms
from insight_ext.simulate.compare import fraction_of_steps, markdown, write_rows
from insight_ext.simulate.statistics import interval, paired_p

SMALL = Setting("logistic", pool=200, steps=12, prompts=16)


def test_the_oracle_has_all_of_its_own_saving_and_random_none():
    # Three passes over the pool: before the first is over InSight is random.
    rows, _ = compare([Setting("logistic", pool=200, steps=36, prompts=16)], ["insight"], 3)
    by_arm = {row.arm: row for row in rows}
    assert by_arm["oracle"].share == pytest.approx(1.0)
    assert by_arm["random"].share == pytest.approx(0.0)
    assert by_arm["random"].fraction == pytest.approx(1.0)
    assert by_arm["random"].p == 1.0
    assert by_arm["random"].mixed < by_arm["insight"].mixed < by_arm["oracle"].mixed
    assert by_arm["oracle"].rollouts < by_arm["random"].rollouts == 36 * 16 * 8


@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_runs(arm):
    rows, _ = compare([Setting("topics_novelty", pool=60, steps=4, prompts=8)], [arm], 2)
    row = rows[-1] if arm not in ("random", "oracle") else rows[0]
    assert 8 <= row.distinct <= 32
    assert np.isfinite(row.skill)


def test_arms_take_options():
    name, options = parse_arm("mopps:decay=1,rule=threshold")
    assert (name, options) == ("mopps", {"decay": 1, "rule": "threshold"})
    _, options = parse_arm("bots:references=meta:weak,strong,draw=false")
    assert options == {"references": "meta:weak,strong", "draw": False}


def test_an_arm_that_is_told_of_other_models_is_none_of_a_real_run():
    with pytest.raises(ArgumentError, match=r"'bots \(paper\)': expected fields of the prompts"):
        trainable_arms(["bots (paper)"], "ngrams")


def test_fields_of_prompts_are_none_of_a_simulated_run():
    with pytest.raises(ArgumentError, match=r"expected difficulty=true, .*, got 'meta:level'"):
        compare([SMALL], ["adarft:difficulty=meta:level"], 2)


def test_what_is_done_is_in_the_table_before_all_is(tmp_path, monkeypatch):
    done = []

    def stop(rows, path):
        write_rows(rows, path)
        done.append(rows[-1].learner)
        if len(done) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("insight_ext.cli.compare.write_rows", stop)
    arguments = ["compare", "--learner", "logistic,topics,drift", "--strategies", "insight"]
    arguments += ["--pool", "100", "--seeds", "2", "--steps", "3", "--prompts", "8"]
    assert main([*arguments, "--output", str(tmp_path)]) == 130
    with (tmp_path / "compare.csv").open() as file:
        assert {row["learner"] for row in csv.DictReader(file)} == {"logistic", "topics"}


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        ("magic", "unknown strategy 'magic': expected one of random, oracle"),
        ("mopps:decay", "strategy 'mopps:decay': expected NAME=VALUE, got 'decay'"),
        ("insight:dekay=1", "got 'dekay'; did you mean 'decay'?"),
    ],
)
def test_a_bad_arm_is_refused(arm, message):
    with pytest.raises(ArgumentError, match=re.escape(message)):
        compare([SMALL], [arm], 2)


def test_one_seed_is_not_a_comparison():
    with pytest.raises(ArgumentError, match="seeds: expected at least 2"):
        compare([SMALL], [], 1)


def test_the_fraction_is_where_the_line_crosses():
    assert fraction_of_steps(np.array([0.0, 1.0, 3.0, 3.5]), 2.0) == pytest.approx(1.5 / 3)


def test_sign_flips_count_the_assignments_as_extreme():
    assert paired_p(np.array([1.0, 1.0, 1.0, 1.0])) == 2 / 16
    assert paired_p(np.array([1.0, -1.0])) == 1.0
    assert paired_p(np.full(20, 0.3)) < 0.01


def test_the_interval_holds_the_mean():
    values = np.random.default_rng(0).normal(3.0, 1.0, 40)
    mean, low, high = interval(values)
    assert low < mean < high
    assert mean == pytest.approx(values.mean())
    assert high - low == pytest.approx(2 * 1.96 / 40**0.5, rel=0.25)


def test_the_table_is_written(tmp_path):
    rows, _ = compare([SMALL], [], 2)
    write_rows(rows, tmp_path / "t.csv")
    with (tmp_path / "t.csv").open() as file:
        read = list(csv.DictReader(file))
    assert [row["arm"] for row in read] == ["random", "oracle"]
    assert "| oracle |" in markdown(rows)


def test_the_command_writes_tables_and_figures(tmp_path, capsys):
    arguments = ["compare", "--learner", "logistic", "--strategies", "insight", "--pool", "100"]
    arguments += ["--seeds", "2", "--steps", "3", "--prompts", "8", "--output", str(tmp_path)]
    assert main([*arguments, "--markdown"]) == 0
    assert "| insight |" in capsys.readouterr().out
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {
        "compare.csv",
        "compare.md",
        "logistic-100-skill.png",
        "logistic-100-steps.png",
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--learner", "genius"], "unknown learner 'genius'"),
        (["--pool", "100"], "prompts: expected an integer in [1, 100] for a pool of 100, got 256"),
        (["--prompts", "0"], "prompts: expected an integer in [1, 2000]"),
        (["--pool", "0"], "pool: expected a whole number of at least 1, got 0"),
        (["--pool", "many"], "pool: expected sizes such as"),
        (["--steps", "0"], "steps: expected a whole number of at least 1, got 0"),
        (["--rollouts", "0"], "rollouts: expected a whole number of at least 1, got 0"),
        (["--workers", "0"], "workers: expected a whole number of at least 1, got 0"),
    ],
)
def test_the_command_names_what_was_typed(capsys, options, message):
    assert main(["compare", *options]) == 2
    assert f"insight-ext compare: {message}" in capsys.readouterr().err
