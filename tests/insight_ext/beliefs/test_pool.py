from __future__ import annotations

import json

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insight_ext import PoolError, Prompt, PromptPool

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
PROMPTS = st.lists(
    st.builds(Prompt, TEXT.filter(bool), TEXT, TEXT),
    min_size=1,
    max_size=8,
    unique_by=lambda p: p.id,
)


@settings(deadline=None, max_examples=40)
@given(PROMPTS)
def test_jsonl_gives_the_same_pool_back(tmp_path_factory, prompts):
    path = tmp_path_factory.mktemp("pool") / "pool.jsonl"
    pool = PromptPool(prompts)
    pool.to_jsonl(path)
    again = PromptPool.from_file(path)
    assert list(again) == prompts
    assert again.fingerprint == pool.fingerprint


@given(PROMPTS, st.data())
def test_any_change_changes_the_fingerprint(prompts, data):
    at = data.draw(st.integers(0, len(prompts) - 1))
    name = data.draw(st.sampled_from(["id", "prompt", "answer"]))
    old = {"id": prompts[at].id, "prompt": prompts[at].prompt, "answer": prompts[at].answer}
    changed = [*prompts]
    changed[at] = Prompt(**{**old, name: old[name] + "x" * 21})
    assert PromptPool(changed).fingerprint != PromptPool(prompts).fingerprint


def test_text_that_moves_from_one_field_to_the_next_changes_the_fingerprint():
    one, other = PromptPool([Prompt("a", "bc", "d")]), PromptPool([Prompt("a", "b", "cd")])
    assert one.fingerprint != other.fingerprint


def test_parquet_and_jsonl_agree(tmp_path):
    rows = [{"id": "a", "prompt": "1+1=", "answer": "2", "kind": 1}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "pool.parquet")
    (tmp_path / "pool.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    one, other = (PromptPool.from_file(tmp_path / f"pool.{e}") for e in ("parquet", "jsonl"))
    assert list(one) == list(other) == [Prompt("a", "1+1=", "2", {"kind": 1})]
    assert one.ids == ("a",)


def test_an_id_that_occurs_twice_is_named_with_its_positions():
    with pytest.raises(PoolError, match="prompt id 'a' occurs at positions 0 and 1"):
        PromptPool([Prompt("a", "", "")] * 2)


def test_an_id_of_no_text_is_refused():
    with pytest.raises(PoolError, match=r"prompts\[1\]\.id: expected a text .*, got ''"):
        PromptPool([Prompt("a", "", ""), Prompt("", "", "")])


def test_an_id_that_occurs_twice_in_parquet_is_named_with_its_rows(tmp_path):
    rows = [{"id": name, "prompt": "", "answer": ""} for name in "aba"]
    path = tmp_path / "pool.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    with pytest.raises(PoolError, match="row 2: prompt id 'a' occurs already at .*, row 0;"):
        PromptPool.from_file(path)


def test_whole_surrogate_pairs_are_read(tmp_path):
    (tmp_path / "pool.jsonl").write_text('{"id": "\\ud83d\\ude00", "prompt": "", "answer": ""}')
    assert PromptPool.from_file(tmp_path / "pool.jsonl").ids == ("\N{GRINNING FACE}",)


def test_integer_ids_and_answers_are_read_as_text(tmp_path):
    (tmp_path / "pool.jsonl").write_text('{"id": 7, "prompt": "3+4=", "answer": 7}')
    assert PromptPool.from_file(tmp_path / "pool.jsonl")[0] == Prompt("7", "3+4=", "7")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"id": "a", "prompt": "p", "answer": "x"}\n{"id": ', "pool.jsonl:2: expected one JSON"),
        ("[1]", "pool.jsonl:1: expected a JSON object, got list"),
        (
            '{"id": "a", "prompt": "p"}',
            "pool.jsonl:1: expected a field answer, its fields are id, prompt; say which it is",
        ),
        ('{"id": "a", "prompt": 3, "answer": "x"}', "prompt to be a string, got int"),
        ('{"id": "a", "prompt": "p", "answer": false}', "answer to be a string, got bool"),
        ("", "pool.jsonl: the pool is empty"),
        (
            '{"id":"a","prompt":"","answer":""}\n' * 2,
            "pool.jsonl:2: prompt id 'a' occurs already at .*pool.jsonl:1;",
        ),
        (
            '{"id": "\\ud800", "prompt": "p", "answer": "x"}',
            "pool.jsonl:1: expected id to be Unicode text, got a lone surrogate",
        ),
        (
            '{"id": "a", "prompt": "p", "answer": "1\\ude00"}',
            "pool.jsonl:1: expected answer to be Unicode text",
        ),
        ("1" * 5000, "pool.jsonl:1: expected one JSON object a line"),
    ],
)
def test_a_broken_file_names_the_file_and_the_line(tmp_path, text, message):
    (tmp_path / "pool.jsonl").write_text(text)
    with pytest.raises(PoolError, match=message):
        PromptPool.from_file(tmp_path / "pool.jsonl")


@pytest.mark.parametrize("name", ["none.jsonl", "none.parquet", "pool.csv"])
def test_an_unreadable_file_is_named(tmp_path, name):
    with pytest.raises(PoolError, match=name):
        PromptPool.from_file(tmp_path / name)


def test_a_file_that_is_not_parquet_is_named(tmp_path):
    (tmp_path / "pool.parquet").write_text("no")
    with pytest.raises(PoolError, match="pool.parquet: expected a Parquet file"):
        PromptPool.from_file(tmp_path / "pool.parquet")


@pytest.mark.parametrize("value", [7, None, b"x", ["x"], "\ud800"])
@pytest.mark.parametrize("part", ["id", "prompt", "answer"])
def test_a_part_of_a_prompt_that_is_no_text_is_named(part, value):
    parts = {"id": "a", "prompt": "?", "answer": "!", part: value}
    with pytest.raises(PoolError, match=rf"prompts\[0\]\.{part}: expected Unicode text, got "):
        PromptPool([Prompt(**parts)])


def test_rows_are_no_prompts():
    with pytest.raises(PoolError, match=r"prompts\[0\]: expected a Prompt, got {'id': 'a'}; Prom"):
        PromptPool([{"id": "a"}])


def test_an_unknown_id_is_refused():
    with pytest.raises(PoolError, match="no prompt has the id 'b'"):
        PromptPool([Prompt("a", "", "")]).position("b")
