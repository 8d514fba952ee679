"""A few processes that score completions side by side, each under limits of time and memory."""

from __future__ import annotations

import atexit
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any

from insight_ext import EngineError
from lightning_integration.grpo import scorer_process

PROGRAM = Path(scorer_process.__file__)
KEPT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG")  # of the environment


class ScorerPool:
    """Keeps scoring processes and shares requests among them.

    A process starts when it is first needed and is kept. It inherits no open file and, of the
    environment, nothing but where programs and libraries are; see `scorer_process` for what it may
    do. The pool may be called from several threads, one after another.

    Args:
        scorer: a name in `scorer_process.SCORERS`.
        processes: at most so many; None for one a processor, up to 8.
        memory: bytes of address space that each may take.

    Determinism: an answer depends on its request alone, but whether the time sufficed on the
    machine too.
    Cost: some 50 microseconds a request beside the scoring, and the import of the scorer's library
    once in each process.

    Examples:
        >>> pool = ScorerPool("math_verify", processes=1)
        >>> pool.score([(["3/4"], "0.75"), (["3/4"], "9^9^9^9^9"), (["3/4"], "2")], 0.2, 30)
        [1.0, None, 0.0]
        >>> pool.stop()
    """

    def __init__(self, scorer: str, processes: int | None = None, memory: int = 2 << 30) -> None:
        self.scorer = scorer
        self.processes = processes or min(8, os.cpu_count() or 1)
        self.memory = memory
        self._running: list[_Process] = []
        self._owner = os.getpid()
        self._lock = threading.Lock()
        atexit.register(self._stop)  # without the lock, which a thread may hold to the end

    def score(
        self, requests: Sequence[Sequence[Any]], seconds: float, step_seconds: float
    ) -> list[float | str | None]:
        """The answers in the order of the requests; None where the scorer raised or was stopped.

        A text is the scorer's word why there is no number.

        Args:
            requests: the scorer's arguments, made of what JSON has.
            seconds: processor time for each.
            step_seconds: time for all of them together; what is not answered then is None.

        Raises:
            EngineError: a process cannot start (its last words are told).
        """
        with self._lock:
            try:
                return self._score(requests, seconds, step_seconds)
            except BaseException:
                # An answer that is still to come must not be taken for another's.
                self._stop()
                raise

    def _score(
        self, requests: Sequence[Sequence[Any]], seconds: float, step_seconds: float
    ) -> list[float | str | None]:
        answers: list[float | str | None] = [None] * len(requests)
        waiting = list(enumerate(requests))[::-1]
        idle = self._started(min(self.processes, len(requests)))
        deadline = monotonic() + step_seconds
        busy: dict[_Process, int] = {}
        with selectors.DefaultSelector() as selector:
            while waiting or busy:
                while waiting and idle:
                    process = idle.pop()
                    number, arguments = waiting.pop()
                    process.ask({"seconds": seconds, "arguments": arguments})
                    busy[process] = number
                    selector.register(process.answers, selectors.EVENT_READ, process)
                answered = selector.select(max(0.0, deadline - monotonic()))
                if not answered:
                    break
                for key, _ in answered:
                    process = key.data
                    selector.unregister(process.answers)
                    answers[busy.pop(process)] = process.answer()
                    if process.ended:
                        self._running.remove(process)
                        process = self._started(len(self._running) + 1)[-1]
                    idle.append(process)
        for process in busy:
            process.stop()
            self._running.remove(process)
        return answers

    def _started(self, count: int) -> list[_Process]:
        if self._owner != os.getpid():  # a fork of this process has no right to its processes
            self._running, self._owner = [], os.getpid()
        new = [
            _Process(self.scorer, self.memory) for _ in range(max(0, count - len(self._running)))
        ]
        self._running += new
        for process in new:
            process.wait_until_ready()
        return self._running[:count]

    def stop(self) -> None:
        """End the processes; the next call starts others."""
        with self._lock:
            self._stop()

    def _stop(self) -> None:
        if self._owner == os.getpid():
            for process in self._running:
                process.stop()
        self._running = []


class _Process:
    """One scoring process."""

    def __init__(self, scorer: str, memory: int) -> None:
        self._name = scorer
        path = os.pathsep.join(place or str(Path.cwd()) for place in sys.path)
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(PROGRAM), scorer, str(memory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**kept, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C is the trainer's to handle
        )
        self._requests: Any = self._process.stdin
        self.answers: Any = self._process.stdout
        self._said: Any = self._process.stderr
        self.ended = False

    def wait_until_ready(self) -> None:
        if self.answers.readline() != scorer_process.READY:
            said = self._said.read().decode(errors="replace").split("\n")
            last = next((line for line in reversed(said) if line.strip()), "nothing said")
            raise EngineError(
                f"scorer {self._name}: expected its process to start, got an end with {last!r}; "
                "see that the package is installed in this environment"
            )

    def ask(self, request: dict[str, Any]) -> None:
        with suppress(BrokenPipeError):  # ended meanwhile: its answer is then none
            self._requests.write(json.dumps(request).encode() + b"\n")
            self._requests.flush()

    def answer(self) -> float | str | None:
        line = self.answers.readline()
        if not line:
            self.stop()
            return None
        value: float | str | None = json.loads(line)
        return value

    def stop(self) -> None:
        if self.ended:
            return  # its number may be another process by this time
        self.ended = True
        # The process and the fork that scores for it are a session of their own.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        for pipe in (self._requests, self.answers, self._said):
            with suppress(BrokenPipeError):
                pipe.close()
        self._process.wait()
