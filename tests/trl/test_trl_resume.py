"""A TRL run that is killed and resumed chooses what an uninterrupted one chooses."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest

pytest.importorskip("trl")

import pyarrow.parquet as pq
from transformers import TrainerCallback, TrainerState

from benchmarks.trl_run import make_trainer, run_apart, tiny_dataset
from insight_ext.adapters.trl import FILE, select_prompts
from insight_ext.distributed.ranks import digest
from insight_ext.errors import CheckpointError

SAME = ("chosen", "reward", "loss", "beliefs")

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def later(trace, step, keys=SAME):
    return [[line[key] for key in keys] for line in trace if line["step"] > step]


@pytest.mark.parametrize(
    ("processes", "settings"),
    [
        (1, {}),
        (1, {"num_iterations": 2, "gradient_accumulation_steps": 1}),
        (2, {}),
        (2, {"per_device_train_batch_size": 12}),  # three groups: one is split between the two
    ],
    ids=str,
)
def test_a_killed_run_goes_on_as_if_nothing_had_happened(processes, settings, tmp_path):
    saving = ["--steps", "40", "--save-steps", "20", "--settings", json.dumps(settings)]
    whole, expected = run_apart(tmp_path / "whole", *saving, processes=processes)
    assert whole.returncode == 0, whole.stderr
    killed, traces = run_apart(tmp_path / "cut", *saving, "--kill-at", "27", processes=processes)
    assert killed.returncode == (-signal.SIGKILL if processes == 1 else 1)
    assert [len(trace) for trace in traces] == [27] * processes
    resumed, traces = run_apart(tmp_path / "cut", *saving, "--resume", processes=processes)
    assert resumed.returncode == 0, resumed.stderr
    for mine, all_ in zip(traces, expected, strict=True):
        assert len(mine) == 20
        assert later(mine, 0) == later(all_, 20)
    assert later(traces[0], 0) == later(traces[-1], 0)


def test_two_processes_go_on_from_the_beliefs_of_one(tmp_path):
    alone, (trace,) = run_apart(tmp_path, "--steps", "8", "--save-steps", "4")
    assert alone.returncode == 0, alone.stderr
    shutil.rmtree(tmp_path / "checkpoint-8")
    both, traces = run_apart(tmp_path, "--steps", "8", "--resume", processes=2)
    assert both.returncode == 0, both.stderr
    assert later(traces[0], 0) == later(traces[1], 0)
    assert traces[0][0]["chosen"] == trace[4]["chosen"]


def saved(folder, steps=4, **settings):
    """A run with a checkpoint at every second step."""
    return make_trainer(
        folder, max_steps=steps, **{"save_strategy": "steps", "save_steps": 2, **settings}
    )


def test_the_record_of_a_resumed_run_has_every_step_once(tmp_path):
    trainer = saved(tmp_path, steps=6)
    select_prompts(trainer)
    trainer.train()
    shutil.rmtree(tmp_path / "checkpoint-6")
    again = saved(tmp_path, steps=6)
    select_prompts(again)
    again.train(resume_from_checkpoint=True)
    steps = pq.read_table(tmp_path / "groups.parquet")["step"].to_pylist()
    assert steps == [step for step in range(6) for _ in range(8)]


def test_another_batch_at_a_resume_is_warned_of(tmp_path):
    trainer = saved(tmp_path, save_steps=4)
    select_prompts(trainer)
    trainer.train()
    again = saved(tmp_path, steps=6, per_device_train_batch_size=32)
    select_prompts(again)
    with pytest.warns(UserWarning, match="prompts_per_step: 8 in the checkpoint, 4 from here on"):
        again.train(resume_from_checkpoint=True)


def test_a_second_run_in_a_folder_warns_that_it_replaces_the_record_of_the_first(tmp_path):
    first, second = make_trainer(tmp_path), make_trainer(tmp_path)
    select_prompts(first)
    first.train()
    select_prompts(second)
    with pytest.warns(UserWarning, match="expected no record of an earlier run"):
        second.train()


def test_a_resumed_run_ends_where_its_epoch_ends(tmp_path, watched):
    def epochs(folder, resume):
        trainer = saved(
            folder, steps=-1, num_train_epochs=2, dataset=tiny_dataset(44), save_steps=3
        )
        watch = watched(select_prompts(trainer))
        trainer.train(resume_from_checkpoint=resume)
        return trainer.state.global_step, trainer.state.epoch, watch.chosen

    *whole, chosen = epochs(tmp_path, None)
    for later_checkpoint in (6, 9, 10):
        shutil.rmtree(tmp_path / f"checkpoint-{later_checkpoint}")
    *resumed, rest = epochs(tmp_path, True)
    assert resumed == whole == [10, 2.0]
    assert rest == chosen[3:]


@pytest.mark.parametrize(
    "settings",
    [
        {"save_strategy": "steps"},
        {"save_strategy": "epoch", "max_steps": -1, "num_train_epochs": 2},
        {
            "save_strategy": "best",
            "metric_for_best_model": "eval_reward",
            "eval_strategy": "steps",
            "eval_steps": 1,
            "per_device_eval_batch_size": 16,
            "more": {"eval_dataset": tiny_dataset(4)},
        },
        {"save_strategy": "steps", "save_total_limit": 1, "save_only_model": True},
    ],
    ids=lambda settings: settings["save_strategy"],
)
def test_no_checkpoint_is_complete_without_its_beliefs(settings, tmp_path, monkeypatch):
    trainer = make_trainer(
        tmp_path, dataset=tiny_dataset(16), **{"save_steps": 1, "max_steps": 4, **settings}
    )
    loop = select_prompts(trainer)
    complete = []
    write = TrainerState.save_to_json  # the last file of a checkpoint

    def noted(self, json_path):
        complete.append((Path(json_path).parent / FILE).is_file())
        write(self, json_path)

    monkeypatch.setattr(TrainerState, "save_to_json", noted)
    trainer.train()
    assert complete
    assert all(complete)
    assert loop.step == 4


def test_a_callback_that_asks_for_a_checkpoint_after_ours_gets_one_with_beliefs(tmp_path):
    class Asks(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            control.should_save = state.global_step == 3

    trainer = make_trainer(tmp_path)
    select_prompts(trainer)
    trainer.add_callback(Asks())
    trainer.train()
    assert [path.parent.name for path in tmp_path.rglob(FILE)] == ["checkpoint-3"]


def test_a_model_saved_by_hand_holds_no_beliefs(tmp_path):
    trainer = make_trainer(tmp_path)
    select_prompts(trainer)
    trainer.train()
    trainer.save_model(str(tmp_path / "final"))
    assert (tmp_path / "final/model.safetensors").is_file()
    assert not list(tmp_path.rglob(FILE))


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def without_beliefs(folder):
    (folder / FILE).unlink()


def truncated(folder):
    (folder / FILE).write_bytes((folder / FILE).read_bytes()[:100])


def foreign(folder):
    (folder / FILE).write_bytes(b"something else")


@pytest.mark.parametrize("spoil", [without_beliefs, truncated, foreign])
def test_a_checkpoint_without_readable_beliefs_is_refused_and_left_as_it_is(spoil, tmp_path):
    trainer = saved(tmp_path)
    select_prompts(trainer)
    trainer.train()
    spoil(tmp_path / "checkpoint-4")
    before = contents(tmp_path)
    again = saved(tmp_path, steps=6)
    loop = select_prompts(again)
    fresh = digest(loop.selector.state_dict())
    with pytest.raises(CheckpointError, match="checkpoint-4.insight_ext.pt"):
        again.train(resume_from_checkpoint=True)
    assert contents(tmp_path) == before
    assert digest(loop.selector.state_dict()) == fresh
    assert again.state.global_step == 0


@pytest.mark.parametrize(
    ("options", "dataset"),
    [({"selector": "mopps"}, None), ({}, tiny_dataset(40).map(lambda row: {"prompt": "0"}))],
    ids=["another selector", "another pool"],
)
def test_a_checkpoint_of_another_run_is_refused_and_left_as_it_is(options, dataset, tmp_path):
    trainer = saved(tmp_path)
    select_prompts(trainer)
    trainer.train()
    before = contents(tmp_path)
    again = saved(tmp_path, steps=6, dataset=dataset)
    select_prompts(again, **options)
    with pytest.raises(CheckpointError):
        again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    assert contents(tmp_path) == before


def test_without_a_checkpoint_trl_says_so_itself(tmp_path):
    trainer = make_trainer(tmp_path)
    select_prompts(trainer)
    with pytest.raises(ValueError, match="No valid checkpoint"):
        trainer.train(resume_from_checkpoint=True)
    with pytest.raises(ValueError, match="find a valid checkpoint at"):
        trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-7"))
