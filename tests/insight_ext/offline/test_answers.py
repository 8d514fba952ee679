"""Logs with a row for each answer and its uncertainty."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from insight_ext import ArgumentError, ObservationError
from insight_ext.cli.main import main
from insight_ext.curators.lim import epochs, learning_curves
from insight_ext.offline.logs import read_answers, read_log
from insight_ext.offline.tables import write_columns

COLUMNS = {
    "id": ["a", "a", "b", "b"],
    "reward": [1.0, 0.0, 0.5, 1.0],
    "perplexity": [1.5, 2.0, 3.0, 4.0],
    "entropy": [0.1, 0.2, 0.3, 0.4],
}
ENDINGS = pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])


@ENDINGS
def test_answers_need_no_step(tmp_path, ending):
    write_columns(tmp_path / f"log.{ending}", COLUMNS)
    log = read_answers(tmp_path / f"log.{ending}")
    assert log.ids == ("a", "b")
    assert log.prompt.tolist() == [0, 0, 1, 1]
    assert log.successes.tolist() == [1, 0, 0, 1]
    assert log.rollouts.tolist() == [1, 1, 1, 1]
    assert log.uncertainty.tolist() == COLUMNS["perplexity"]
    threshold = {"success_threshold": 0.5, "uncertainty": "entropy"}
    other = read_answers(tmp_path / f"log.{ending}", **threshold)
    assert other.successes.tolist() == [1, 0, 1, 1]
    assert other.uncertainty.tolist() == COLUMNS["entropy"]


def test_counted_answers_need_no_step_either(tmp_path):
    counted = {"id": ["a", "a"], "successes": [0, 1], "rollouts": [1, 1], "uncertainty": [2.0, 1.0]}
    write_columns(tmp_path / "log.csv", counted)
    assert read_answers(tmp_path / "log.csv").uncertainty.tolist() == [2.0, 1.0]
    assert read_log(tmp_path / "log.csv").step.tolist() == [0, 0]


def test_answers_of_epochs_are_curves_also_where_some_could_not_be_scored(tmp_path):
    rewards = [1.0, 0.0, None, None, 0.0, 1.0, 1.0, 1.0]  # nothing is known of b in the first epoch
    columns = {"id": list("aabb") * 2, "epoch": [0] * 4 + [1] * 4, "reward": rewards}
    write_columns(tmp_path / "log.jsonl", {**columns, "perplexity": [2.0] * 8})
    log = read_log(tmp_path / "log.jsonl")
    assert log.step is None
    curves = learning_curves(*epochs(log))
    np.testing.assert_array_equal(curves, [[0.5, 0.5], [np.nan, 1.0]])
    assert read_answers(tmp_path / "log.jsonl").epoch.tolist() == [0, 0, 1, 1, 1, 1]


def test_steps_in_some_files_and_epochs_in_others_are_refused(tmp_path):
    for name in ("step", "epoch"):
        write_columns(tmp_path / f"{name}.csv", {"id": ["a"], name: [0], "reward": [1.0]})
    with pytest.raises(ObservationError, match="files to share a column step or epoch"):
        read_log(tmp_path)


def test_a_list_of_answers_in_a_row_is_read_one_by_one(tmp_path):
    row = {"id": "a", "rewards": [1, 0, None], "perplexity": [1.5, 2.5, None]}
    (tmp_path / "log.jsonl").write_text(json.dumps(row))
    log = read_answers(tmp_path / "log.jsonl")
    assert log.successes.tolist() == [1, 0]
    assert log.uncertainty.tolist() == [1.5, 2.5]


def test_trls_completions_keep_their_answers_and_their_uncertainty(tmp_path):
    for step in (1, 2, 3):
        words = ["x", "y"] if step < 3 else ["u", "v"]  # the second generation is logged again
        columns = {
            "step": [step] * 2,
            "prompt": ["p"] * 2,
            "completion": words,
            "accuracy_reward": [1.0, 0.0],
            "uncertainty": [1.0 + step, 2.0 + step],
            "advantage": [0.0] * 2,
        }
        pq.write_table(pa.table(columns), tmp_path / f"completions_{step:05d}.parquet")
    log = read_answers(tmp_path)
    assert log.ids == ("p",)
    assert log.step.tolist() == [1, 1, 3, 3]
    assert log.successes.tolist() == [1, 0, 1, 0]
    assert log.uncertainty.tolist() == [2.0, 3.0, 4.0, 5.0]
    assert read_log(tmp_path).rollouts.tolist() == [2, 2]


def test_answers_count_as_groups_for_other_readers(tmp_path):
    write_columns(tmp_path / "log.csv", COLUMNS)
    log = read_log(tmp_path / "log.csv")
    assert (log.successes.tolist(), log.rollouts.tolist()) == ([1, 1], [2, 2])
    assert log.uncertainty is None


@ENDINGS
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"perplexity": [1.0, None, 3.0, 4.0]}, "expected perplexity to be a number for each"),
        ({"perplexity": [1.0, "high", 3.0, 4.0]}, "expected perplexity to be a number"),
        ({"perplexity": None, "entropy": None}, "uncertainty or perplexity or entropy, its col"),
    ],
    ids=["missing", "no number", "no column"],
)
def test_an_answer_without_an_uncertainty_is_named(tmp_path, ending, changed, message):
    columns = {name: values for name, values in (COLUMNS | changed).items() if values}
    write_columns(tmp_path / f"log.{ending}", columns)
    with pytest.raises(ObservationError, match=message):
        read_answers(tmp_path / f"log.{ending}")


def test_a_run_that_recorded_no_answers_is_told_how_to(tmp_path):
    (tmp_path / "groups.parquet").mkdir()
    with pytest.raises(ArgumentError, match=r"expected answers\.parquet .* answers=True"):
        read_answers(tmp_path)


def test_the_command_curates_by_the_uncertainty_that_is_named(tmp_path, capsys):
    random = np.random.default_rng(0)
    right = random.random(600) < 0.5
    noise = random.random((2, 600))
    follows = np.repeat(np.arange(10), 60) >= 5
    write_columns(
        tmp_path / "answers.parquet",
        {
            "id": [f"p{i // 60}" for i in range(600)],
            "success": right.tolist(),
            "perplexity": (2 + noise[0] - follows * right).tolist(),
            "entropy": (2 + noise[1] - ~follows * right).tolist(),
        },
    )
    arguments = ["curate", "point_biserial", "--log", str(tmp_path / "answers.parquet")]
    for more, kept in (([], "56789"), (["--uncertainty", "entropy"], "01234")):
        output = tmp_path / "kept.csv"
        assert main([*arguments, *more, "--output", str(output), "--keep", "0.5"]) == 0
        ids = {line.split(",")[0] for line in output.read_text().splitlines()[1:]}
        assert ids == {f"p{digit}" for digit in kept}
    assert "50% of all prompts" in capsys.readouterr().out
