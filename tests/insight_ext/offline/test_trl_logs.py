"""Logs in the form that TRL's GRPOTrainer writes them."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from insight_ext import ArgumentError, ObservationError, Prompt, PromptPool
from insight_ext.offline.logs import read_log
from insight_ext.offline.tables import write_columns


def completions(step: int, prompts: list, rewards: list, word: str = "", **more) -> dict:
    """One file's columns: every prompt with its completions one after another."""
    return {
        "step": [step] * len(prompts),
        "prompt": prompts,
        "completion": [f"{word}{i}" for i in range(len(prompts))],
        "accuracy_reward": rewards,
        **more,
        "advantage": [0.0] * len(prompts),
    }


def write(folder, columns: dict) -> None:
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), folder / f"completions_{columns['step'][0]:05d}.parquet")


def test_completions_are_counted_by_prompt_and_step(tmp_path):
    folder = tmp_path / "completions"
    write(folder, completions(10, ["p", "p", "q", "q"], [1.0, 0.0, 1.0, 1.0]))
    write(folder, completions(20, ["q", "q", "r", "r"], [0.0, 0.5, 0.0, 0.0]))
    log = read_log(folder)
    assert log.ids == ("p", "q", "r")
    assert log.prompt.tolist() == [0, 1, 1, 2]
    assert log.step.tolist() == [10, 10, 20, 20]
    assert log.successes.tolist() == [1, 2, 0, 0]
    assert log.rollouts.tolist() == [2, 2, 2, 2]
    assert read_log(folder, success_threshold=0.5).successes.tolist() == [1, 2, 1, 0]


def test_a_threshold_on_one_side_of_all_rewards_is_warned_of(tmp_path):
    write(tmp_path / "c", completions(1, ["p", "p", "q", "q"], [-1.0, 0.9, 0.5, -1.0]))
    with pytest.warns(UserWarning, match=r"4 answers had .* from -1 to 0.9, and .* counts none"):
        read_log(tmp_path / "c")
    with pytest.warns(UserWarning, match=r"success_threshold -2 counts all of .* such as -0.05"):
        read_log(tmp_path / "c", success_threshold=-2)
    with pytest.warns(
        UserWarning, match=r"success_threshold 0.05 counts 2 of them .* such as -0.05"
    ):
        read_log(tmp_path / "c", success_threshold=0.05)
    assert read_log(tmp_path / "c", success_threshold="auto").successes.tolist() == [1, 1]
    with pytest.raises(ArgumentError, match="success_threshold: expected a finite number or auto"):
        read_log(tmp_path / "c", success_threshold="automatic")


def test_a_generation_that_is_logged_again_counts_once(tmp_path):
    folder = tmp_path / "completions"
    for step, word in ((1, "x"), (2, "x"), (3, "y")):
        write(folder, completions(step, ["p", "p"], [1.0, 0.0], word))
    log = read_log(folder)
    assert log.step.tolist() == [1, 3]


def test_a_conversation_is_known_by_its_users_message(tmp_path):
    chat = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "1+1="}]
    write(tmp_path / "c", completions(1, [chat, chat], [1.0, 0.0]))
    assert read_log(tmp_path / "c").ids == ("1+1=",)


def test_texts_are_looked_up_in_the_pool(tmp_path):
    pool = PromptPool([Prompt("two", "1+1=", "2"), Prompt("three", "1+2=", "3")])
    write(tmp_path / "c", completions(1, ["1+2=", "1+2="], [1.0, 0.0]))
    log = read_log(tmp_path / "c", pool=pool)
    assert (log.ids, log.prompt.tolist()) == (("two", "three"), [1])
    write(tmp_path / "c", completions(2, ["1+3=", "1+3="], [1.0, 0.0]))
    with pytest.raises(ObservationError, match=r"00002\.parquet, row 0: expected a prompt of the"):
        read_log(tmp_path / "c", pool=pool)


def test_equal_texts_with_different_answers_are_ambiguous_where_the_log_has_them(tmp_path):
    pool = PromptPool([Prompt("a", "1+1=", "2"), Prompt("b", "1+1=", "10"), Prompt("c", "?", "x")])
    write(tmp_path / "c", completions(1, ["?"], [1.0]))
    assert read_log(tmp_path / "c", pool=pool).prompt.tolist() == [2]
    write(tmp_path / "c", completions(1, ["1+1="], [1.0]))
    with pytest.raises(ArgumentError, match="'a' and 'b' of the pool have the same text"):
        read_log(tmp_path / "c", pool=pool)


def test_equal_texts_with_equal_answers_are_one_prompt(tmp_path):
    pool = PromptPool([Prompt("a", "1+1=", "2"), Prompt("b", " 1+1=\n", "2")])
    write(tmp_path / "c", completions(1, ["1+1=", "1+1="], [1.0, 0.0]))
    log = read_log(tmp_path / "c", pool=pool)
    assert (log.ids, log.prompt.tolist(), log.rollouts.tolist()) == (("a", "b"), [0], [2])


def test_a_logged_id_comes_before_the_text(tmp_path):
    write(tmp_path / "c", completions(1, ["same", "same"], [1.0, 0.0], id=["a", "b"]))
    assert read_log(tmp_path / "c").ids == ("a", "b")


def test_several_rewards_have_to_be_told_apart(tmp_path):
    write(tmp_path / "c", completions(1, ["p", "p"], [1.0, 0.0], format_reward=[1.0, 1.0]))
    with pytest.raises(ArgumentError, match="found accuracy_reward, format_reward; name it"):
        read_log(tmp_path / "c")
    assert read_log(tmp_path / "c", reward="format_reward").successes.tolist() == [2]
    with pytest.raises(ObservationError, match="expected a column speed, its columns are step"):
        read_log(tmp_path / "c", reward="speed")


def test_completions_without_a_reward_do_not_count(tmp_path):
    write(tmp_path / "c", completions(1, ["p", "p", "q"], [1.0, None, None]))
    log = read_log(tmp_path / "c")
    assert (log.ids, log.rollouts.tolist()) == (("p",), [1])


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_exported_tables_of_older_versions_read_alike(tmp_path, ending):
    columns = completions(3, ["p", "p"], [1.0, 0.0])
    del columns["advantage"]
    columns["step"] = ["3", "3"]
    columns["reward"] = columns.pop("accuracy_reward")
    write_columns(tmp_path / f"log.{ending}", columns)
    log = read_log(tmp_path / f"log.{ending}")
    assert (log.step.tolist(), log.successes.tolist()) == ([3], [1])


def test_a_bad_reward_is_named(tmp_path):
    rows = [
        {"step": 1, "prompt": "p", "completion": "x", "reward": 1.0},
        {"step": 1, "prompt": "p", "completion": "y", "reward": "good"},
    ]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(ObservationError, match=r"log\.jsonl:2: expected reward to be a number"):
        read_log(tmp_path / "log.jsonl")
