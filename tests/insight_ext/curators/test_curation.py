from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from insight_ext import ArgumentError, Prompt, PromptPool
from insight_ext.cli.main import main
from insight_ext.curators import lim
from insight_ext.curators.curation import Curation, histogram
from insight_ext.offline.logs import read_log
from insight_ext.offline.tables import write_columns

POOL = PromptPool(Prompt(name, f"{name}?", "x", {"kind": i}) for i, name in enumerate("abcd"))
LOG = {
    "id": ["a", "b", "c", "d", "a", "b", "c", "a"],
    "epoch": [0, 0, 0, 0, 1, 1, 1, 1],
    "successes": [1, 0, 8, 2, 4, 0, 8, 4],
    "rollouts": [8] * 8,
}


@pytest.fixture
def log(tmp_path):
    write_columns(tmp_path / "log.parquet", LOG)
    return tmp_path / "log.parquet"


def test_the_report_tells_what_was_kept_and_dropped(log):
    report = lim(read_log(log)).report()
    assert "kept            1 of 4 prompts (score at least 0.6)" in report
    assert "dropped         1 for gaps in their curve" in report
    assert "note     2 epochs" in report


def test_prompts_of_the_pool_without_a_visit_are_listed(log):
    larger = PromptPool([*POOL, Prompt("e", "e?", "x")])
    result = lim(read_log(log, pool=larger))
    assert {reason: rows.tolist() for reason, rows in result.dropped.items()} == {
        "for gaps in their curve": [3],
        "never rolled out": [4],
    }


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_with_the_pool_the_output_is_a_pool(log, tmp_path, ending):
    result = lim(read_log(log, pool=POOL), count=2)
    result.write(tmp_path / f"kept.{ending}", POOL)
    kept = PromptPool.from_file(tmp_path / f"kept.{ending}")
    assert list(kept.ids) == result.kept_ids
    assert kept[0].prompt == "a?"
    assert kept[0].meta == {"kind": 0, "score": result.scores[0]}


def test_without_the_pool_the_output_has_ids_and_scores(log, tmp_path):
    result = lim(read_log(log), count=3)
    result.write(tmp_path / "kept.csv")
    assert (tmp_path / "kept.csv").read_text().splitlines()[0] == "id,score"
    result.write(tmp_path / "kept.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "kept.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == result.kept_ids
    result.write(tmp_path / "kept.parquet")
    assert pq.read_table(tmp_path / "kept.parquet")["id"].to_pylist() == result.kept_ids


def test_an_unknown_ending_is_refused(log, tmp_path):
    with pytest.raises(ArgumentError, match=r"kept\.txt: expected a file ending in"):
        lim(read_log(log)).write(tmp_path / "kept.txt")


def test_a_pool_without_a_kept_prompt_is_refused(log, tmp_path):
    other = PromptPool([Prompt("z", "?", "x")])
    with pytest.raises(ArgumentError, match="expected the pool to hold every prompt of the log"):
        lim(read_log(log)).write(tmp_path / "kept.csv", other)


def test_a_histogram_counts_everything_once():
    values = np.concatenate((np.linspace(0, 1, 500), [-100.0]))
    lines = histogram(values)
    counts = [int(line.split("#")[-1].split()[0].replace(",", "")) for line in lines]
    assert sum(counts) == 501
    assert "down to -100.00" in lines[0]


def test_equal_scores_make_one_bin():
    assert histogram(np.array([0.5, 0.5])) == [f"  0.50 ..   0.50 {'#' * 40} 2"]


def test_nothing_kept_is_no_error(tmp_path):
    nothing = np.empty(0, dtype=np.int64)
    empty = Curation(("a",), np.array([np.nan]), nothing, {"why": np.array([0])}, "rule")
    empty.write(tmp_path / "kept.parquet")
    assert "kept            0 of 1 prompts (rule)" in empty.report()


def test_the_command_curates(log, tmp_path, capsys):
    output = tmp_path / "kept.parquet"
    arguments = ["curate", "lim", "--log", str(log), "--keep", "0.6", "--output", str(output)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "1 of 4 prompts" in printed
    assert "1 for gaps" in printed
    assert "#" in printed
    assert pq.read_table(output)["id"].to_pylist() == ["a"]


def test_an_option_of_another_curator_is_named(log, capsys):
    arguments = ["curate", "point_biserial", "--log", str(log), "--steps-per-epoch", "3"]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert (
        "'point_biserial': expected options among keep, count, of, got 'steps_per_epoch'" in error
    )


def test_the_command_names_a_bad_row(tmp_path, capsys):
    write_columns(tmp_path / "log.csv", {**LOG, "successes": [1, 0, 9, 2, 4, 0, 8, 4]})
    assert main(["curate", "lim", "--log", str(tmp_path / "log.csv")]) == 2
    assert "log.csv:4: expected successes" in capsys.readouterr().err


def test_the_command_refuses_a_wrong_output_before_it_reads(tmp_path, capsys):
    arguments = ["curate", "lim", "--log", "nowhere.csv", "--output", str(tmp_path / "kept.txt")]
    assert main(arguments) == 2
    assert "kept.txt" in capsys.readouterr().err
