from __future__ import annotations

from inspect import signature

import numpy as np
import pyarrow.parquet as pq
import pytest

from insight_ext import ArgumentError, Prompt, PromptPool
from insight_ext.cli.main import main
from insight_ext.curators.rank import rank
from insight_ext.offline.logs import GroupLog, read_log
from insight_ext.offline.tables import write_columns
from insight_ext.selectors import SELECTORS, make_selector

LOG = {
    "id": ["a", "b", "c", "a"],
    "step": [0, 0, 0, 1],
    "successes": [1, 8, 0, 3],
    "rollouts": [8, 8, 8, 8],
}
POOL = PromptPool(Prompt(name, f"{name}?", "x", {"kind": 1}) for name in "abcd")


@pytest.fixture
def log(tmp_path):
    write_columns(tmp_path / "log.csv", LOG)
    return tmp_path / "log.csv"


def test_all_prompts_are_ranked_where_there_are_few():
    log = GroupLog(
        ("a", "b"), np.array([0, 1]), np.array([8, 3]), np.array([8, 8]), np.array([0, 0]), None
    )
    assert rank(log).ids == ["b", "a"]


def test_the_strategy_has_seen_the_log_step_by_step(log):
    options = {"decay": 0.5, "half_life": 3.0}
    selector = make_selector("insight", 3, seed=5, candidate_ratio=None, **options)
    for step, (visited, successes) in enumerate((([0, 1, 2], [1, 8, 0]), ([0], [3]))):
        selector.observe(visited, successes, 8, step=step)
    expected = selector.select(3, step=2)
    ranking = rank(read_log(log), top=3, seed=5, options=options)
    assert ranking.ids == ["abc"[i] for i in expected]
    np.testing.assert_array_equal(ranking.predicted, selector.predict(expected).double())
    at = ranking.ids.index("a")
    assert (ranking.visits[at], ranking.successes[at], ranking.rollouts[at]) == (2, 4, 16)


def test_prompts_of_the_pool_that_were_never_visited_are_ranked_too(log):
    ranking = rank(read_log(log, pool=POOL), top=2)
    assert ranking.ids == ["d", "a"]
    assert ranking.visits.tolist() == [0, 2]


@pytest.mark.parametrize(("name", "options"), [("insight", {}), ("bots", {"draw": False})])
def test_every_prompt_is_a_candidate(tmp_path, name, options):
    successes = [8] * 500
    successes[77] = 3
    columns = {"id": [str(i) for i in range(500)], "step": [0] * 500, "successes": successes}
    write_columns(tmp_path / "log.csv", {**columns, "rollouts": [8] * 500})
    log = read_log(tmp_path / "log.csv")
    for seed in range(5):
        assert rank(log, name, top=1, seed=seed, options=options).ids == ["77"]


@pytest.mark.parametrize("name", SELECTORS)
def test_every_strategy_ranks(log, name):
    needs = "features" in signature(SELECTORS[name]).parameters
    options = {"features": "ngrams"} if needs else {}
    ranking = rank(read_log(log, pool=POOL), name, top=4, options=options, pool=POOL)
    assert sorted(ranking.ids) == list("abcd")
    assert ((ranking.predicted >= 0) & (ranking.predicted <= 1)).all()


def test_a_log_read_without_the_pool_is_refused_beside_it(log):
    with pytest.raises(ArgumentError, match="pass the pool to read_log too"):
        rank(read_log(log), top=1, pool=POOL)


def test_more_prompts_than_there_are_is_refused(log):
    with pytest.raises(ArgumentError, match=r"top: expected a whole number in \[1, 3\], got 4"):
        rank(read_log(log), top=4)


def test_the_command_prints_a_table_and_writes_a_pool(log, tmp_path, capsys):
    POOL.to_jsonl(tmp_path / "pool.jsonl")
    output = tmp_path / "next.parquet"
    arguments = ["rank", "--log", str(log), "--strategy", "insight", "--top", "2"]
    more = ["--pool", str(tmp_path / "pool.jsonl"), "--output", str(output)]
    assert main([*arguments, *more]) == 0
    printed = capsys.readouterr().out
    assert "the next 2 prompts" in printed
    assert "unseen" in printed
    table = pq.read_table(output)
    assert table["id"].to_pylist() == ["d", "a"]
    chosen = PromptPool.from_file(output)
    assert [prompt.prompt for prompt in chosen] == ["d?", "a?"]
    assert chosen[0].meta["rank"] == 1
    assert chosen[0].meta["kind"] == 1


def test_the_table_has_the_texts_of_the_prompts_that_are_given(log, tmp_path, capsys):
    POOL.to_jsonl(tmp_path / "pool.jsonl")
    asked = ["rank", "--log", str(log), "--top", "2"]
    assert main([*asked, "--pool", str(tmp_path / "pool.jsonl")]) == 0
    assert "d  d? " in capsys.readouterr().out
    assert main(asked) == 0
    assert "?" not in capsys.readouterr().out


def test_the_command_takes_a_strategys_options(log, capsys):
    assert main(["rank", "--log", str(log), "--top", "1", "--option", "mu=0.5"]) == 0
    assert main(["rank", "--log", str(log), "--top", "1", "--option", "speed=5"]) == 2
    error = capsys.readouterr().err
    assert "selector 'insight': expected options among " in error
    assert "candidate_ratio" in error


def test_the_command_takes_a_runs_folder(tmp_path, capsys):
    write_columns(tmp_path / "metrics.csv", {"step": [0], "loss": [0.5]})
    (tmp_path / "groups.parquet").mkdir()
    write_columns(tmp_path / "groups.parquet/part-0000000000.parquet", LOG)
    for command in (["rank", "--top", "2"], ["curate", "lim", "--keep", "-9"]):
        assert main([*command, "--log", str(tmp_path)]) == 0
    assert "the next 2 prompts" in capsys.readouterr().out


@pytest.mark.parametrize("top", ["0", "4"])
def test_a_top_outside_the_log_is_named_as_it_was_typed(log, capsys, top):
    assert main(["rank", "--log", str(log), "--top", top]) == 2
    assert f"rank: top: expected a whole number in [1, 3], got {top}" in capsys.readouterr().err


def test_an_unknown_strategy_lists_the_known_ones(log, capsys):
    assert main(["rank", "--log", str(log), "--strategy", "magic", "--top", "1"]) == 2
    assert "unknown selector 'magic': expected one of " in capsys.readouterr().err


@pytest.mark.parametrize("option", ["seed=5", "pool=5", "name=5", "pool_size=5"])
def test_an_option_that_is_none_is_refused(log, option, capsys):
    assert main(["rank", "--log", str(log), "--option", option]) == 2
    assert "expected " in capsys.readouterr().err
