"""Pools from files as users have them."""

from __future__ import annotations

import csv
import gzip
import json
import pickle
from datetime import date
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insight_ext import PoolError, Prompt, PromptPool
from insight_ext.adapters.dataset import pool_from_dataset

ROWS = [
    {"id": "a", "prompt": "1+1=", "answer": "2", "kind": "sum"},
    {"id": "b", "prompt": "Grüße, 世界 😀", "answer": "-3", "kind": "other"},
]
POOL = PromptPool(Prompt(r["id"], r["prompt"], r["answer"], {"kind": r["kind"]}) for r in ROWS)
CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1+1="}]
LINES = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in ROWS).encode()


def written(path, rows):
    """The path, after rows were written to it by its ending."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".arrow":
        table = pa.Table.from_pylist(rows)
        with pa.ipc.new_stream(str(path), table.schema) as stream:
            stream.write_table(table)
    else:
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def zstandard(content):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("ending", ["jsonl", "parquet", "csv", "arrow"])
def test_every_format_gives_the_same_pool(tmp_path, ending):
    pool = PromptPool.from_file(written(tmp_path / f"pool.{ending}", ROWS))
    assert list(pool) == list(POOL)
    assert pool.fingerprint == POOL.fingerprint
    assert pool.state_dict()["contents"].equal(POOL.state_dict()["contents"])
    assert pool.ids == ("a", "b")
    assert pool[-1] == POOL[-1]
    assert pool[0:2] == POOL[0:2]
    assert list(pickle.loads(pickle.dumps(pool))) == list(POOL)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("pool.jsonl.gz", gzip.compress(LINES)),
        ("pool.jsonl.gz", gzip.compress(LINES[:60]) + gzip.compress(LINES[60:])),
        ("pool.jsonl.zst", zstandard(LINES)),
        ("pool.jsonl", b"\xef\xbb\xbf" + LINES),
        ("pool.jsonl", LINES.replace(b"\n", b"\r\n")),
        ("pool.jsonl", b"\n  \n" + LINES.replace(b"\n", b"\n\n \t\n")),
        ("pool.jsonl", LINES.rstrip(b"\n")),
        ("pool.json", LINES),
        ("pool.json", json.dumps(ROWS, indent=2).encode()),
    ],
)
def test_compression_marks_and_line_ends_change_nothing(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    pool = PromptPool.from_file(tmp_path / name)
    assert list(pool) == list(POOL)


@settings(deadline=None, max_examples=40)
@given(
    rows=st.lists(
        st.dictionaries(
            st.sampled_from(["kind", "level", "more"]),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
                lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
                max_leaves=5,
            ),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_other_fields_come_back_as_they_were(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("pool") / "pool.jsonl"
    rows = [{"id": i, "prompt": "?", "answer": i, **row} for i, row in enumerate(rows)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    pool = PromptPool.from_file(path)
    for prompt, row in zip(pool, rows, strict=True):
        assert prompt.meta == {k: v for k, v in row.items() if k not in ("id", "prompt", "answer")}
    pool.to_jsonl(path)
    assert PromptPool.from_file(path).fingerprint == pool.fingerprint


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_verls_rows_are_prompts(tmp_path, ending):
    row = {
        "data_source": "openai/gsm8k",
        "prompt": CHAT,
        "reward_model": {"style": "rule", "ground_truth": "2"},
        "extra_info": {"index": 7, "split": "train"},
    }
    prompt = PromptPool.from_file(written(tmp_path / f"pool.{ending}", [row]))[0]
    assert (prompt.id, prompt.prompt, prompt.answer) == ("7", "1+1=", "2")
    assert list(prompt.messages) == CHAT
    assert prompt.meta["extra_info"]["split"] == "train"


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_messages_are_kept_and_tell_prompts_apart(tmp_path, ending):
    tools = [*CHAT, {"role": "assistant", "content": "2", "tool": {"name": "sum", "of": None}}]
    rows = [{"id": "a", "prompt": CHAT, "answer": "2"}, {"id": "b", "prompt": tools, "answer": "2"}]
    pool = PromptPool.from_file(written(tmp_path / f"pool.{ending}", rows))
    assert list(pool[0].messages) == CHAT
    assert pool[1].messages[2] == {"role": "assistant", "content": "2", "tool": {"name": "sum"}}
    again = PromptPool.from_file(written(tmp_path / "again.jsonl", [p.row() for p in pool]))
    assert again.fingerprint == pool.fingerprint
    louder = [{**rows[0], "prompt": [{"role": "system", "content": "Shout."}, CHAT[1]]}, rows[1]]
    changed = PromptPool.from_file(written(tmp_path / "louder.jsonl", louder))
    assert changed[0].prompt == pool[0].prompt
    assert changed.fingerprint != pool.fingerprint


@pytest.mark.parametrize(
    "names",
    [
        ("id", "question", "answer"),
        ("problem_id", "problem", "solution"),
        ("unique_id", "input", "ground_truth"),
        ("example_id", "messages", "target"),
    ],
)
def test_names_that_others_use_are_known(tmp_path, names):
    row = dict(zip(names, ("7", "1+1=", "2"), strict=True))
    prompt = PromptPool.from_file(written(tmp_path / "pool.jsonl", [row]))[0]
    assert prompt == Prompt("7", "1+1=", "2")


def test_fields_can_be_named(tmp_path):
    row = {"nr": 3, "prompt": "not this", "task": {"text": "1+1="}, "gold": "2", "answer": "no"}
    path = written(tmp_path / "pool.jsonl", [row])
    fields = {"id": "nr", "prompt": "task.text", "answer": "gold"}
    prompt = PromptPool.from_file(path, fields=fields)[0]
    assert (prompt.id, prompt.prompt, prompt.answer) == ("3", "1+1=", "2")
    with pytest.raises(PoolError, match="expected a field task.words for the prompt, its fields"):
        PromptPool.from_file(path, fields={"prompt": "task.words"})
    with pytest.raises(PoolError, match="expected id, prompt and answer, got 'text'"):
        PromptPool.from_file(path, fields={"text": "task.text"})


@pytest.mark.parametrize(
    ("answer", "answers"),
    [
        (10.0, ("10",)),
        (2.5, ("2.5",)),
        (7, ("7",)),
        (1 << 70, (str(1 << 70),)),
        ("10.0", ("10.0",)),
        (["1/2", "0.5", 0.5], ("1/2", "0.5", "0.5")),
        (["42"], ("42",)),
    ],
)
def test_answers_of_every_kind(tmp_path, answer, answers):
    rows = [{"id": 10.0, "prompt": "?", "answer": answer}, {"id": 2, "prompt": "?", "answer": "x"}]
    pool = PromptPool.from_file(written(tmp_path / "pool.jsonl", rows))
    assert pool[0].answers == answers
    assert pool.ids == ("10", "2")


@pytest.mark.parametrize(
    ("values", "answers"),
    [
        ([Decimal("1.50"), Decimal("2.00")], ["1.50", "2"]),
        ([1.0, 2.0], ["1", "2"]),
        ([0.5, 2.0], ["0.5", "2"]),
        ([["a"], ["b", "c"]], ["a", "b"]),
    ],
)
def test_answers_of_arrows_kinds(values, answers):
    table = pa.table({"id": ["a", "b"], "prompt": ["?", "?"], "answer": values})
    assert [prompt.answer for prompt in PromptPool.from_dataset(table)] == answers


def test_whole_numbers_that_pandas_wrote_as_floats_are_whole(tmp_path):
    rows = [{"id": "10.0", "prompt": "?", "answer": "10.0"}, {"id": "2.0", "prompt": "?"}]
    pool = PromptPool.from_file(written(tmp_path / "pool.csv", rows))
    assert list(pool) == [Prompt("10", "?", "10"), Prompt("2", "?", "")]
    assert PromptPool(pool).fingerprint == pool.fingerprint
    more = [rows[0], {"id": "1.5", "prompt": "?", "answer": "x"}]
    pool = PromptPool.from_file(written(tmp_path / "more.csv", more))
    assert [(prompt.id, prompt.answer) for prompt in pool] == [("10.0", "10.0"), ("1.5", "x")]


def test_prompts_without_ids_get_hashes_of_their_texts(tmp_path):
    texts = ["1+1=", "1+2=", "1+1="]
    rows = [{"question": text, "answer": i} for i, text in enumerate(texts)]
    pool = PromptPool.from_file(written(tmp_path / "pool.jsonl", rows))
    assert pool.ids[2] == f"{pool.ids[0]}-2"
    assert len(set(pool.ids)) == 3
    other = PromptPool.from_file(written(tmp_path / "pool.parquet", rows[1:]))
    assert other.ids[0] == pool.ids[1]
    path = written(tmp_path / "numbered.jsonl", [{"index": 0, **row} for row in rows])
    with pytest.raises(PoolError, match=r"jsonl:2: prompt id '0' occurs already at .*jsonl:1;"):
        PromptPool.from_file(path)
    assert PromptPool.from_file(path, fields={"id": None}).ids == pool.ids


def test_a_value_of_another_kind_late_in_the_file_is_read_too(tmp_path):
    rows = [{"id": i, "prompt": "?", "answer": i} for i in range(3000)]
    rows[2500]["answer"] = "x^2"
    rows[2600]["id"] = "last"
    pool = PromptPool.from_file(written(tmp_path / "pool.jsonl", rows))
    assert (pool[2500].answer, pool[2600].id, pool[2999].answer) == ("x^2", "last", "2999")


def test_texts_that_look_like_dates_stay_texts(tmp_path):
    row = {"id": "2024-01-01", "prompt": "2024-01-02", "answer": "2024-01-03T00:00:00"}
    prompt = PromptPool.from_file(written(tmp_path / "pool.jsonl", [row]))[0]
    assert prompt == Prompt("2024-01-01", "2024-01-02", "2024-01-03T00:00:00")


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_large_cells_are_read(tmp_path, ending):
    row = {"id": "a", "prompt": 'x,"\n' * 100_000, "answer": "2"}
    prompt = PromptPool.from_file(written(tmp_path / f"pool.{ending}", [row]))[0]
    assert prompt.prompt == row["prompt"]


def test_a_pool_with_dates_images_and_decimals_is_written_and_read_back(tmp_path):
    meta = {"on": date(2026, 1, 2), "price": Decimal("1.50"), "image": {"bytes": b"\x89PNG"}}
    columns = {"id": "a", "prompt": "?", "answer": "2", **meta}
    pool = PromptPool.from_dataset(pa.Table.from_pylist([columns]))
    assert pool[0].meta == meta
    pool.to_jsonl(tmp_path / "pool.jsonl")
    again = PromptPool.from_file(tmp_path / "pool.jsonl")
    assert again.fingerprint == pool.fingerprint
    assert again[0].meta == {"on": "2026-01-02", "price": "1.50", "image": {"bytes": "iVBORw=="}}


class Broken(dict):
    """What ends a program while it is written."""

    def items(self):
        raise KeyboardInterrupt


def test_a_failed_write_leaves_the_old_pool(tmp_path):
    POOL.to_jsonl(tmp_path / "pool.jsonl")
    with pytest.raises(KeyboardInterrupt):
        PromptPool([*POOL, Prompt("z", "?", "2", {"x": Broken()})]).to_jsonl(
            tmp_path / "pool.jsonl"
        )
    assert list(PromptPool.from_file(tmp_path / "pool.jsonl")) == list(POOL)
    assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(PoolError, match="cannot write the prompts"):
        POOL.to_jsonl(tmp_path / "pool.jsonl" / "below.jsonl")


def test_answers_that_do_not_parse_are_named(tmp_path, capfd):
    pytest.importorskip("math_verify")
    rows = [
        {"id": "a", "prompt": "?", "answer": "3/4"},
        {"id": "b", "prompt": "?", "answer": "\\frac{1}{"},
        {"id": "c", "prompt": "?", "answer": ["\\frac{1}{", "2"]},
        {"id": "d", "prompt": "?", "answer": "\x1b[2J" + "(" * 3000},  # takes too long
    ]
    path = written(tmp_path / "pool.jsonl", rows)
    with pytest.warns(
        UserWarning, match=r"cannot parse 2 of .* of 'b', .* of 'd'; correct"
    ) as told:
        PromptPool.from_file(path, check_answers=True)
    assert str(told[0].message).isprintable()
    assert capfd.readouterr() == ("", "")


class Split:
    """A data set in memory as `datasets` offers it, in the part that is used."""

    def __init__(self, table):
        self._table = table

    def with_format(self, kind):
        assert kind == "arrow"
        return self

    def __getitem__(self, rows):
        return self._table.slice(rows.start or 0, rows.stop)


def test_a_data_set_in_memory_is_a_pool():
    table = pa.Table.from_pylist(ROWS)
    assert list(PromptPool.from_dataset(Split(table))) == list(POOL)
    with pytest.raises(PoolError, match=r"expected one split, got train, test; give one, such as"):
        PromptPool.from_dataset({"train": Split(table), "test": Split(table)})
    with pytest.raises(PoolError, match="expected a datasets.Dataset or .* got generator"):
        PromptPool.from_dataset(row for row in ROWS)
    with pytest.raises(PoolError, match="expected a datasets.Dataset or .* got NoneType"):
        pool_from_dataset(None)
    gap = pa.table({"id": ["a", "b"], "prompt": ["?", None], "answer": [1, 2]})
    with pytest.raises(PoolError, match="the data set, row 1: expected prompt to be a string, got"):
        PromptPool.from_dataset(gap)


@pytest.mark.parametrize("prompts", [["1+1=", "1+2="], [[{"role": "user", "content": "1+1="}]]])
def test_a_data_set_needs_no_answers_where_the_trainer_has_them(tmp_path, prompts):
    table = pa.table({"prompt": prompts})
    pool = pool_from_dataset(Split(table))
    assert [prompt.answer for prompt in pool] == [""] * len(prompts)
    pq.write_table(table, tmp_path / "pool.parquet")
    of_file = PromptPool.from_file(tmp_path / "pool.parquet", fields={"answer": None})
    assert of_file.fingerprint == pool.fingerprint
    with pytest.raises(PoolError, match="expected a field prompt, its fields are text;"):
        pool_from_dataset(Split(pa.table({"text": ["1+1="]})))


def test_real_data_sets_are_pools(tmp_path):
    datasets = pytest.importorskip("datasets")
    whole = datasets.Dataset.from_list(ROWS)
    assert list(PromptPool.from_dataset(whole)) == list(POOL)
    assert PromptPool.from_dataset(whole.select([1])).ids == ("b",)
    assert set(PromptPool.from_dataset(whole.shuffle(seed=1)).ids) == {"a", "b"}
    whole.save_to_disk(tmp_path / "saved", num_shards=2)
    assert list(PromptPool.from_file(tmp_path / "saved")) == list(POOL)
    splits = datasets.DatasetDict({"train": whole, "test": whole})
    splits.save_to_disk(tmp_path / "splits")
    with pytest.raises(PoolError, match="expected one split, found test, train; give one"):
        PromptPool.from_file(tmp_path / "splits")
    assert list(PromptPool.from_file(tmp_path / "splits" / "train")) == list(POOL)
    with pytest.raises(PoolError, match="take part into memory first"):
        PromptPool.from_dataset(whole.to_iterable_dataset())
