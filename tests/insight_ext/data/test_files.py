"""Which files a path stands for."""

from __future__ import annotations

import json
import warnings

import pyarrow as pa
import pytest

from insight_ext import PoolError, PromptPool


def write(path, *names):
    """A pool with these ids."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"id": name, "prompt": "?", "answer": "1"} for name in names]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def ids(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return PromptPool.from_file(path).ids


def test_a_folder_a_list_and_a_pattern_stand_for_their_files(tmp_path):
    files = [write(tmp_path / f"{n}.jsonl", f"p{n}") for n in (10, 2, 1)]
    write(tmp_path / ".hidden.jsonl", "hidden")
    (tmp_path / "README.md").write_text("about")
    assert ids(tmp_path) == ids(str(tmp_path / "*.jsonl")) == ("p1", "p2", "p10")
    assert ids(files) == ("p10", "p2", "p1")
    assert ids([str(files[0]), tmp_path / "[12].jsonl"]) == ("p10", "p1", "p2")


def test_an_id_in_two_files_is_named_with_both(tmp_path):
    write(tmp_path / "a.jsonl", "p")
    write(tmp_path / "b.jsonl", "q", "p")
    with pytest.raises(PoolError, match=r"b\.jsonl:2: prompt id 'p' .* at .*a\.jsonl:1;"):
        PromptPool.from_file(tmp_path)


def test_a_lone_shard_is_warned_of_and_all_of_them_are_not(tmp_path):
    shards = [write(tmp_path / f"train-0000{i}-of-00003.jsonl", f"p{i}") for i in range(3)]
    assert ids(tmp_path) == ("p0", "p1", "p2")
    message = r"2 of 3 shards are read, train-00001-of-00003\.jsonl is not among them"
    with pytest.warns(UserWarning, match=message):
        assert PromptPool.from_file([shards[0], shards[2]]).ids == ("p0", "p2")


def test_a_downloaded_repository_stands_for_its_data(tmp_path):
    write(tmp_path / "data" / "train-00000-of-00001.jsonl", "p")
    assert ids(tmp_path) == ("p",)


def test_splits_are_not_mixed(tmp_path):
    write(tmp_path / "train-00000-of-00001.jsonl", "p")
    write(tmp_path / "test-00000-of-00001.jsonl", "q")
    with pytest.raises(PoolError, match="expected one split, found test, train; give one of them"):
        PromptPool.from_file(tmp_path)
    assert ids(tmp_path / "train*.jsonl") == ("p",)


def test_a_folder_that_datasets_saved_stands_for_what_it_lists(tmp_path):
    rows = [[{"id": name, "prompt": "?", "answer": "1"}] for name in "pq"]
    for i, part in enumerate(rows):
        table = pa.Table.from_pylist(part)
        with pa.ipc.new_stream(str(tmp_path / f"data-0000{i}-of-00002.arrow"), table.schema) as out:
            out.write_table(table)
    listed = [{"filename": f"data-0000{i}-of-00002.arrow"} for i in range(2)]
    (tmp_path / "state.json").write_text(json.dumps({"_data_files": listed}))
    (tmp_path / "dataset_info.json").write_text("{}")
    assert ids(tmp_path) == ("p", "q")
    (tmp_path / "data-00001-of-00002.arrow").unlink()
    with pytest.raises(PoolError, match=r"data-00001-of-00002\.arrow: the file is missing"):
        PromptPool.from_file(tmp_path)


def test_a_name_on_the_hub_is_refused_with_the_command_that_downloads_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = "hf download openai/gsm8k --repo-type dataset --local-dir gsm8k"
    with pytest.raises(PoolError, match=command):
        PromptPool.from_file("openai/gsm8k")
    (tmp_path / "gsm8k" / "main").mkdir(parents=True)
    with pytest.raises(PoolError, match="found none; it holds the folders main"):
        PromptPool.from_file("gsm8k")


@pytest.mark.parametrize("path", ["none.jsonl", "folder/none.parquet", "*.jsonl", [], ["a.txt"]])
def test_what_is_not_there_is_one_sentence(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(PoolError, match="expected") as error:
        PromptPool.from_file(path)
    assert "\n" not in str(error.value)
