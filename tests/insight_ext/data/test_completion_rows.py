"""Logs of completions as verl, verifiers, lm-eval and TRL with chat models write them."""

from __future__ import annotations

import json
import warnings

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from insight_ext import ArgumentError, ObservationError, Prompt, PromptPool
from insight_ext.offline.logs import read_log

POOL = PromptPool(
    [
        Prompt("two", "1+1=", "2"),
        Prompt("twelve", "11+1=", "12"),
        Prompt("why", "Why is 1+1= so short?", "x"),
    ]
)


def lines(path, rows):
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def rendered(text, system="Be brief. For example, 2+2= is 4."):
    return (
        f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{text}<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def groups(log):
    """Each visit as id, step, successes, rollouts."""
    names = [log.ids[at] for at in log.prompt]
    return list(
        zip(names, log.time.tolist(), log.successes.tolist(), log.rollouts.tolist(), strict=True)
    )


def quietly(path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_log(path, **options)


def test_trls_rendered_prompts_are_found_in_the_pool(tmp_path):
    texts = [rendered(prompt.prompt) for prompt in POOL]
    rows = [
        {"step": step, "prompt": text, "completion": f"{step} {i}", "reward": float(i)}
        for step in (2, 1)
        for text in texts
        for i in range(2)
    ]
    log = quietly(lines(tmp_path / "log.jsonl", rows), pool=POOL)
    expected = [(prompt.id, step, 1, 2) for step in (1, 2) for prompt in POOL]
    assert groups(log) == expected


def test_several_templates_may_be_mixed(tmp_path):
    rows = [
        {"prompt": rendered(prompt.prompt, system), "completion": "x", "reward": 1}
        for system in ("Be brief.", "Think. 1+1=", "")
        for prompt in POOL
    ]
    log = quietly(lines(tmp_path / "log.jsonl", rows), pool=POOL)
    assert groups(log) == [(prompt.id, 0, 3, 3) for prompt in POOL]


def test_a_text_that_only_contains_one_of_the_pool_is_refused(tmp_path):
    rows = [{"prompt": text, "reward": 1} for text in ("so 1+1= is it", "and 111+1= too")]
    with pytest.raises(ObservationError, match=r"log\.jsonl:1: expected a prompt of the pool"):
        read_log(lines(tmp_path / "log.jsonl", rows), pool=POOL)


def test_conversations_in_the_pool_match_conversations_and_renderings(tmp_path):
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1+1="}]
    rows = [{"id": "c", "prompt": chat, "answer": "2"}]
    pool = PromptPool.from_file(lines(tmp_path / "pool.jsonl", rows))
    for prompt in (chat, chat[1:], "1+1=", rendered("1+1=")):
        row = {"prompt": prompt, "completion": "2", "reward": 1.0}
        assert groups(quietly(lines(tmp_path / "log.jsonl", [row]), pool=pool)) == [("c", 0, 1, 1)]


def test_verls_dumps_are_read(tmp_path):
    for step in (10, 2):
        rows = [
            {
                "input": f"system\nBe brief.\nuser\n{prompt.prompt}\nassistant\n",
                "output": f"{i}",
                "gts": prompt.answer,
                "score": float(i == 0),
                "step": step,
                "acc": i == 0,
            }
            for prompt in POOL
            for i in range(4)
        ]
        lines(tmp_path / f"{step}.jsonl", rows)
    expected = [(prompt.id, step, 1, 4) for step in (2, 10) for prompt in POOL]
    assert groups(quietly(tmp_path, pool=POOL)) == expected
    assert quietly(tmp_path).ids[0] == "system\nBe brief.\nuser\n1+1=\nassistant\n"
    assert quietly(tmp_path, reward="acc").successes.tolist() == [1] * 6


def test_verifiers_results_are_one_moment(tmp_path):
    rows = [
        {
            "example_id": i,
            "prompt": [{"role": "user", "content": prompt.prompt}],
            "completion": [{"role": "assistant", "content": "2"}],
            "reward": reward,
            "metrics": {"format": 1.0},
            "info": {},
        }
        for i, prompt in enumerate(POOL)
        for reward in (1.0, 0.0, None)
    ]
    path = lines(tmp_path / "results.jsonl", rows)
    assert groups(quietly(path)) == [(str(i), 0, 1, 2) for i in range(3)]
    assert groups(quietly(path, pool=POOL)) == [(prompt.id, 0, 1, 2) for prompt in POOL]
    by_number = PromptPool(Prompt(str(i), f"{i}?", "x") for i in range(3))
    assert groups(quietly(path, pool=by_number)) == [(str(i), 0, 1, 2) for i in range(3)]


def lm_eval(filters):
    return [
        {
            "doc_id": i,
            "doc": {"question": prompt.prompt, "answer": prompt.answer},
            "target": prompt.answer,
            "arguments": {"gen_args_0": {"arg_0": f"Q: {prompt.prompt}\nA:", "arg_1": {"n": 1}}},
            "resps": [["2"]],
            "filtered_resps": ["2"],
            "filter": name,
            "metrics": ["exact_match"],
            "exact_match": right,
        }
        for name, right in filters.items()
        for i, prompt in enumerate(POOL)
    ]


def test_lm_evals_samples_are_read_by_one_filter(tmp_path):
    path = lines(tmp_path / "samples_gsm8k.jsonl", lm_eval({"none": 1.0}))
    assert groups(quietly(path)) == [(str(i), 0, 1, 1) for i in range(3)]
    assert groups(quietly(path, pool=POOL)) == [(prompt.id, 0, 1, 1) for prompt in POOL]
    path = lines(tmp_path / "samples_gsm8k.jsonl", lm_eval({"strict-match": 0.0, "flexible": 1.0}))
    with pytest.raises(
        ArgumentError, match="found strict-match, flexible; name it with the reward"
    ):
        read_log(path)
    for name, right in (("strict-match", 0), ("flexible", 1)):
        log = quietly(path, reward=f"exact_match,{name}")
        assert groups(log) == [(str(i), 0, right, 1) for i in range(3)]
    with pytest.raises(ObservationError, match="expected a column filter of loose among strict"):
        read_log(path, reward="exact_match,loose")


@pytest.mark.parametrize("ending", ["jsonl", "parquet", "csv"])
def test_a_row_may_hold_the_rewards_of_all_its_completions(tmp_path, ending):
    rows = [
        {"id": "a", "step": 1, "rewards": [1.0, 0.0, None]},
        {"id": "b", "step": 1, "rewards": [True, True]},
        {"id": "a", "step": 2, "rewards": []},
    ]
    path = tmp_path / f"log.{ending}"
    if ending == "jsonl":
        lines(path, rows)
    elif ending == "parquet":
        rows[1]["rewards"] = [1.0, 1.0]
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        cells = [f'{row["id"]},{row["step"]},"{json.dumps(row["rewards"])}"' for row in rows]
        path.write_text("\n".join(["id,step,rewards", *cells]))
    assert groups(quietly(path)) == [("a", 1, 1, 2), ("b", 1, 2, 2)]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("reward", [1.0, 0.0]),
        ("score", [1, 0]),
        ("acc", [True, False]),
        ("correct", ["1", "0"]),
        ("my_reward", [1.0, 0.0]),
    ],
)
def test_rewards_are_known_by_many_names(tmp_path, name, values):
    rows = [{"id": "a", "response": "x", name: value} for value in values]
    assert groups(quietly(lines(tmp_path / "log.jsonl", rows))) == [("a", 0, 1, 2)]


def test_rewards_that_are_sums_of_floats_reach_the_threshold(tmp_path):
    rows = [{"id": "a", "reward": reward} for reward in (0.7 + 0.2 + 0.1, 0.99)]
    assert groups(quietly(lines(tmp_path / "log.jsonl", rows))) == [("a", 0, 1, 2)]


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_truth_values_that_were_written_as_text_are_rewards(tmp_path, ending):
    path = tmp_path / f"log.{ending}"
    correct = ["True", "False", "true", ""]
    if ending == "csv":
        path.write_text("id,correct\n" + "".join(f"a,{text}\n" for text in correct))
    else:
        lines(path, [{"id": "a", "correct": text} for text in correct])
    assert groups(quietly(path)) == [("a", 0, 2, 3)]


def test_row_numbers_instead_of_ids_are_warned_of(tmp_path):
    rows = [{"index": i, "prompt": "1+1=", "reward": 1} for i in range(4)]
    with pytest.warns(
        UserWarning, match="each of the 4 ids has one rollout.* index seems to count"
    ):
        read_log(lines(tmp_path / "log.jsonl", rows))


@pytest.mark.parametrize("column", ["id", "doc_id", "index"])
def test_one_id_of_several_prompts_is_warned_of(tmp_path, column):
    for task in ("gsm8k", "math"):
        rows = [{column: i, "prompt": f"{task} {i}", "reward": 1} for i in range(3)]
        lines(tmp_path / f"samples_{task}.jsonl", rows)
    with pytest.warns(UserWarning, match=f"{column} '0' stands beside several prompts.* 'math 0'"):
        read_log(tmp_path)
    quietly(tmp_path / "samples_math.jsonl")


def test_numbers_as_pandas_writes_them_are_whole(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("id,step,successes,rollouts\n7.0,1.0,3.0,8.0\n9.0,2.0,8.0,8\n")
    assert groups(quietly(path)) == [("7", 1, 3, 8), ("9", 2, 8, 8)]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (pa.array([1.7]), "successes to be a whole number, got 1.7"),
        (pa.array([True]), "successes to be a whole number, got True"),
        (pa.array([(1 << 64) - 1], pa.uint64()), "got 18446744073709551615"),
        (pa.array([[True, False]]), r"got \[True, False\]"),
        (pa.array([None], pa.int64()), "got None"),
    ],
)
def test_what_is_no_whole_number_is_refused(tmp_path, values, message):
    rest = {"id": ["a"], "step": [0], "rollouts": [8]}
    pq.write_table(pa.table({**rest, "successes": values}), tmp_path / "log.parquet")
    with pytest.raises(ObservationError, match=rf"log\.parquet, row 0: expected .*{message}"):
        read_log(tmp_path / "log.parquet")


def test_an_infinite_reward_is_refused(tmp_path):
    path = lines(tmp_path / "log.jsonl", [{"id": "a", "reward": [1, float("inf")]}])
    with pytest.raises(ObservationError, match=r"jsonl:1: expected reward to be a number, got \[1"):
        read_log(path)
