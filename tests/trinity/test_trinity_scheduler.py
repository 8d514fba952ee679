"""The selector in Trinity-RFT's own scheduler, reader, operator and state manager; no model.

What the explorer does around them is written down here: read a batch, have the operator sum up its
experiences, give feedback, save (`explorer/explorer.py`, with `sync_interval` 1).
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import random
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
pytest.importorskip("trinity")

import torch
import yaml
from omegaconf import OmegaConf
from trinity.buffer.operators import create_operators
from trinity.buffer.selector import BaseSelector
from trinity.buffer.task_scheduler import get_taskset_scheduler
from trinity.common.config import Config, DataSelectorConfig, OperatorConfig, TasksetConfig
from trinity.common.constants import SELECTOR_METRIC
from trinity.common.experience import EID, Experience
from trinity.common.workflows import WORKFLOWS
from trinity.manager.state_manager import StateManager

from insight_ext import CheckpointError
from insight_ext.adapters.trinity import InsightSelector
from insight_ext.distributed.ranks import digest

ROOT = Path(__file__).parent.parent.parent
K, BATCH = 8, 16


class NoWorkflow:
    """The tasks are read, and never run."""


@pytest.fixture(scope="session", autouse=True)
def workflow():
    WORKFLOWS.register_module("none", module_cls=NoWorkflow)


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    rows = [{"id": f"task-{i}", "question": f"{i}+{i}=", "answer": str(2 * i)} for i in range(100)]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def in_the_guide():
    """The settings that the guide shows."""
    (text,) = [
        piece.partition("```")[0]
        for piece in (ROOT / "docs/trainers.md").read_text().split("```yaml\n")[1:]
        if "InsightSelector" in piece
    ]
    return yaml.safe_load(text)


def config_of(data, folder, selector="insight", tasksets=1):
    shown = in_the_guide()
    chosen = shown["buffer"]["explorer_input"]["taskset"]["data_selector"]
    kwargs = {**chosen["kwargs"], "selector": selector, "folder": str(folder / "selection")}
    assert kwargs["rollouts"] == K
    config = OmegaConf.to_object(OmegaConf.structured(Config))
    config.buffer.batch_size = BATCH
    config.buffer.total_epochs = 100
    config.buffer.explorer_input.tasksets = [
        TasksetConfig(
            name=f"sums-{number}",
            path=str(data),
            default_workflow_type="none",
            data_selector=DataSelectorConfig(**{**chosen, "kwargs": kwargs}),
            batch_size=BATCH,
            total_epochs=100,
        )
        for number in range(tasksets)
    ]
    return config


class Explorer:
    """The explorer's way through a step."""

    def __init__(self, config, folder):
        self.state = StateManager(path=str(folder / "checkpoint"), explorer_name="explorer")
        saved = self.state.load_explorer()
        self.step = saved.get("latest_iteration", 0)
        self.taskset = get_taskset_scheduler(explorer_state=saved, config=config)
        operators = in_the_guide()["data_processor"]["experience_pipeline"]["operators"]
        self.operators = create_operators([OperatorConfig(**each) for each in operators])

    def steps(self, until, save=True):
        """Of each step the tasks' numbers."""
        return [asyncio.run(self._step(save)) for _ in range(self.step, until)]

    async def _step(self, save):
        tasks = await self.taskset.read()
        self.step += 1
        experiences = [each for task in tasks for each in rolled_out(task, self.step)]
        metrics = {}
        for operator in self.operators:
            experiences, found = await operator.process(experiences)
            metrics |= found
        self.taskset.feedback({SELECTOR_METRIC: metrics[SELECTOR_METRIC]})
        if save:
            self.state.save_explorer(self.step, self.taskset.state_dict())
        return [(task.index["taskset_id"], task.index["index"]) for task in tasks]

    @property
    def loops(self):
        return [taskset.reader.selector.loop for taskset in self.taskset.tasksets]

    def kill(self):
        for loop in self.loops:
            loop.close(finished=False)


def rolled_out(task, step):
    """40 % of the tasks are always solved, 40 % never, 20 % by every second answer."""
    index = task.index["index"]
    assert task.raw_task["id"] == f"task-{index}"
    chance = random.Random(f"{index} {step}")
    rate = (1.0, 1.0, 0.5, 0.0, 0.0)[index % 5]
    for number in range(K):
        yield Experience(
            eid=EID(batch=step, task=index, run=number),
            tokens=torch.tensor([1, 2]),
            prompt_length=1,
            reward=float(chance.random() < rate),
            info={"task_index": task.index},
        )


def test_it_has_the_methods_of_a_selector():
    for name in ("get_indices", "feedback", "state_dict", "load_state_dict", "__init__"):
        asked, has = (getattr(kind, name) for kind in (BaseSelector, InsightSelector))
        assert list(inspect.signature(has).parameters) == list(inspect.signature(asked).parameters)


def test_tasks_that_are_solved_sometimes_come_more_often_and_no_choice_lags(data, tmp_path):
    explorer = Explorer(config_of(data, tmp_path), tmp_path)
    shares = [sum(row % 5 == 2 for _, row in rows) / BATCH for rows in explorer.steps(30)]
    assert sum(shares[20:]) > 2 * sum(shares[:5]) * 10 / 5
    (loop,) = explorer.loops
    assert (loop.step, len(loop.in_flight)) == (30, 0)


@pytest.mark.parametrize("tasksets", [1, 2])
def test_a_resumed_run_makes_the_choices_of_one_that_was_not_interrupted(tasksets, data, tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    whole = Explorer(config_of(data, one, tasksets=tasksets), one)
    chosen = whole.steps(40)
    first = Explorer(config_of(data, other, tasksets=tasksets), other)
    first.steps(20)
    first.steps(27, save=False)
    first.kill()
    second = Explorer(config_of(data, other, tasksets=tasksets), other)
    assert second.steps(40) == chosen[20:]
    for loop, expected in zip(second.loops, whole.loops, strict=True):
        assert digest(loop.selector.state_dict()) == digest(expected.selector.state_dict())


def test_what_trinity_prints_of_the_state_is_short(data, tmp_path):
    explorer = Explorer(config_of(data, tmp_path), tmp_path)
    explorer.steps(3)
    assert len((tmp_path / "checkpoint/explorer_meta.json").read_text()) < 200


def test_the_checkpoint_of_another_selector_is_refused(data, tmp_path):
    other = config_of(data, tmp_path)
    other.buffer.explorer_input.tasksets[0].data_selector.selector_type = "shuffle"
    explorer = Explorer(other, tmp_path)
    explorer.steps(3)
    written = (tmp_path / "checkpoint/explorer_meta.json").read_text()
    with pytest.raises(CheckpointError, match="expected a state of InsightSelector, got"):
        Explorer(config_of(data, tmp_path), tmp_path)
    assert (tmp_path / "checkpoint/explorer_meta.json").read_text() == written
