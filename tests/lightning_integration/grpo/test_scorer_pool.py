"""What a scoring process may do, and what becomes of the others when one ends."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from insight_ext import EngineError
from lightning_integration.grpo import scorer_process
from lightning_integration.grpo.scorer_pool import ScorerPool

# Runs a line of Python in a process confined as a scorer's fork is, and prints what comes of it.
CONFINED = f"""
import os, socket, subprocess, sys
sys.path.insert(0, {str(Path(scorer_process.__file__).parent)!r})
import scorer_process
scorer_process._confine(1 << 30)
try:
    exec(sys.argv[1])
except BaseException as error:
    print(type(error).__name__)
else:
    print("done")
"""


@pytest.fixture
def pool():
    pool = ScorerPool("math_verify", processes=2)
    yield pool
    pool.stop()


RIGHT, WRONG, ENDLESS = (["3/4"], "0.75"), (["3/4"], "2"), (["3/4"], "$9^{9^{9^{9}}}$")


@pytest.mark.parametrize(
    ("line", "outcome"),
    [
        ("os.system('true')", "PermissionError"),
        ("subprocess.run(['true'])", "PermissionError"),
        ("os.posix_spawn('/bin/true', ['true'], {})", "PermissionError"),
        ("os.execv('/bin/true', ['true'])", "PermissionError"),
        ("os.fork()", "PermissionError"),
        ("os.kill(os.getppid(), 0)", "PermissionError"),
        ("socket.socket()", "PermissionError"),
        ("open('written', 'w')", "PermissionError"),
        ("os.open('written', os.O_CREAT | os.O_WRONLY)", "PermissionError"),
        ("os.remove('kept')", "PermissionError"),
        ("import ctypes; ctypes.CDLL(None)", "PermissionError"),
        ("bytearray(1 << 31)", "MemoryError"),
        ("open('kept').read()", "done"),
        ("sum(range(9))", "done"),
    ],
)
def test_a_confined_process_does_nothing_but_arithmetic(line, outcome, tmp_path):
    (tmp_path / "kept").write_text("text")
    command = [sys.executable, "-c", CONFINED, line]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert said.stdout.split() == [outcome]
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_scoring_process_inherits_no_file_and_no_secret(pool, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "not to be seen")
    with (tmp_path / "open").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        assert pool.score([RIGHT], 2.0, 60.0) == [1.0]
        process = Path("/proc", str(pool._running[0]._process.pid))
        if not process.exists():
            pytest.skip("needs /proc")
        open_files = {str(link.readlink()) for link in (process / "fd").iterdir()}
        assert not {name for name in open_files if name.startswith(str(tmp_path))}
        assert b"not to be seen" not in (process / "environ").read_bytes()


def test_answers_are_those_of_their_requests_whoever_dies_between(pool):
    requests = [ENDLESS if i % 5 == 2 else RIGHT if i % 2 else WRONG for i in range(20)]
    expected = [None if i % 5 == 2 else float(i % 2) for i in range(20)]
    assert pool.score(requests, 0.2, 60.0) == expected


def test_a_process_that_somebody_kills_is_replaced(pool):
    assert pool.score([RIGHT, WRONG], 2.0, 60.0) == [1.0, 0.0]
    for process in pool._running:
        os.killpg(process._process.pid, signal.SIGKILL)
    pool.score([RIGHT, WRONG], 2.0, 60.0)
    assert pool.score([RIGHT, WRONG] * 3, 2.0, 60.0) == [1.0, 0.0] * 3


def test_what_interrupts_the_caller_ends_the_processes(pool):
    def ring(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, ring)
    pool.score([RIGHT], 2.0, 60.0)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(KeyboardInterrupt):
            pool.score([ENDLESS], 600.0, 600.0)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert not pool._running
    assert pool.score([RIGHT], 2.0, 60.0) == [1.0]


def test_the_processes_end_with_their_parent():
    program = (
        "from lightning_integration.grpo.scorer_pool import ScorerPool\n"
        "import json, os\n"
        "pool = ScorerPool('math_verify', processes=1)\n"
        "pool.score([(['1'], '1')], 2.0, 60.0)\n"
        "print(json.dumps(pool._running[0]._process.pid), flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program]
    said = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=False)
    try:
        process = os.pidfd_open(json.loads(said.stdout))
    except ProcessLookupError:
        return
    try:
        assert select.select([process], [], [], 30)[0]
    finally:
        os.close(process)


@pytest.mark.parametrize("generator", ["countdown", "puzzle24", "string_insertion"])
def test_an_evaluator_that_is_asked_all_the_same_executes_nothing(generator, tmp_path):
    program = f"__import__('os').system('touch {tmp_path}/executed')"
    entry = {"answer": "1", "metadata": {"numbers": [1], "target": 1}}
    pool = ScorerPool("reasoning_gym", processes=1)
    pool.score([(generator, program, entry)], 2.0, 60.0)
    pool.stop()
    assert not list(tmp_path.iterdir())


def test_a_scorer_that_cannot_start_is_named():
    pool = ScorerPool("no_such_scorer")
    with pytest.raises(EngineError, match="expected its process to start, got an end with .KeyE"):
        pool.score([(["1"], "1")], 2.0, 60.0)
