from __future__ import annotations

import shutil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from insight_ext import ArgumentError, BetaPosteriors
from insight_ext.runs import writer
from insight_ext.runs.reader import RECENT, MetricsReader, RunFolder
from insight_ext.runs.writer import RunWriter
from lightning_integration.metrics_file import MetricsFile


def values(reader, name):
    return list(reader.series.get(name, ()))


def add_groups(written, step, *successes):
    won = torch.tensor(successes)
    eight = torch.full_like(won, 8)
    written.add_groups(step, ["a", "b"], torch.arange(2), won, eight, won / 8)


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(1, 400), max_size=12))
def test_a_file_read_in_pieces_gives_what_it_gives_at_once(cuts, tmp_path_factory):
    text = b"a,b,step\r\n" + b"".join(b"%d,%s,%d\r\n" % (i, b".5" * (i % 2), i) for i in range(40))
    path = tmp_path_factory.mktemp("pieces") / "metrics.csv"
    reader, at = MetricsReader(path), 0
    with path.open("wb", buffering=0) as file:
        for cut in [*cuts, len(text)]:
            file.write(text[at : at + cut])
            at += cut
            reader.read()
            whole = text[:at].count(b"\r\n") - 1
            assert values(reader, "a") == [(i, i) for i in range(max(whole, 0))]
    assert values(reader, "b") == [(i, 0.5) for i in range(1, 40, 2)]


def test_a_new_column_starts_the_file_anew(tmp_path):
    metrics, reader = MetricsFile(tmp_path), MetricsReader(tmp_path / "metrics.csv", RECENT)
    metrics.log_metrics({"a": 1.0}, 0)
    reader.read()
    metrics.log_metrics({"a": 2.0, "b": 3.0}, 1)
    reader.read()
    assert values(reader, "a") == [(0, 1.0), (1, 2.0)]
    assert values(reader, "b") == [(1, 3.0)]


def test_steps_that_a_resumed_run_repeats_are_forgotten(tmp_path):
    metrics, reader = MetricsFile(tmp_path), MetricsReader(tmp_path / "metrics.csv", RECENT)
    for step in range(5):
        metrics.log_metrics({"a": 1.0}, step)
    reader.read()
    resumed = MetricsFile(tmp_path)
    resumed.start_training(resumed=True)
    resumed.log_metrics({"a": 2.0}, 3)
    reader.read()
    assert values(reader, "a") == [(0, 1.0), (1, 1.0), (2, 1.0), (3, 2.0)]
    assert reader.step == 3


def test_a_longer_file_in_its_place_is_read_anew(tmp_path):
    reader = MetricsReader(tmp_path / "metrics.csv", RECENT)
    for run in (1, 2):
        other = tmp_path / "other.csv"
        other.write_text("a,step\n" + "".join(f"{run},{step}\n" for step in range(2 * run)))
        other.replace(tmp_path / "metrics.csv")
        reader.read()
    assert values(reader, "a") == [(step, 2.0) for step in range(4)]


def test_a_file_that_is_gone_is_waited_for_again(tmp_path):
    metrics, reader = MetricsFile(tmp_path), MetricsReader(tmp_path / "metrics.csv", RECENT)
    metrics.log_metrics({"a": 1.0}, 0)
    reader.read()
    metrics.start_training(resumed=False)
    reader.read()
    assert (reader.series, reader.step) == ({}, None)


def test_memory_of_a_long_file_is_bounded(tmp_path):
    lines = "".join(f"{step},{step}\n" for step in range(3 * RECENT))
    (tmp_path / "metrics.csv").write_text("a,step\n" + lines)
    reader = MetricsReader(tmp_path / "metrics.csv", RECENT)
    reader.read()
    assert values(reader, "a") == [(step, step) for step in range(2 * RECENT, 3 * RECENT)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "expected a column named step, got a, b"),
        ("a,step\n1,0\nx,1\n", "metrics.csv:3: expected numbers and an integer step, got 'x,1'"),
        ("a,step\n1,\n", "metrics.csv:2: expected numbers and an integer step"),
    ],
)
def test_what_is_no_metrics_file_is_refused(tmp_path, text, message):
    (tmp_path / "metrics.csv").write_text(text)
    with pytest.raises(ArgumentError, match=message):
        MetricsReader(tmp_path / "metrics.csv", RECENT).read()


def test_a_folder_is_read_as_far_as_it_got(tmp_path):
    run, written, beliefs = RunFolder(tmp_path), RunWriter(tmp_path), BetaPosteriors(4)
    assert (run.step, run.beliefs, run.written) == (None, None, None)
    beliefs.observe([1], [8], 8)
    written.add_beliefs(0, beliefs)
    written.flush()
    run.refresh()
    assert run.beliefs.step.tolist() == [0]
    MetricsFile(tmp_path).log_metrics({"frac_mixed": 0.5}, 7)
    beliefs.observe([2], [0], 8)
    written.add_beliefs(7, beliefs)
    written.flush()
    run.refresh()
    assert run.step == 7
    assert run.beliefs.unseen[-1] == 2
    assert run.written == max(
        path.stat().st_mtime for path in tmp_path.rglob("*") if path.is_file()
    )


def test_without_metrics_the_groups_tell_how_many_are_mixed(tmp_path):
    written = RunWriter(tmp_path)
    for step, successes in enumerate([(8, 0), (4, 8), (3, 5)]):
        add_groups(written, step, *successes)
    written.flush()
    run = RunFolder(tmp_path)
    assert list(run.series["frac_mixed"]) == [(0, 0.0), (1, 0.5), (2, 1.0)]
    assert run.step == 2


def test_of_many_parts_the_last_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "ROWS_PER_PART", 4)
    written = RunWriter(tmp_path)
    for step in range(7):
        add_groups(written, step, 4, 4)
    written.flush()
    assert [step for step, _ in RunFolder(tmp_path).series["frac_mixed"]] == [6]


def test_a_part_that_a_resumed_run_drops_does_no_harm(tmp_path, monkeypatch):
    written = RunWriter(tmp_path)
    add_groups(written, 0, 4, 4)
    written.flush()
    run = RunFolder(tmp_path)
    found = list((tmp_path / "groups.parquet").iterdir())
    shutil.rmtree(tmp_path / "groups.parquet")
    monkeypatch.setattr("pathlib.Path.glob", lambda self, pattern: iter(found))
    run.refresh()
    assert run.beliefs is None


@pytest.mark.parametrize("sign", ["config.yaml", "last.ckpt", "events.out.tfevents.1.host"])
def test_a_run_that_has_begun_is_known_by_its_first_file(tmp_path, sign):
    (tmp_path / sign).touch()
    assert RunFolder(tmp_path).written is None


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(ArgumentError, match="which is none; the run makes it when it starts"):
        RunFolder(tmp_path / "none")
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(ArgumentError, match="holds other things"):
        RunFolder(tmp_path)
    for name in ("insight-seed0", "uniform-seed0"):
        MetricsFile(tmp_path / name).log_metrics({"a": 1.0}, 0)
    with pytest.raises(ArgumentError, match="give one of them, insight-seed0, uniform-seed0"):
        RunFolder(tmp_path)
