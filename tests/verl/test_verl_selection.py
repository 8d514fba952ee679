"""Selection in verl's own fit loop, loader, buffer and TransferQueue; no engine, no model."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

pytest.importorskip("verl")

import pyarrow.parquet as pq
import torch

from benchmarks.verl_run import BATCH, ROLLOUTS, SELECTION, config_of, run_apart, train
from insight_ext import ArgumentError, CheckpointError

FILTER = "algorithm.filter_groups.enable=True"
ROOT = Path(__file__).parent.parent.parent


def run(folder, *overrides, steps=12, mode="sync", selection=SELECTION):
    """A run's trainer, and what it left: a line a step."""
    trace = folder / "trace.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    trace.unlink(missing_ok=True)
    settings = [*selection, f"trainer.total_training_steps={steps}", *overrides]
    trainer = train(config_of(folder, *settings, mode=mode), trace)
    return trainer, [json.loads(line) for line in trace.read_text().splitlines()]


def test_every_choice_rests_on_all_results_before_it_and_mixed_groups_come_more_often(tmp_path):
    trainer, lines = run(tmp_path, steps=40)
    assert [line["lags"] for line in lines] == [[0]] * 40
    assert sum(line["mixed"] for line in lines[30:]) > 2 * sum(line["mixed"] for line in lines[:5])
    assert trainer.val_dataset.loop is None
    for line in lines:
        assert line["metrics"]["selection/frac_mixed"] == line["mixed"]
        assert len(line["chosen"]) == len(set(line["chosen"])) == BATCH
    recorded = pq.read_table(tmp_path / "groups.parquet")
    assert recorded["step"].to_pylist() == [step for step in range(40) for _ in range(BATCH)]


def test_a_batch_that_is_rolled_out_ahead_is_the_lag(tmp_path):
    _, lines = run(tmp_path, mode="colocate_async")
    assert lines[0]["lags"] == [0] * 2 * BATCH
    assert [line["lags"] for line in lines[1:]] == [[BATCH] * BATCH] * 11
    assert all(len(line["chosen"]) == BATCH for line in lines[1:])


@pytest.mark.parametrize("mode", ["sync", "colocate_async"])
def test_what_the_filter_of_verl_drops_is_observed(mode, tmp_path):
    _, lines = run(tmp_path, FILTER, mode=mode)
    answered = sum(line["groups"] for line in lines)
    assert answered > 12 * BATCH  # some were dropped
    assert lines[-1]["metrics"]["selection/rollouts_generated"] == answered * ROLLOUTS
    assert [line["trained"] for line in lines] == [BATCH * ROLLOUTS] * 12
    assert sum(line["groups"] for line in lines[-4:]) < sum(line["groups"] for line in lines[:4])


# At the end of verl's epoch of 25 steps, and within one.
@pytest.mark.parametrize(
    ("mode", "at", "more"),
    [("sync", 25, ()), ("sync", 10, (FILTER,)), ("colocate_async", 10, ())],
    ids=str,
)
def test_a_killed_run_goes_on_as_if_nothing_had_happened(mode, at, more, tmp_path):
    saving = (f"trainer.save_freq={at}", *more)
    _, whole = run(tmp_path / "whole", *saving, steps=at + 20, mode=mode)
    ended, said, trace = run_apart(
        tmp_path / "cut",
        *("--mode", mode, "--steps", str(at + 20), "--kill-at", str(at + 7)),
        *("--save-steps", str(at), "--more", *more),
    )
    assert ended == -signal.SIGKILL, said
    assert len(trace) == at + 6
    _, later = run(tmp_path / "cut", *saving, steps=at + 20, mode=mode)
    same = ("step", "chosen", "mixed", "beliefs")
    assert [[line[name] for name in same] for line in later] == [
        [line[name] for name in same] for line in whole[at:]
    ]


def test_a_named_entry_of_the_reward_says_what_is_correct(tmp_path):
    _, lines = run(tmp_path, "+data.insight.outcome=acc", steps=3)
    assert lines[-1]["metrics"]["selection/frac_mixed"] == lines[-1]["mixed"]
    with pytest.raises(ArgumentError, match="outcome: expected .* one of acc, got 'accuracy'"):
        run(tmp_path / "other", "+data.insight.outcome=accuracy", steps=3)


def test_the_settings_in_the_guide_work(tmp_path):
    page = (ROOT / "docs/trainers.md").read_text()
    shown = page.partition("\n## verl\n")[2].partition("```text\n")[2].partition("```")[0].split()
    trainer, _ = run(tmp_path, steps=3, selection=shown)
    assert trainer.train_dataset.loop.step == 3
    assert trainer.train_dataset.loop.pool.ids[7] == "task-7"


def lost(path):
    path.unlink()


def without_selection(path):
    state = torch.load(path, weights_only=False)

    def emptied(part):
        if isinstance(part, dict):
            return {k: None if k == "dataset_state" else emptied(v) for k, v in part.items()}
        return part

    torch.save(emptied(state), path)


@pytest.mark.parametrize("spoil", [lost, without_selection])
def test_a_checkpoint_without_beliefs_is_refused(spoil, tmp_path):
    run(tmp_path, "trainer.save_freq=2", steps=2)
    path = tmp_path / "global_step_2/data.pt"
    spoil(path)
    before = path.read_bytes() if path.exists() else None
    with pytest.raises(CheckpointError, match="global_step_2/data.pt: expected the beliefs"):
        run(tmp_path, steps=4)
    assert (path.read_bytes() if path.exists() else None) == before


def test_a_checkpoint_of_another_selector_is_refused(tmp_path):
    run(tmp_path, "trainer.save_freq=2", steps=2)
    with pytest.raises(CheckpointError, match="selector"):
        run(tmp_path, "+data.insight.selector=uniform", steps=4)


def test_another_batch_at_a_resume_is_warned_of(tmp_path):
    run(tmp_path, "trainer.save_freq=2", steps=2)
    with pytest.warns(UserWarning, match="prompts_per_step: 8 in the checkpoint, 4 from here on"):
        run(tmp_path, "data.train_batch_size=4", steps=3)


def test_a_run_too_short_for_its_prompts_is_warned_of(tmp_path):
    with pytest.warns(UserWarning, match="a run of 16 groups visits each of 200 prompts 0.08"):
        run(tmp_path, steps=2)
