from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insight_ext import ArgumentError, ObservationError, Prompt, PromptPool
from insight_ext.offline.logs import read_log
from insight_ext.offline.tables import write_columns

ROWS = {
    "id": ["a", "b", "a"],
    "step": [0, 0, 1],
    "successes": [1, 8, 3],
    "rollouts": [8, 8, 8],
}
ENDINGS = pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
POOL = PromptPool(Prompt(name, f"{name}?", "x") for name in "cba")


@ENDINGS
def test_every_format_reads_alike(tmp_path, ending):
    write_columns(tmp_path / f"log.{ending}", ROWS)
    log = read_log(tmp_path / f"log.{ending}")
    assert log.ids == ("a", "b")
    assert log.prompt.tolist() == [0, 1, 0]
    assert log.successes.tolist() == ROWS["successes"]
    assert log.rollouts.tolist() == ROWS["rollouts"]
    assert log.step.tolist() == ROWS["step"]
    assert log.epoch is None
    assert log.uncertainty is None


@settings(deadline=None, max_examples=40)
@given(
    rows=st.lists(
        st.tuples(st.text("abc", min_size=1), st.integers(0, 5), st.integers(0, 8)), min_size=1
    ),
    ending=st.sampled_from(["csv", "jsonl", "parquet"]),
)
def test_rows_come_in_the_order_of_the_steps(tmp_path_factory, rows, ending):
    path = tmp_path_factory.mktemp("log") / f"log.{ending}"
    names, steps, successes = (list(column) for column in zip(*rows, strict=True))
    columns = {"id": names, "step": steps, "successes": successes, "rollouts": [8] * len(rows)}
    write_columns(path, columns)
    log = read_log(path)
    ordered = sorted(rows, key=lambda row: row[1])
    assert [log.ids[at] for at in log.prompt] == [row[0] for row in ordered]
    assert log.successes.tolist() == [row[2] for row in ordered]
    expected: dict[int, dict[str, list[int]]] = {}
    for name, step, won in ordered:
        counts = expected.setdefault(step, {}).setdefault(name, [0, 0])
        counts[:] = counts[0] + won, counts[1] + 8
    moments = [[column.tolist() for column in moment] for moment in log.moments()]
    assert [
        {log.ids[at]: [won, tried] for at, won, tried in zip(*moment, strict=True)}
        for moment in moments
    ] == list(expected.values())
    assert [[log.ids[at] for at in moment[0]] for moment in moments] == [
        list(counts) for counts in expected.values()
    ]


def test_the_part_files_of_a_run_are_one_log(tmp_path):
    folder = tmp_path / "groups.parquet"
    folder.mkdir()
    for first in (0, 10):
        columns = {**ROWS, "step": [first + step for step in ROWS["step"]], "predicted": [0.5] * 3}
        pq.write_table(pa.table(columns), folder / f"part-{first:010d}.parquet")
    (folder / ".part-0000000020.parquet").write_text("unfinished")
    assert read_log(folder).step.tolist() == [0, 0, 1, 10, 10, 11]


def a_run(folder):
    """A run's folder with its groups and other files."""
    (folder / "groups.parquet").mkdir(parents=True)
    pq.write_table(pa.table(ROWS), folder / "groups.parquet/part-0000000000.parquet")
    write_columns(folder / "metrics.csv", {"step": [0], "loss": [0.5]})
    return folder


def test_a_runs_folder_stands_for_its_groups(tmp_path):
    assert read_log(a_run(tmp_path / "run")).step.tolist() == [0, 0, 1]


def test_a_run_without_groups_is_refused(tmp_path):
    write_columns(tmp_path / "metrics.csv", {"step": [0], "loss": [0.5]})
    with pytest.raises(ArgumentError, match=r"expected groups\.parquet in the run's folder"):
        read_log(tmp_path)


def test_an_experiments_folder_is_refused_and_a_run_of_it_named(tmp_path):
    for seed in range(2):
        a_run(tmp_path / f"insight-seed{seed}")
    write_columns(tmp_path / "summary.csv", {"question": ["why"]})
    with pytest.raises(ArgumentError, match=r"folder of one run, got .* 2 of them.*insight-seed0"):
        read_log(tmp_path)


def test_epochs_do_for_steps(tmp_path):
    columns = {**ROWS, "epoch": [1, 0, 2]}
    del columns["step"]
    write_columns(tmp_path / "log.csv", columns)
    log = read_log(tmp_path / "log.csv")
    assert log.time.tolist() == log.epoch.tolist() == [0, 1, 2]
    assert log.ids == ("b", "a")


def test_without_step_and_epoch_all_rows_are_of_one_moment(tmp_path):
    columns = {name: values for name, values in ROWS.items() if name != "step"}
    write_columns(tmp_path / "log.csv", columns)
    log = read_log(tmp_path / "log.csv")
    assert len(list(log.moments())) == 1
    assert len(log) == 3


def test_positions_are_those_of_the_pool(tmp_path):
    write_columns(tmp_path / "log.csv", ROWS)
    log = read_log(tmp_path / "log.csv", pool=POOL)
    assert log.ids == ("c", "b", "a")
    assert log.prompt.tolist() == [2, 1, 2]


def test_integer_ids_are_read_as_text(tmp_path):
    write_columns(tmp_path / "log.parquet", {**ROWS, "id": [7, 8, 7]})
    assert read_log(tmp_path / "log.parquet").ids == ("7", "8")


PLACES = {"csv": "log.csv:3", "jsonl": "log.jsonl:2", "parquet": "log.parquet, row 1"}


@ENDINGS
@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("successes", [1, 9, 3], "expected successes to be at most the row's rollouts, got 9 of 8"),
        ("successes", [1, -1, 3], "expected successes to be at least 0, got -1"),
        ("rollouts", [8, 0, 8], "expected rollouts to be at least 1, got 0"),
        ("step", [0, -2, 1], "expected step to be at least 0, got -2"),
        ("successes", [1, 2.5, 3], "expected successes to be a whole number, got '?2.5"),
        ("step", ["0", "one", "1"], "expected step to be a whole number, got 'one'"),
        ("id", ["a", "z", "a"], "expected an id of the pool's 3 prompts, got 'z'"),
        ("id", ["a", "", "a"], "expected an id, got ''"),
    ],
)
def test_a_bad_row_is_named(tmp_path, ending, name, values, message):
    write_columns(tmp_path / f"log.{ending}", {**ROWS, name: values})
    with pytest.raises(ObservationError, match=f"{PLACES[ending]}: {message}"):
        read_log(tmp_path / f"log.{ending}", pool=POOL)


@pytest.mark.parametrize("missing", ["id", "successes", "rollouts"])
def test_a_missing_column_is_named(tmp_path, missing):
    columns = {name: values for name, values in ROWS.items() if name != missing}
    write_columns(tmp_path / "log.csv", columns)
    there = ", ".join(columns)
    message = rf"log\.csv: expected a column {missing}, its columns are {there}$"
    with pytest.raises(ObservationError, match=message):
        read_log(tmp_path / "log.csv")


def test_several_missing_columns_are_named_once(tmp_path):
    write_columns(tmp_path / "log.csv", {"step": [0], "successes": [1]})
    message = "expected a column id and a column rollouts, its columns are step, successes$"
    with pytest.raises(ObservationError, match=message):
        read_log(tmp_path / "log.csv")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("log.csv", "id,step\na,1,2\n", r"log\.csv:2: expected 2 cells"),
        ("log.jsonl", '\n{"id": \n', r"log\.jsonl:2: expected one JSON object a line"),
        ("log.jsonl", "[1]\n", r"log\.jsonl:1: expected a JSON object, got list"),
        ("log.parquet", "no parquet", r"log\.parquet: expected a Parquet file"),
        ("log.jsonl", "", r"log\.jsonl: expected at least one row"),
        ("log.csv", "id,step,successes,rollouts\n", r"log\.csv: expected at least one row"),
    ],
)
def test_a_broken_file_is_named(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ObservationError, match=message):
        read_log(tmp_path / name)


@pytest.mark.parametrize("name", ["log.txt", "nowhere.csv", "."])
def test_what_is_no_log_is_refused(tmp_path, name):
    (tmp_path / "log.txt").write_text("x")
    with pytest.raises(ArgumentError, match=r"\.csv, \.jsonl, \.parquet"):
        read_log(tmp_path / name)


def test_a_blank_line_and_a_byte_order_mark_do_no_harm(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("id,step,successes,rollouts\n\na,0,9,8\n", encoding="utf-8-sig")
    with pytest.raises(ObservationError, match=r"log\.csv:3: expected successes"):
        read_log(path)


def test_a_value_missing_in_one_line_is_named(tmp_path):
    rows = [{"id": "a", "step": 0, "successes": 1, "rollouts": 8}, {"id": "a", "step": 1}]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(ObservationError, match=r"log\.jsonl:2: expected successes .* got None"):
        read_log(tmp_path / "log.jsonl")


def test_an_id_that_stands_for_several_prompts_of_a_step_is_no_prompts_id(tmp_path):
    rows = {"id": ["add/"] * 3, "index": [7, 3, 7], "step": [0, 0, 1], "successes": [1, 0, 8]}
    path = tmp_path / "groups.parquet"
    write_columns(path, {**rows, "rollouts": [8] * 3})
    with pytest.warns(UserWarning, match="one id stands for several prompts of a step.* index"):
        log = read_log(path)
    assert (log.ids, log.prompt.tolist()) == (("7", "3"), [0, 1, 0])
    # A prompt may have moved since, where its pool changed.
    write_columns(path, {**rows, "step": [0, 1, 2], "rollouts": [8] * 3})
    assert read_log(path).ids == ("add/",)
