from __future__ import annotations

import csv
import json
import math
from datetime import date
from decimal import Decimal

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insight_ext import ArgumentError, Prompt, PromptPool
from insight_ext.offline.tables import prompt_columns, write_columns

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.dates()
    | st.decimals(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def cells(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))[1:]


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
@settings(deadline=None, max_examples=40)
@given(values=st.lists(VALUES, min_size=1, max_size=4))
def test_any_values_can_be_written(tmp_path_factory, ending, values):
    path = tmp_path_factory.mktemp("table") / f"table.{ending}"
    write_columns(path, {"n": list(range(len(values))), "value": values})
    if ending == "csv":
        assert [row[0] for row in cells(path)] == [str(n) for n in range(len(values))]
    elif ending == "jsonl":
        rows = [json.loads(line) for line in path.read_text().split("\n")[:-1]]
        assert [row["n"] for row in rows] == list(range(len(values)))
    else:
        assert pq.read_table(path)["n"].to_pylist() == list(range(len(values)))


def test_parquet_keeps_types_and_makes_texts_of_mixed_columns(tmp_path):
    columns = {
        "on": [date(2026, 1, 2), None],
        "price": [Decimal("1.50"), Decimal("2.00")],
        "image": [{"bytes": b"\x89", "path": None}, None],
        "mixed": [1, "x"],
        "huge": [1 << 70, 1],
        "empty": [{}, {"a": 1}],
    }
    write_columns(tmp_path / "table.parquet", columns)
    read = pq.read_table(tmp_path / "table.parquet").to_pydict()
    assert {name: read[name] for name in ("on", "price", "image")} == {
        name: columns[name] for name in ("on", "price", "image")
    }
    assert read["mixed"] == ["1", "x"]
    assert read["huge"] == [str(1 << 70), "1"]


def test_jsonl_encodes_what_json_does_not_have(tmp_path):
    values = [date(2026, 1, 2), Decimal("1.50"), b"\x89PNG", 1 << 70, math.nan, "\ud800"]
    write_columns(tmp_path / "table.jsonl", {"value": values})
    rows = [json.loads(line) for line in (tmp_path / "table.jsonl").read_text().splitlines()]
    found = [row["value"] for row in rows]
    assert found == ["2026-01-02", "1.50", "iVBORw==", 1 << 70, None, "\ud800"]


@pytest.mark.parametrize("cell", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "-x"])
def test_formulas_are_defused(tmp_path, cell):
    write_columns(tmp_path / "table.csv", {"id": [cell], cell: ["plain"]})
    assert (tmp_path / "table.csv").read_text().startswith("id,")
    assert cells(tmp_path / "table.csv") == [[f"'{cell}", "plain"]]
    with (tmp_path / "table.csv").open(newline="") as file:
        assert next(csv.reader(file)) == ["id", f"'{cell}"]


@pytest.mark.parametrize("cell", ["-3", "+1.5e-3", "a=b", "[/INST]", "-0.5", "two\nlines\tand tab"])
def test_harmless_cells_stay_as_they_are(tmp_path, cell):
    write_columns(tmp_path / "table.csv", {"id": [cell], "score": [-0.5]})
    assert cells(tmp_path / "table.csv") == [[cell, "-0.5"]]


def test_control_characters_do_not_act_in_csv(tmp_path):
    write_columns(tmp_path / "table.csv", {"id": ["a\x1b[2J\x00\u202eb"], "nothing": [math.nan]})
    assert cells(tmp_path / "table.csv") == [["a\\x1b[2J\\x00\\u202eb", ""]]


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_file_that_existed_is_never_emptied(tmp_path, ending):
    path = tmp_path / f"table.{ending}"
    write_columns(path, {"id": ["a"]})
    before = path.read_bytes()
    with pytest.raises(ValueError):
        write_columns(path, {"id": ["a"], "score": [1, 2]})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    (tmp_path / f"folder.{ending}").mkdir()
    with pytest.raises(ArgumentError, match="cannot write the table"):
        write_columns(tmp_path / f"folder.{ending}", {"id": ["a"]})


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_written_prompts_are_a_pool_with_messages_and_all_answers(tmp_path, ending):
    chat = ({"role": "user", "content": "1+1="},)
    pool = PromptPool(
        [
            Prompt("a", "1+1=", "2", {"kind": 1}, messages=chat, other_answers=("two",)),
            Prompt("b", "1+1=", "2", {}, messages=chat, other_answers=("II",)),
        ]
    )
    write_columns(tmp_path / f"pool.{ending}", prompt_columns(pool, ["b", "a"]))
    again = PromptPool.from_file(tmp_path / f"pool.{ending}")
    assert again.ids == ("b", "a")
    assert (again[1].answers, list(again[1].messages)) == (("2", "two"), list(chat))
    assert again.fingerprint == PromptPool([pool[1], pool[0]]).fingerprint
