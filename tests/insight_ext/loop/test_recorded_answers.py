"""The log of answers that a loop writes when asked."""

from __future__ import annotations

import math

import numpy as np
import pyarrow.parquet as pq
import pytest

from insight_ext import Group, Prompt, PromptPool, SelectionLoop
from insight_ext.curators import point_biserial
from insight_ext.filters import UncertaintyConsistency
from insight_ext.filters.uncertainty_consistency import consistency
from insight_ext.offline.logs import read_answers, read_log
from insight_ext.runs.reader import read_samples

POOL = PromptPool(Prompt(f"p{i}", f"{i}?", "x") for i in range(6))


def loop(folder, **more) -> SelectionLoop:
    return SelectionLoop(POOL, "uniform", rollouts=4, folder=folder, **{"answers": True, **more})


def train(trained: SelectionLoop, steps: int) -> None:
    """Right answers are certain for prompts of even positions, and wrong ones for the others."""
    for _ in range(steps):
        for group, position, _ in trained.deal(3):
            random = np.random.default_rng((trained.step, position))
            right = random.random(4) < 0.5
            noise = random.random((2, 4))
            perplexity = 1 + noise[0] + (right == (position % 2))
            trained.report(group, right, perplexity=perplexity, entropy=noise[1])
        trained.end_step()


def test_a_row_is_an_answer_with_its_group_and_its_uncertainties(tmp_path):
    trained = loop(tmp_path, success_threshold=0.5)
    (group, position, prompt), other = trained.deal(2)
    trained.report(group, [1.0, None], perplexity=[1.5, 1.0], entropy=[0.5, 0.0], of=4)
    trained.report(group, [0.5, 0.0], first=2, perplexity=[2.0, 3.0], entropy=[0.1, 0.2], of=4)
    trained.report(other.group, [0.0] * 4)
    trained.observe(5, [1.0])
    trained.end_step()
    trained.close()
    rows = pq.read_table(tmp_path / "answers.parquet").to_pylist()
    assert len(rows) == 9
    assert {(row["id"], row["index"], row["step"], row["group"]) for row in rows[:4]} == {
        (prompt.id, position, 0, group)
    }
    names = ("reward", "success", "perplexity", "entropy")
    assert [tuple(row[name] for name in names) for row in rows[:5]] == [
        (1.0, True, 1.5, 0.5),
        (None, None, 1.0, 0.0),
        (0.5, True, 2.0, 0.1),
        (0.0, False, 3.0, 0.2),
        (0.0, False, None, None),
    ]
    assert rows[8]["group"] == 2  # what was observed without being dealt is a group too


def test_the_run_is_curated_by_its_answers_alone(tmp_path):
    trained = loop(tmp_path)
    train(trained, 40)
    trained.close()
    log = read_answers(tmp_path, pool=POOL)
    assert len(log) == 40 * 3 * 4
    assert set(point_biserial(log, count=3).kept) == {0, 2, 4}
    assert read_answers(tmp_path, uncertainty="entropy").uncertainty.max() < 1.0
    groups = read_log(tmp_path, pool=POOL)
    assert groups.successes.sum() == log.successes.sum()


def test_answers_of_steps_that_are_trained_again_count_once(tmp_path):
    whole = loop(tmp_path / "whole")
    train(whole, 9)
    whole.close()
    killed = loop(tmp_path / "killed")
    train(killed, 4)
    state = killed.state_dict()
    train(killed, 3)
    killed.close()
    resumed = loop(tmp_path / "killed")
    resumed.load_state_dict(state)
    train(resumed, 5)
    resumed.close()
    tables = [pq.read_table(tmp_path / name / "answers.parquet") for name in ("whole", "killed")]
    assert tables[0].equals(tables[1])


def test_a_checkpoint_keeps_the_uncertainties_of_answers_in_flight(tmp_path):
    first = loop(None, max_staleness=2)
    dealt = first.deal(1)[0]
    first.report(dealt.group, [1.0], of=2, perplexity=[1.25], entropy=[0.75])
    second = loop(tmp_path, max_staleness=2)
    second.load_state_dict(first.state_dict(), in_flight="wait")
    second.report(dealt.group, [0.0], first=1, of=2, perplexity=[2.25], entropy=[1.75])
    second.end_step()
    second.close()
    rows = pq.read_table(tmp_path / "answers.parquet").to_pylist()
    assert [(row["perplexity"], row["entropy"]) for row in rows] == [(1.25, 0.75), (2.25, 1.75)]


def test_nothing_is_recorded_unless_asked(tmp_path):
    trained = loop(tmp_path, answers=False)
    train(trained, 2)
    trained.close()
    assert not (tmp_path / "answers.parquet").exists()


@pytest.mark.parametrize("needed", ["perplexity", "entropy"])
def test_a_filter_judges_by_the_uncertainty_that_it_names(needed):
    group = Group(0, (1.0, 0.0, math.nan), perplexity=(1.5, 2.0, 1.0), entropy=(0.5, 0.25, 0.1))
    expected = consistency((1.0, 0.0), getattr(group, needed)[:2])
    assert UncertaintyConsistency(uncertainty=needed).value(group) == expected


def answer(trained: SelectionLoop, steps: int, texts: bool = True) -> None:
    """Prompts from position 3 on are never solved."""
    for _ in range(steps):
        for group, position, _ in trained.deal(3):
            rewards = [0.0, 1.0, 1.0, 1.0] if position < 3 else [0.0] * 4
            words = [f"answer {n}" for n in range(4)] if texts else None
            trained.report(group, rewards, completions=words)
        trained.end_step()


@pytest.mark.parametrize("texts", [True, False], ids=["with texts", "without"])
def test_each_prompt_that_fails_has_its_key_and_once_an_answer(tmp_path, texts):
    trained = loop(tmp_path, keep_samples=1)
    answer(trained, 4, texts)
    trained.close()
    samples = read_samples(tmp_path / "samples.jsonl")
    assert {"p3", "p4", "p5"} <= samples.keys()
    assert all(sample.answer == "x" for sample in samples.values())
    assert {bool(samples[name].completion) for name in ("p3", "p4", "p5")} == {texts}
    rows = (tmp_path / "samples.jsonl").read_text().splitlines()
    assert len(rows) <= 4 * texts + 3  # one of each step, and the first of each that fails


def test_a_resumed_run_keeps_no_second_first_answer(tmp_path):
    one, whole = loop(tmp_path / "one", keep_samples=1), loop(tmp_path / "whole", keep_samples=1)
    answer(one, 4)
    answer(whole, 6)
    other = loop(tmp_path / "one", keep_samples=1)
    saved = one.state_dict()
    one.close()
    other.load_state_dict(saved)
    answer(other, 2)
    for each in (other, whole):
        each.close()
    rows = [(tmp_path / name / "samples.jsonl").read_text() for name in ("one", "whole")]
    assert rows[0] == rows[1]


def test_none_is_kept_where_none_is_asked_for(tmp_path):
    trained = loop(tmp_path, keep_samples=0)
    answer(trained, 2)
    trained.close()
    assert not (tmp_path / "samples.jsonl").exists()
