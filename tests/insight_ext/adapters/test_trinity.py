"""Trinity-RFT's selector, against small classes that follow the interface of its release 0.6.0.

`make test-trinity` runs it in the scheduler, reader and state manager of that release.
"""

from __future__ import annotations

import json
import random
from argparse import Namespace

import pyarrow as pa
import pytest

from insight_ext import ArgumentError, CheckpointError, ObservationError, PoolError
from insight_ext.adapters.trinity import InsightSelector
from insight_ext.distributed.ranks import digest

K, BATCH = 8, 16


class Dataset:
    """Stands for a datasets.Dataset."""

    def __init__(self, rows):
        self.rows = rows

    def with_format(self, name):
        return self

    def __getitem__(self, rows):
        return pa.Table.from_pylist(self.rows)


class TaskSet:
    """A reader with its selector, as in `buffer/reader/file_reader.py`."""

    def __init__(self, folder, rows=None, seed=42, **kwargs):
        self.dataset, self.name = Dataset(rows or tasks()), "sums"
        given = {"rollouts": K, "folder": str(folder), **kwargs}
        self.selector = InsightSelector(self, Namespace(seed=seed, kwargs=given))

    def run(self, batches, ahead=0):
        """Batches by number: read, rolled out, their means brought back when `ahead` more are."""
        out, read = [], []
        for number in batches:
            read.append(self.selector.get_indices(BATCH))
            out.append((number, read[-1]))
            if len(out) > ahead:
                number, rows = out.pop(0)
                self.selector.feedback(rows, [mean(row, number) for row in rows])
        return read

    def end(self):
        self.selector.loop.close(finished=False)


def tasks(n=100):
    return [{"id": f"task-{i}", "question": f"{i}+{i}=", "answer": str(2 * i)} for i in range(n)]


def mean(row, number):
    """40 % of the tasks are always solved, 40 % never, 20 % by every second answer."""
    chance = random.Random(f"{row} {number}")
    rate = (1.0, 1.0, 0.5, 0.0, 0.0)[row % 5]
    return sum(chance.random() < rate for _ in range(K)) / K


def saved(task_set):
    """As the state manager: through JSON."""
    return json.loads(json.dumps(task_set.selector.state_dict()))


def test_tasks_that_are_solved_sometimes_come_more_often(tmp_path):
    read = TaskSet(tmp_path).run(range(30))
    shares = [sum(row % 5 == 2 for row in rows) / BATCH for rows in read]
    assert sum(shares[20:]) > 2 * sum(shares[:5]) * 10 / 5


@pytest.mark.parametrize("missing", [float("nan"), None])
def test_a_mean_is_as_many_successes(missing, tmp_path):
    task_set = TaskSet(tmp_path)
    loop, (row, other) = task_set.selector.loop, task_set.selector.get_indices(2)
    before = loop.selector.posterior.alpha.clone(), loop.selector.posterior.beta.clone()
    task_set.selector.feedback([row, other], [3 / K, missing])
    assert loop.selector.posterior.alpha[row] - before[0][row] == 3
    assert loop.selector.posterior.beta[row] - before[1][row] == K - 3
    assert loop.selector.posterior.alpha[other] == before[0][other]


@pytest.mark.parametrize("ahead", [0, 1, 4])
def test_batches_that_are_read_ahead_lag_and_none_is_lost(ahead, tmp_path):
    task_set = TaskSet(tmp_path)
    task_set.run(range(20), ahead)
    loop = task_set.selector.loop
    assert len(loop.in_flight) == ahead * BATCH
    metrics = loop.end_step()
    assert metrics["rollouts_generated"] == (20 - ahead) * BATCH * K
    assert metrics["groups_incomplete"] == (BATCH if ahead else 0)  # of the step that ended above


def test_a_resumed_run_makes_the_choices_of_one_that_was_not_interrupted(tmp_path):
    whole, first = TaskSet(tmp_path / "whole"), TaskSet(tmp_path / "first")
    read = whole.run(range(40))
    first.run(range(20))
    state = saved(first)
    first.run(range(20, 27))
    first.end()
    second = TaskSet(tmp_path / "first")
    second.selector.load_state_dict(state)
    assert second.run(range(20, 40)) == read[20:]
    beliefs = [each.selector.loop.selector.state_dict() for each in (second, whole)]
    assert digest(beliefs[0]) == digest(beliefs[1])


def test_the_two_latest_files_are_kept_so_that_a_kill_before_the_json_is_written_loses_none(
    tmp_path,
):
    task_set = TaskSet(tmp_path)
    states = []
    for number in range(5):
        task_set.run([number])
        states.append(saved(task_set)["insight_ext"])
    assert sorted(path.name for path in (tmp_path / "sums").glob("beliefs-*")) == states[-2:]
    task_set.end()
    resumed = TaskSet(tmp_path)
    resumed.selector.load_state_dict({"insight_ext": states[-2]})
    resumed.run([4])
    saved(resumed)
    assert {path.name for path in (tmp_path / "sums").glob("beliefs-*")} == set(states[-2:])


def test_tasks_keep_their_beliefs_when_their_order_changes(tmp_path):
    first = TaskSet(tmp_path)
    first.run(range(5))
    state = saved(first)
    first.end()
    second = TaskSet(tmp_path, tasks()[::-1])
    with pytest.warns(UserWarning, match="the pool changed"):
        second.selector.load_state_dict(state)
    alphas = [each.selector.loop.selector.posterior.alpha for each in (first, second)]
    assert alphas[0].tolist() == alphas[1].flip(0).tolist()


def test_where_trinity_starts_anew_it_restores_the_position_0(tmp_path):
    task_set = TaskSet(tmp_path)
    task_set.selector.load_state_dict({"current_index": 0})
    assert task_set.selector.loop.step == 0


def test_a_checkpoint_before_anything_came_back_warns(tmp_path):
    task_set = TaskSet(tmp_path)
    task_set.selector.get_indices(BATCH)
    with pytest.warns(UserWarning, match="expected the operator pass_rate_calculator"):
        saved(task_set)


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        ({"rollouts": 0}, ArgumentError, "rollouts: expected a whole number of at least 1, got 0"),
        ({"selectr": "uniform"}, ArgumentError, "did you mean 'selector'"),
        ({"rows": tasks() + tasks(1)}, PoolError, "'task-0'"),
        ({"fields": {"id": "name"}}, PoolError, "expected a field name for the id"),
    ],
    ids=["no rollouts", "unknown option", "twice", "no such field"],
)
def test_what_cannot_work_is_refused_at_the_start(changes, error, sentence, tmp_path):
    with pytest.raises(error, match=sentence) as caught:
        TaskSet(tmp_path, **changes)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["rollouts", "folder"])
def test_a_setting_that_is_needed(name, tmp_path):
    kwargs = {"rollouts": K, "folder": str(tmp_path), "selector": "insight"}
    del kwargs[name]
    source = Namespace(dataset=Dataset(tasks()), name="sums")
    with pytest.raises(ArgumentError, match=f"data_selector.kwargs: expected {name}, got "):
        InsightSelector(source, Namespace(seed=1, kwargs=kwargs))


@pytest.mark.parametrize("name", ["success_threshold", "partial_credit"])
def test_a_setting_about_rewards_that_trinity_does_not_tell(name, tmp_path):
    kwargs = {"rollouts": K, "folder": str(tmp_path), name: 0.5}
    source = Namespace(dataset=Dataset(tasks()), name="sums")
    with pytest.raises(ArgumentError, match=f"expected no {name}, since Trinity tells shares"):
        InsightSelector(source, Namespace(seed=1, kwargs=kwargs))


@pytest.mark.parametrize("name", ["dataset", "name", "kwargs", "seed"])
def test_trinity_without_a_name(name, tmp_path):
    source = Namespace(dataset=Dataset(tasks()), name="sums")
    config = Namespace(seed=1, kwargs={"rollouts": K, "folder": str(tmp_path)})
    delattr(source if hasattr(source, name) else config, name)
    with pytest.raises(ArgumentError, match=f"expected Trinity-RFT's with.* without {name};"):
        InsightSelector(source, config)


def test_results_that_cannot_be_counted_change_nothing(tmp_path):
    selector = TaskSet(tmp_path).selector
    rows = selector.get_indices(BATCH)
    before = digest(selector.loop.state_dict())
    for wrong in (-1.0, 1.5, float("inf")):
        with pytest.raises(ObservationError, match="feedback.*: expected"):
            selector.feedback(rows[:2], [1.0, wrong])
    for others in (rows[:1], [*rows[:1], 2**64 - 1], [*rows[:1], True], [*rows[:1], 1.7]):
        with pytest.raises(ObservationError, match="feedback: .*; nothing was taken in"):
            selector.feedback(others, [1.0, 0.0])
    with pytest.raises(ArgumentError, match="batch_size: expected 100 or less.* got 101"):
        selector.get_indices(101)
    assert digest(selector.loop.state_dict()) == before


def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path):
    first = TaskSet(tmp_path)
    first.run([0])
    state = saved(first)
    first.end()
    with pytest.raises(CheckpointError, match="explorer_meta.json: expected a state of Insight"):
        TaskSet(tmp_path).selector.load_state_dict({"current_index": 32})
    with pytest.raises(CheckpointError, match="beliefs-9.pt: expected the beliefs"):
        TaskSet(tmp_path).selector.load_state_dict({"insight_ext": "beliefs-9.pt"})
    with pytest.raises(CheckpointError, match="selector"):
        TaskSet(tmp_path, selector="uniform").selector.load_state_dict(state)
