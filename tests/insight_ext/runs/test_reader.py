"""Reading the files of a run's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from insight_ext.errors import ArgumentError
from insight_ext.runs.reader import read_beliefs, read_groups, read_metrics, read_runs

ANSWER = '{"step": 1, "id": "a", "prompt": "1+1=", "completion": "3", "reward": %s}\n'


def test_sparse_columns_become_series_without_gaps(tmp_path: Path) -> None:
    file = tmp_path / "metrics.csv"
    file.write_text("epoch,step,val_accuracy,step_ms\n0,0,,5\n0,1,,6\n0,1,0.25,\n")
    metrics = read_metrics(file)
    assert set(metrics) == {"val_accuracy", "step_ms"}
    assert metrics["step_ms"].steps.tolist() == [0, 1]
    assert metrics["val_accuracy"].values.tolist() == [0.25]


def test_of_a_step_logged_twice_the_last_value_counts(tmp_path: Path) -> None:
    file = tmp_path / "metrics.csv"
    file.write_text("step,step_ms\n-1,\n0,1\n1,2\n0,3\n")  # -1: before the first step
    assert read_metrics(file)["step_ms"].values.tolist() == [3.0, 2.0]


def test_groups_come_in_the_order_of_the_steps_with_unknown_predictions(tmp_path: Path) -> None:
    for name, step in (("part-0.parquet", 1), ("part-1.parquet", 0)):
        columns = {"id": ["p3"], "step": [step], "successes": [2], "rollouts": [8]}
        table = pa.table({**columns, "predicted": pa.array([None], pa.float32())})
        pq.write_table(table, tmp_path / name)
    groups = read_groups(tmp_path)
    assert groups is not None
    assert groups.step.tolist() == [0, 1]
    assert np.isnan(groups.predicted).all()
    assert (groups.ids, groups.prompt.tolist()) == (("p3",), [0, 0])
    assert groups.where(groups.step < 1).step.tolist() == [0]


def test_unfinished_part_files_are_not_read(tmp_path: Path) -> None:
    (tmp_path / ".part-0.parquet").write_bytes(b"half a file")
    assert read_groups(tmp_path) is None


def test_a_data_set_without_its_columns_or_unreadable_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"step": [0]}), tmp_path / "part-0.parquet")
    with pytest.raises(ArgumentError, match="columns id, step, successes"):
        read_groups(tmp_path)
    (tmp_path / "part-0.parquet").write_bytes(b"no parquet")
    with pytest.raises(ArgumentError, match="columns step, unseen, means"):
        read_beliefs(tmp_path)


def test_the_pool_is_the_unseen_and_the_seen(tmp_path: Path) -> None:
    rows = [
        {"step": 0, "unseen": 7, "means": [1, 0, 2]},
        {"step": 5, "unseen": 4, "means": [3, 3, 0]},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "part-0.parquet")
    beliefs = read_beliefs(tmp_path)
    assert beliefs is not None
    assert beliefs.pool_size == 10
    assert beliefs.means.shape == (2, 3)


def write_part(run: Path, ids: list[str], steps: list[int]) -> None:
    columns = {"id": ids, "step": steps, "successes": [1] * len(ids), "rollouts": [8] * len(ids)}
    folder = run / "groups.parquet"
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.table({**columns, "predicted": [0.5] * len(ids)})
    pq.write_table(table, folder / f"part-{steps[0]:010d}.parquet")


def test_versions_that_go_on_are_one_run_in_which_repeated_steps_count_once(tmp_path: Path) -> None:
    for version, rows in (("version_0", (0, 1, 2, 3)), ("version_1", (2, 3, 4))):
        write_part(tmp_path / version, [f"{version}-{step}" for step in rows], list(rows))
        text = "step,loss\n" + "".join(f"{step},{version[-1]}\n" for step in rows)
        (tmp_path / version / "metrics.csv").write_text(text)
    ((run,), empty) = read_runs(tmp_path)
    assert (run.name, empty) == ("version_0", [])
    assert run.groups is not None
    names = [run.groups.ids[at] for at in run.groups.prompt]
    assert names == ["version_0-0", "version_0-1", "version_1-2", "version_1-3", "version_1-4"]
    assert run.metrics["loss"].values.tolist() == [0, 0, 1, 1, 1]
    assert run.steps == 5


def test_versions_that_begin_anew_are_runs_of_their_own(tmp_path: Path) -> None:
    for number, first in ((0, 0), (1, 0), (2, 7), (10, 9)):
        write_part(tmp_path / f"version_{number}", ["a"], [first])
    runs, _ = read_runs(tmp_path)
    assert [(run.name, run.steps) for run in runs] == [("version_0", 1), ("version_1", 10)]


def test_versions_inside_the_folder_of_a_run_have_its_name(tmp_path: Path) -> None:
    for number, first in ((0, 0), (1, 5), (2, 0)):
        write_part(tmp_path / f"insight-seed3/version_{number}", ["a"], [first])
    runs, _ = read_runs(tmp_path)
    assert [run.name for run in runs] == ["insight-seed3", "insight-seed3/version_2"]
    assert (runs[0].arm, runs[0].seed) == ("insight", 3)


def test_a_run_without_metrics_is_read_from_its_groups(tmp_path: Path) -> None:
    write_part(tmp_path, ["a", "b"], [0, 1])
    ((run,), _) = read_runs(tmp_path)
    assert (run.steps, run.metrics, run.beliefs, run.samples) == (2, {}, None, {})


def test_of_a_prompts_answers_the_latest_is_kept(tmp_path: Path) -> None:
    write_part(tmp_path, ["a"], [0])
    answer = '{"step": %d, "id": "a", "prompt": "1+1=", "completion": "%d", "reward": 1}\n'
    (tmp_path / "samples.jsonl").write_text(answer % (0, 3) + answer % (1, 2) + '{"step": 2, "i')
    ((run,), _) = read_runs(tmp_path)
    assert {id: one.completion for id, one in run.samples.items()} == {"a": "2"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("samples.jsonl", '{"step": 1}\n', "samples.jsonl:1: expected a JSON object with step"),
        ("samples.jsonl", "no\n", "samples.jsonl:1: expected a JSON object"),
        ("samples.jsonl", "[" * 100_000 + "\n", "samples.jsonl:1: expected a JSON object"),
        ("samples.jsonl", ANSWER % '"a"', "samples.jsonl:1: expected a JSON object"),
        ("samples.jsonl", ANSWER % '1, "prompt": null', "samples.jsonl:1: expected a JSON object"),
        ("samples.jsonl", '{"id": "\udce9"}\n', "samples.jsonl:1: expected a JSON object"),
        ("config.yaml", "{", "config.yaml: expected a YAML file"),
        ("config.yaml", "a: &a [*a]", "config.yaml:1: expected no aliases"),
        ("config.yaml", "a: \udce9", "config.yaml: expected a YAML file"),
        ("config.yaml", "a: 2020-13-01", "config.yaml: expected a YAML file"),
        ("config.yaml", "3", "config.yaml: expected settings by name, got int"),
        ("run.json", "{", "run.json: expected a JSON object"),
        ("run.json", "[" * 100_000, "run.json: expected a JSON object"),
        ("run.json", '{"started": 5}', "run.json: expected a JSON object of texts"),
        ("metrics.csv", "step,\udce9\n", "metrics.csv: expected UTF-8 text"),
        ("metrics.csv", f"step,a\n1,{'9' * 200_000}x\n", "metrics.csv:2: expected numbers"),
        ("metrics.csv", f"step,a\n{10**30},1\n", "metrics.csv:2: expected numbers"),
    ],
)
def test_a_broken_file_of_a_run_is_named(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    write_part(tmp_path, ["a"], [0])
    (tmp_path / name).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ArgumentError, match=message):
        read_runs(tmp_path)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("id", [None]),
        ("step", [None]),
        ("step", [-1]),
        ("successes", ["x"]),
        ("successes", [0.5]),
        ("rollouts", [0]),
        ("predicted", ["x"]),
    ],
)
def test_groups_of_other_values_are_refused(tmp_path: Path, name: str, values: list[Any]) -> None:
    write_part(tmp_path, ["a"], [0])
    (part,) = (tmp_path / "groups.parquet").iterdir()
    table = pq.read_table(part)
    table = table.set_column(table.schema.get_field_index(name), name, pa.array(values))
    pq.write_table(table, part)
    with pytest.raises(
        ArgumentError, match=f"groups.parquet: expected Parquet files with .*{name}"
    ):
        read_runs(tmp_path)


@pytest.mark.parametrize("means", [[[1], [1, 2]], [[None], [1]], [None, [1]], ["x", "y"]])
def test_beliefs_of_another_form_are_refused(tmp_path: Path, means: Any) -> None:
    table = pa.table({"step": [0, 1], "unseen": [1, 1], "means": means})
    pq.write_table(table, tmp_path / "part-0000000000.parquet")
    with pytest.raises(ArgumentError, match="expected Parquet files with the columns step, unseen"):
        read_beliefs(tmp_path)


def test_prompts_of_a_recording_are_told_apart_though_it_keeps_their_kinds(tmp_path):
    columns = {"step": [0] * 4, "successes": [1] * 4, "rollouts": [8] * 4, "predicted": [0.5] * 4}
    for ids, known in ((["sum/"] * 4, ("sum/0", "sum/1", "sum/2")), (["a", "b", "b/", "a"],) * 2):
        folder = tmp_path / ids[0].strip("/")
        folder.mkdir()
        table = pa.table({"id": ids, "index": [0, 1, 2, 0], **columns})
        pq.write_table(table, folder / "part-0000000000.parquet")
        assert read_groups(folder).ids == tuple(dict.fromkeys(known))
