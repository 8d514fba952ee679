from __future__ import annotations

import resource
import warnings
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from insight_ext import ArgumentError, BetaPosteriors, InsightError
from insight_ext.runs import writer
from insight_ext.runs.layout import Sample, groups_schema
from insight_ext.runs.reader import read_samples
from insight_ext.runs.writer import PartFiles, RunWriter, SampleFile

GROUPS = groups_schema()


def row(step):
    return {
        "id": [f"p{step}"],
        "index": [step],
        "step": [step],
        "successes": [step % 9],
        "rollouts": [8],
        "predicted": [0.5],
    }


def steps(folder):
    return pq.read_table(folder)["step"].to_pylist()


def parts(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def test_rows_reach_the_disk_with_a_flush(tmp_path):
    files = PartFiles(tmp_path / "g", GROUPS)
    files.append(row(0))
    assert not (tmp_path / "g").exists()
    files.flush()
    files.append(row(1))
    assert steps(tmp_path / "g") == [0]
    files.flush()
    assert steps(tmp_path / "g") == [0, 1]
    assert parts(tmp_path / "g") == ["part-0000000000.parquet"]


def test_full_parts_are_closed(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "ROWS_PER_PART", 3)
    files = PartFiles(tmp_path / "g", GROUPS)
    for step in range(8):
        files.append(row(step))
    files.flush()
    assert parts(tmp_path / "g") == [f"part-000000000{first}.parquet" for first in (0, 3, 6)]
    assert steps(tmp_path / "g") == list(range(8))


@settings(max_examples=40, deadline=None)
@given(before=st.integers(0, 20), back=st.integers(0, 25), after=st.integers(0, 10))
def test_a_rewound_history_is_that_of_an_uninterrupted_run(tmp_path_factory, before, back, after):
    folder = tmp_path_factory.mktemp("history") / "g"
    original = writer.ROWS_PER_PART
    writer.ROWS_PER_PART = 4
    try:
        files = PartFiles(folder, GROUPS)
        for step in range(before):
            files.append(row(step))
            if step % 3 == 0:
                files.flush()
        resumed = PartFiles(folder, GROUPS)
        resumed.rewind(back)
        begin = min(back, steps(folder)[-1] + 1 if folder.exists() and parts(folder) else 0)
        for step in range(begin, begin + after):
            resumed.append(row(step))
        resumed.flush()
    finally:
        writer.ROWS_PER_PART = original
    if begin + after:
        assert steps(folder) == list(range(begin + after))


def test_what_a_kill_leaves_of_an_unfinished_write_is_not_read(tmp_path):
    files = PartFiles(tmp_path / "g", GROUPS)
    files.append(row(0))
    files.flush()
    (tmp_path / "g/.unfinished-part-0000000000.parquet").write_bytes(b"PAR1 torn")
    assert steps(tmp_path / "g") == [0]
    resumed = PartFiles(tmp_path / "g", GROUPS)
    resumed.rewind(1)
    resumed.append(row(1))
    resumed.flush()
    assert steps(tmp_path / "g") == [0, 1]
    assert parts(tmp_path / "g") == ["part-0000000000.parquet"]


def test_beliefs_are_counted_in_bins_of_their_means(tmp_path):
    beliefs = BetaPosteriors(5, prior=(1.0, 1.0))
    beliefs.observe([0, 1], successes=[8, 0], rollouts=8)
    recorded = RunWriter(tmp_path)
    recorded.add_beliefs(0, beliefs)
    recorded.flush()
    (found,) = pq.read_table(tmp_path / "beliefs.parquet").to_pylist()
    assert found["unseen"] == 3
    assert {i: n for i, n in enumerate(found["means"]) if n} == {2: 1, 18: 1}


def test_a_folder_has_one_writer_at_a_time(tmp_path):
    first = RunWriter(tmp_path)
    with pytest.raises(ArgumentError, match="no other run writes"):
        RunWriter(tmp_path)
    first.close()
    RunWriter(tmp_path)


def test_a_run_that_replaces_the_record_of_an_earlier_one_warns(tmp_path):
    first = RunWriter(tmp_path)
    first.add_groups(0, ["a"], *(torch.tensor([1]) for _ in range(3)), torch.tensor([0.5]))
    first.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RunWriter(tmp_path, 1).close()  # goes on with it
    assert steps(tmp_path / "groups.parquet") == [0]
    with pytest.warns(UserWarning, match="expected no record of an earlier run, .* got one, which"):
        RunWriter(tmp_path).close()


def test_the_reward_of_a_sample_is_written_without_the_noise_of_float32(tmp_path):
    file = SampleFile(tmp_path / "samples.jsonl")
    file.append([Sample(0, "a", "1+1=", "3", torch.tensor(0.1).item())])
    file.flush()
    assert '"reward": 0.1,' in file.path.read_text()


@pytest.mark.parametrize("room", [0, 100])
def test_a_full_disk_is_one_sentence_and_the_record_goes_on_when_there_is_room(tmp_path, room):
    def add(run, step):
        run.add_groups(step, ["a"], *(torch.tensor([n]) for n in (0, 1, 8)), torch.tensor([0.5]))
        run.add_samples([Sample(step, f"p{step}", "1+1=", "2" * 80, 1.0, "2")])

    run = RunWriter(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    add(run, 0)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
        for call in (run.flush, run.flush, run._samples.flush):
            with pytest.raises(InsightError, match="cannot write the run's record: .*; make room"):
                call()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    add(run, 1)
    run.flush()
    assert steps(tmp_path / "groups.parquet") == [0, 1]
    assert list(read_samples(tmp_path / "samples.jsonl")) == ["p0", "p1"]
    add(run, 2)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
        with pytest.raises(InsightError, match="cannot write the run's record"):
            run.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    RunWriter(tmp_path, 2).close()  # nobody holds the folder
