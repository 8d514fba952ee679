"""The task sampler for prime-rl, in small classes that follow its published interface; a program.

prime-rl is installed from its repository, with Python 3.12 and vLLM, so its curriculum is written
down here after its source at commit 559b44772 of 2026-08-21 (`orchestrator/curriculum/`,
`train_source.py`, `ckpt.py`), tasks and episodes after verifiers 0.4.0 (`verifiers/v1/`).
"""

from __future__ import annotations

import inspect
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from insight_ext import ArgumentError, CheckpointError, ObservationError, PoolError
from insight_ext.adapters.prime_rl import SelectingSampler
from insight_ext.distributed.ranks import digest

ROOT = Path(__file__).parent.parent.parent.parent
K, GROUPS = 8, 32  # as in the guide


@dataclass
class TaskData:
    prompt: str

    @property
    def prompt_text(self):
        return self.prompt


@dataclass
class Task:
    key: str | None
    data: TaskData


@dataclass
class Agent:
    trainable: bool = True


@dataclass
class Trace:
    reward: float
    has_error: bool = False
    agent: Agent = field(default_factory=Agent)
    last_reply: str = "7"


@dataclass
class Episode:
    task: Task
    traces: list[Trace]


class TaskSampler(Iterator):
    """What prime-rl asks of a sampler."""

    def observe(self, group): ...

    def state_dict(self): ...

    def load_state_dict(self, state_dict): ...

    def metrics(self): ...


class StandardSampler(TaskSampler):
    def __init__(self, tasks):
        self.tasks, self.cursor = tasks, 0

    def __next__(self):
        self.cursor += 1
        return self.tasks[(self.cursor - 1) % len(self.tasks)]

    def state_dict(self):
        return {"cursor": self.cursor}


class Curriculum:
    def __init__(self, config, tasks):
        self.sampler: Any = StandardSampler(tasks)
        self.gates: dict[str, Any] = {}

    def on_result(self, group):
        assert len({episode.task.key for episode in group}) == 1
        self.sampler.observe(group)
        return all(gate(group) for gate in self.gates.values())

    def state_dict(self):
        return {"sampler": self.sampler.state_dict(), "gates": {}}

    def load_state_dict(self, state_dict):
        self.sampler.load_state_dict(state_dict["sampler"])

    def metrics(self):
        return {f"sampler/{name}": float(value) for name, value in self.sampler.metrics().items()}


def tasks(n=100):
    return [Task(f"task-{i}", TaskData(f"{i}+{i}=")) for i in range(n)]


def curriculum(given=None, **options):
    made = Curriculum(None, given or tasks())
    made.sampler = SelectingSampler(given or tasks(), rollouts=4, groups=8, **options)
    return made


def group_of(task, step, rollouts=4):
    """Two fifths of the tasks are always solved, two never, one by every second answer."""
    chance = random.Random(f"{task.key} {step}")
    rate = (1.0, 1.0, 0.5, 0.0, 0.0)[int(task.key[5:]) % 5]
    return [Episode(task, [Trace(float(chance.random() < rate))]) for _ in range(rollouts)]


def run(made, groups, ahead=1, first=0):
    """Groups one after another, with as many in flight; the keys in the order of dispatch."""
    out, keys = [], []
    for number in range(first, first + groups):
        while len(out) < ahead:
            out.append(next(made.sampler))
            keys.append(out[-1].key)
        made.on_result(group_of(out.pop(0), number))
    return keys, out


def is_mixed(key):
    return int(key[5:]) % 5 == 2


def test_it_has_the_methods_of_a_task_sampler():
    for name in ("__iter__", "__next__", "observe", "state_dict", "load_state_dict", "metrics"):
        asked, has = (getattr(kind, name) for kind in (TaskSampler, SelectingSampler))
        if name in vars(TaskSampler):
            assert (
                inspect.signature(has).parameters.keys()
                == inspect.signature(asked).parameters.keys()
            )


def test_tasks_that_are_solved_sometimes_come_more_often():
    keys, _ = run(curriculum(), 400)
    assert sum(map(is_mixed, keys[200:])) > 2 * sum(map(is_mixed, keys[:200]))


def test_with_one_group_in_flight_no_choice_lags_and_metrics_are_those_of_the_latest_step():
    made = curriculum()
    run(made, 7)
    assert made.metrics() == {}
    run(made, 1, first=7)
    assert made.metrics()["sampler/staleness_max"] == 0.0
    assert made.metrics()["sampler/rollouts_generated"] == 32.0
    run(made, 80, ahead=20)
    assert 2 <= made.metrics()["sampler/staleness_max"] <= 3  # 20 groups in steps of 8


@pytest.mark.parametrize("groups", [80, 83])
def test_a_resumed_run_makes_the_choices_of_one_that_was_not_interrupted(groups, tmp_path):
    whole, first, second = curriculum(), curriculum(), curriculum()
    run(whole, groups)
    run(first, groups)
    torch.save(first.state_dict(), tmp_path / "progress.pt")
    run(first, 5)  # killed here
    second.load_state_dict(torch.load(tmp_path / "progress.pt", weights_only=False))
    assert run(second, 60, first=groups) == run(whole, 60, first=groups)
    assert digest(second.sampler.loop.state_dict()) == digest(whole.sampler.loop.state_dict())


def run_apart(folder, ahead, *kill_at):
    """This file as a program: how it ended, and (number, keys dealt, beliefs) of each group."""
    ended = subprocess.run(
        [sys.executable, __file__, str(folder), str(ahead), *map(str, kill_at)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    return ended.returncode, [json.loads(line) for line in ended.stdout.splitlines()]


@pytest.mark.parametrize("ahead", [1, 12])
def test_a_process_that_was_killed_goes_on_as_if_nothing_had_happened(ahead, tmp_path):
    ended, whole = run_apart(tmp_path / "whole", ahead)
    assert (ended, len(whole)) == (0, 160)
    killed, first = run_apart(tmp_path / "cut", ahead, 113)
    assert (killed, first) == (-signal.SIGKILL, whole[:113])
    ended, rest = run_apart(tmp_path / "cut", ahead)
    dealt = [key for _, keys, _ in whole[:100] for key in keys]
    # prime-rl asks anew for what was in flight, which comes first; then all is as it was.
    number, keys, digests = rest[0]
    assert (ended, number, digests) == (0, 100, whole[100][2])
    assert keys == dealt[100:] + whole[100][1]
    assert rest[1:] == whole[101:]


def test_after_a_resume_the_tasks_that_were_in_flight_come_first():
    first, second = curriculum(), curriculum()
    _, out = run(first, 50, ahead=12)
    second.load_state_dict(first.state_dict())
    assert [next(second.sampler).key for _ in out] == [task.key for task in out]


def test_tasks_keep_their_beliefs_when_their_order_changes():
    first, second = curriculum(), curriculum(tasks()[::-1])
    run(first, 40)
    with pytest.warns(UserWarning, match="the pool changed"):
        second.load_state_dict(first.state_dict())
    alphas = [made.sampler.loop.selector.posterior.alpha for made in (first, second)]
    assert torch.equal(alphas[0], alphas[1].flip(0))


def test_errors_are_no_answers_and_other_agents_do_not_count():
    made = curriculum()
    task = next(made.sampler)
    wrong, broken, judge = Trace(0.0), Trace(0.0, has_error=True), Trace(0.0, agent=Agent(False))
    made.on_result([Episode(task, [Trace(1.0), judge]), Episode(task, [wrong, broken])])
    made.on_result([Episode(next(made.sampler), [])])  # failed before it had a trace
    metrics = made.sampler.loop.end_step()
    assert metrics["reward_mean"] == 0.5
    assert metrics["rollouts_unscored"] == 2
    assert [kept.completion for kept in made.sampler.loop.samples] == ["7"]


def test_groups_that_were_cancelled_are_given_up_and_a_late_one_counts():
    made = curriculum(max_staleness=1)
    cancelled, late = next(made.sampler), next(made.sampler)
    run(made, 24)
    loop = made.sampler.loop
    assert not {cancelled.key, late.key} & {each.prompt.id for each in loop.in_flight}
    before = loop.selector.posterior.alpha + loop.selector.posterior.beta
    made.on_result(group_of(late, 0))
    loop.end_step()
    after = loop.selector.posterior.alpha + loop.selector.posterior.beta
    assert (after != before).nonzero().flatten().tolist() == [loop.pool.position(late.key)]


def test_more_tasks_in_flight_than_there_are():
    made = curriculum(tasks(5))
    assert len({next(made.sampler).key for _ in range(5)}) == 5
    assert len({next(made.sampler).key for _ in range(5)}) == 5


@pytest.mark.parametrize(
    ("given", "options", "error", "sentence"),
    [
        (iter(tasks()), {}, ArgumentError, "tasks: expected a list of them.* got a list_iterator"),
        ([], {}, ArgumentError, "tasks: expected a list"),
        ([*tasks(3), tasks(1)[0]], {}, PoolError, "'task-0'"),
        ([Task("a", TaskData("")), Task(None, TaskData(""))], {}, PoolError, "task 1: expected a"),
        (tasks(), {"groups": 0}, ArgumentError, "groups: expected a whole number"),
        (tasks(), {"selectr": "a"}, ArgumentError, "did you mean 'selector'"),
    ],
    ids=["endless", "none", "twice", "no key", "no groups", "unknown option"],
)
def test_what_cannot_work_is_refused_at_the_start(given, options, error, sentence):
    with pytest.raises(error, match=sentence) as caught:
        SelectingSampler(given, **{"rollouts": 4, "groups": 8, **options})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["key", "data"])
def test_a_task_without_a_name(name):
    task = tasks(1)[0]
    delattr(task, name)
    with pytest.raises(ArgumentError, match=f"task: expected prime-rl's.* without {name}"):
        SelectingSampler([task], rollouts=4, groups=8)


def test_results_and_checkpoints_of_others_are_refused():
    made = curriculum()
    next(made.sampler)
    before = digest(made.sampler.state_dict())
    with pytest.raises(PoolError, match="no prompt has the id 'other'"):
        made.on_result([Episode(Task("other", TaskData("")), [Trace(1.0)])])
    with pytest.raises(ObservationError, match="expected a finite reward"):
        made.on_result([Episode(tasks()[0], [Trace(float("inf"))])])
    with pytest.raises(CheckpointError, match="progress.pt: expected the state of.* with cursor;"):
        made.load_state_dict(Curriculum(None, tasks()).state_dict())
    with pytest.raises(CheckpointError, match="selector"):
        made.load_state_dict(curriculum(selector="uniform").state_dict())
    assert digest(made.sampler.state_dict()) == before


def test_the_program_in_the_guide_puts_it_into_every_curriculum(monkeypatch):
    started = []
    contents = {
        "prime_rl": {},
        "prime_rl.entrypoints": {},
        "prime_rl.entrypoints.orchestrator": {"main": lambda: started.append(True)},
        "prime_rl.orchestrator": {},
        "prime_rl.orchestrator.train_source": {"Curriculum": Curriculum},
    }
    for name, names in contents.items():
        module = ModuleType(name)
        vars(module).update(names)
        monkeypatch.setitem(sys.modules, name, module)
        parent, _, own = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], own, module)
    pieces = (ROOT / "docs/trainers.md").read_text().split("```python\n")[1:]
    (program,) = [each for each in pieces if "insight_ext.adapters.prime_rl" in each]
    exec(program.partition("```")[0], {})
    assert started == [True]
    made = sys.modules["prime_rl.orchestrator.train_source"].Curriculum(None, tasks())
    assert made.sampler.loop.rollouts == K
    assert made.sampler.groups == GROUPS
    assert made.on_result(group_of(next(made.sampler), 0, rollouts=K))


def main(folder, ahead, kill_at=-1):
    """prime-rl's orchestrator: `progress.pt` at every 50th of 160 groups; dies if told so."""
    progress = folder / "progress.pt"
    made, done, out = curriculum(), 0, []
    if progress.exists():
        saved = torch.load(progress, weights_only=False)
        made.load_state_dict(saved["curriculum"])
        done = saved["groups"]
    for number in range(done, 160):
        dealt = [next(made.sampler) for _ in range(ahead - len(out))]
        out += dealt
        if number == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        made.on_result(group_of(out.pop(0), number))
        beliefs = digest(made.sampler.loop.selector.state_dict())
        print(json.dumps([number, [task.key for task in dealt], beliefs]), flush=True)
        if number % 50 == 49:
            folder.mkdir(exist_ok=True)
            beside = folder / "progress.tmp"
            torch.save({"curriculum": made.state_dict(), "groups": number + 1}, beside)
            beside.replace(progress)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
