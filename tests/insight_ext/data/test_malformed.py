"""Whatever a file holds: a pool, a log, or one sentence that names it."""

from __future__ import annotations

import gzip
import json
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from insight_ext import InsightError, PromptPool
from insight_ext.cli.main import main
from insight_ext.curators.rank import rank
from insight_ext.data.table import PART
from insight_ext.offline.group_rows import MOST_ROLLOUTS
from insight_ext.offline.logs import read_answers, read_log

POOL = '{"id": "a", "prompt": "1+1=", "answer": "2"}\n'
LOG = '{"id": "a", "step": 0, "successes": 1, "rollouts": 8}\n'


def parquet(**columns):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue().to_pybytes()


def zstandard(content):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


GOOD = parquet(id=["a"], step=[0], successes=[1], rollouts=[8], prompt=["?"], answer=["2"])
MISSING = b"id,prompt,answer,step,successes,rollouts\n,1+1=,2,0,1,8\n"
LONG = (POOL * 9999).encode()
DEEP = f"{'[' * 100_000}{']' * 100_000}"
MALFORMED = {
    "an empty file": ("x.jsonl", b"", "expected at least one"),
    "blank lines": ("x.jsonl", b"\n \n\t\n", "expected at least one"),
    "an empty table": ("x.csv", b"", "expected at least one"),
    "names without rows": ("x.csv", b"id,prompt,answer,step,successes,rollouts\n", "at least one"),
    "no rows of Parquet": ("x.parquet", parquet(id=pa.array([], pa.string())), "expected"),
    "semicolons": ("x.csv", b"id;prompt;answer\na;b;c\n", r"expected commas .*sep=';'"),
    "tabs": ("x.csv", b"id\tstep\na\t1\n", r"expected commas .*sep='\\t'"),
    "a line cut off": ("x.jsonl", b'{"id": "a", "pro', ":1: expected one JSON object a line"),
    "a number": ("x.jsonl", b"12\n", ":1: expected a JSON object, got int"),
    "a list": ("x.jsonl", b"[1]\n", ":1: expected a JSON object, got list; a file that is one ar"),
    "null": ("x.jsonl", b"null\n", ":1: expected a JSON object, got NoneType"),
    "two objects in a line": ("x.jsonl", b"{} {}\n", ":1: expected one JSON object a line"),
    "an object over several lines": ("x.jsonl", b'{\n"id": 1\n}\n', ":1: expected one JSON"),
    "nested too deeply": ("x.jsonl", b"[" * 100_000, ":1: expected one JSON object a line"),
    "zero bytes": ("x.jsonl", b"\0" * 100, ":1: expected one JSON object a line"),
    "UTF-16": ("x.jsonl", POOL.encode("utf-16"), "expected UTF-8 text, got UTF-16; convert it: "),
    "UTF-16 as CSV": ("x.csv", "id,prompt\na,b\n".encode("utf-16"), "got UTF-16; convert it: "),
    "UTF-16 without a mark": ("x.jsonl", POOL.encode("utf-16-be"), "got UTF-16BE; convert it: "),
    "UTF-16 as CSV without a mark": ("x.csv", "id,a\n".encode("utf-16-le"), "got UTF-16LE; conv"),
    "UTF-32": ("x.jsonl", POOL.encode("utf-32"), "expected UTF-8 text, got UTF-32; convert it: "),
    "Latin-1": ("x.jsonl", '{"id": "é"}\n'.encode("latin-1"), ":1: expected UTF-8 .* Latin-1"),
    "Latin-1 as CSV": ("x.csv", "id,step\né,1\n".encode("latin-1"), "expected UTF-8 .* Latin-1"),
    "no gzip": ("x.jsonl.gz", POOL.encode(), "cannot read it"),
    "gzip cut off": ("x.jsonl.gz", gzip.compress(LONG)[:-20], "cannot read it: Truncated"),
    "gzip cut off as CSV": ("x.csv.gz", gzip.compress(b"id,step\n" * 999)[:-9], "cannot read it"),
    "Zstandard cut off": ("x.jsonl.zst", zstandard(LONG)[:-20], "cannot read it"),
    "gzip by another name": ("x.jsonl", gzip.compress(LONG), "expected UTF-8 text, got gzip"),
    "Parquet by another name": ("x.csv", GOOD, "expected UTF-8 text, got Parquet"),
    "no Parquet": ("x.parquet", b"no parquet at all", "expected a Parquet file"),
    "an empty Parquet": ("x.parquet", b"", "expected a Parquet file"),
    "Parquet cut off": ("x.parquet", GOOD[: len(GOOD) // 2], "expected a Parquet file"),
    "Parquet with bytes flipped": ("x.parquet", GOOD[:40] + b"\xff" * 40 + GOOD[80:], "expected"),
    "no Arrow": ("x.arrow", b"no arrow at all", "expected an Arrow file"),
    "an empty Arrow": ("x.arrow", b"", "expected an Arrow file"),
    "too many cells": ("x.csv", b"id,step\na,1,2\n", ":2: expected 2 cells"),
    "too few cells": ("x.csv", b"id,step\na\n", ":2: expected 2 cells"),
    "a quote left open": ("x.csv", b'id,step\n"a,1\nb,2\n', ": expected 2 cells"),
    "a column twice": ("x.csv", b"id,id\na,b\n", "expected distinct columns, got 'id' twice"),
    "other columns": ("x.jsonl", b'{"x": 1}\n', "expected a (field|column) "),
    "other columns of Parquet": ("x.parquet", parquet(x=[1]), "expected a (field|column) "),
    "no rows of an array": ("x.json", b"[]", "expected at least one"),
    "an empty id": ("x.csv", MISSING, ":2: expected an id, got ''"),
    "an array of numbers": ("x.json", b"[1, 2]", "row 0: expected a JSON object, got int"),
    "an array cut off": ("x.json", b'[{"id": 1}', "expected a JSON array of objects"),
}


@pytest.mark.parametrize("kind", MALFORMED)
@pytest.mark.parametrize("read", [PromptPool.from_file, read_log])
def test_what_is_malformed_is_one_sentence(tmp_path, read, kind):
    name, content, message = MALFORMED[kind]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InsightError, match=message) as error:
        read(tmp_path / name)
    assert str(error.value).startswith(str(tmp_path / name))
    assert "\n" not in str(error.value)


def attempt(read, path):
    """What was read, or the message of the refusal, one line."""
    try:
        return read(path), ""
    except InsightError as error:
        message = str(error)
    assert "\n" not in message
    return None, message


VALUES = [None, True, 1.5, -1, float("nan"), float("inf"), 1 << 64, [], ["a"], [[1]], {}, {"a": 1}]


@pytest.mark.parametrize("value", [*VALUES, ""])
@pytest.mark.parametrize("name", ["id", "step", "successes", "rollouts"])
def test_any_value_in_a_log_is_read_or_refused_with_its_line(tmp_path, name, value):
    row = {**json.loads(LOG), name: value}
    (tmp_path / "log.jsonl").write_text(f"{LOG}{json.dumps(row)}\n")
    log, message = attempt(read_log, tmp_path / "log.jsonl")
    if name == "id" and type(value) is int:
        assert log.ids[1] == str(value)
    else:
        assert "log.jsonl:2: expected " in message


@pytest.mark.parametrize("value", [*VALUES, [{"role": "user"}], [{"content": 1}]])
@pytest.mark.parametrize("name", ["id", "prompt", "answer"])
def test_any_value_in_a_pool_is_read_or_refused_with_its_line(tmp_path, name, value):
    row = {"id": "b", "prompt": "?", "answer": "2", name: value}
    (tmp_path / "pool.jsonl").write_text(f"{POOL}{json.dumps(row)}\n")
    pool, message = attempt(PromptPool.from_file, tmp_path / "pool.jsonl")
    if pool is None:
        assert "pool.jsonl:2: expected " in message
    else:
        texts = (pool[1].id, pool[1].prompt, *pool[1].answers)
        assert all(isinstance(text, str) for text in texts)


@pytest.mark.parametrize("paths", [None, 7, b"pool.jsonl", [7], [None], {7: 7}])
def test_what_is_no_path_is_refused(paths):
    for read in (PromptPool.from_file, read_log):
        with pytest.raises(InsightError, match="expected a path or a list of paths, got "):
            read(paths)


def test_a_row_longer_than_a_part_of_a_csv_file_is_refused_with_what_to_do(tmp_path):
    (tmp_path / "pool.csv").write_text(f"prompt,answer\n{'x' * (3 * PART)},2\n")
    with pytest.raises(InsightError, match="rows of at most 16 MiB, which JSONL and Parquet need"):
        PromptPool.from_file(tmp_path / "pool.csv")


def test_more_rollouts_than_a_belief_can_count_are_refused(tmp_path):
    (tmp_path / "log.jsonl").write_text(LOG.replace(": 8", f": {MOST_ROLLOUTS}"))
    log = read_log(tmp_path / "log.jsonl")
    assert rank(log, options={"rollouts": 8}).rollouts.tolist() == [MOST_ROLLOUTS]
    with pytest.raises(InsightError, match="at most 512 rollouts, got 16777216 .* --option roll"):
        rank(log)
    for rollouts in (MOST_ROLLOUTS + 1, 2**62, 2**63 - 1):
        (tmp_path / "log.jsonl").write_text(LOG.replace(": 8", f": {rollouts}"))
        with pytest.raises(InsightError, match="log.jsonl:1: expected rollouts to be at most 16,7"):
            read_log(tmp_path / "log.jsonl")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(
    [
        "id",
        "prompt",
        "answer",
        "step",
        "successes",
        "rollouts",
        "reward",
        "completion",
        "epoch",
        "uncertainty",
        "messages",
        "extra_info",
        "reward_model",
        "filter",
        "index",
    ]
)


@settings(deadline=None, max_examples=200)
@given(rows=st.lists(st.dictionaries(NAMES, JSON, max_size=8), max_size=4))
@example(rows=[{"id": None, "prompt": [None, None]}])
@example(rows=[{"id": None, "prompt": None, "reward": None}, {"filter": "\n"}])
def test_any_json_is_read_or_refused_in_one_sentence(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("any") / "any.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    for read in (PromptPool.from_file, read_log, read_answers):
        attempt(read, path)


@settings(deadline=None, max_examples=200)
@given(
    content=st.binary(max_size=300), ending=st.sampled_from(["jsonl", "csv", "parquet", "arrow"])
)
def test_any_bytes_are_refused_in_one_sentence(tmp_path_factory, content, ending):
    path = tmp_path_factory.mktemp("any") / f"any.{ending}"
    path.write_bytes(content)
    for read in (PromptPool.from_file, read_log):
        with pytest.raises(InsightError):
            read(path)


def test_a_deeply_nested_field_that_nobody_needs_does_no_harm(tmp_path):
    (tmp_path / "log.jsonl").write_text(LOG * 2000 + LOG[:-2] + f', "x": {DEEP}}}\n')
    assert len(read_log(tmp_path / "log.jsonl")) == 2001
    rows = [POOL.replace('"a"', f'"{i}"') for i in range(2000)]
    (tmp_path / "pool.jsonl").write_text("".join(rows) + POOL[:-2] + f', "x": {DEEP}}}\n')
    pool = PromptPool.from_file(tmp_path / "pool.jsonl")
    with pytest.raises(InsightError, match="the fields of prompt 'a' cannot be read"):
        pool[2000]


def test_the_command_says_what_is_wrong_without_control_characters(tmp_path, capsys):
    (tmp_path / "log.jsonl").write_text(LOG.replace('"a"', '"\\u001b[2J"'))
    (tmp_path / "pool.jsonl").write_text(POOL)
    arguments = ["rank", "--log", str(tmp_path / "log.jsonl")]
    assert main([*arguments, "--pool", str(tmp_path / "pool.jsonl")]) == 2
    assert "\x1b" not in capsys.readouterr().err
    assert main([*arguments, "--top", "1"]) == 0
    assert "\x1b[2J" not in capsys.readouterr().out


def test_a_flipped_bit_in_what_a_parquet_file_says_of_itself_does_not_end_the_process(tmp_path):
    path = tmp_path / "pool.parquet"
    about = len(GOOD) - 8 - int.from_bytes(GOOD[-8:-4], "little")
    for bit in range(8 * about, 8 * len(GOOD), 3):
        changed = bytearray(GOOD)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        with suppress(InsightError):
            PromptPool.from_file(path)
