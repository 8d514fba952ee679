"""The program of a scoring process: whatever evaluates a completion runs here, under limits.

`scorer_pool` starts it as a script, so it imports nothing of this package. It reads requests from
its standard input, one JSON object a line, and answers each with a number, a text that says why
there is none, or `null` (could not be scored) before it reads the next.

The library is imported once. A fork of this process then scores; where a completion kills the fork,
by its time, its memory or its depth, the next fork goes on, without another import.
"""

from __future__ import annotations

import io
import json
import math
import mmap
import os
import resource
import signal
import sys
from collections.abc import Callable
from typing import Any, BinaryIO

READY = b"ready\n"
# Beyond any honest expression: what is deeper ends at the time or the stack, not as a wrong answer.
DEPTH = 1_000_000
FORBIDDEN = (
    "ctypes.",
    "os.exec",
    "os.fork",
    "os.kill",
    "os.link",
    "os.mkdir",
    "os.posix_spawn",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.spawn",
    "os.symlink",
    "os.system",
    "os.truncate",
    "shutil.",
    "socket.",
    "subprocess.",
)


def math_verify() -> Callable[[list[str], str], float | str]:
    """Whether a completion's final answer equals one of the answers, 1 or 0.

    Of answers that cannot be parsed, which nothing would ever equal, what is wrong with them.
    """
    from math_verify import parse, verify

    def score(answers: list[str], completion: str) -> float | str:
        given = parse(completion, parsing_timeout=None)
        golds = [parse(f"${answer}$", parsing_timeout=None) for answer in answers]
        if any(verify(gold, given, timeout_seconds=None) for gold in golds):
            return 1.0
        if all(isinstance(value, str) for gold in golds for value in gold):
            return f"math-verify cannot parse the prompt's answer {answers[0]!r:.80}; correct it"
        return 0.0

    return score


def reasoning_gym() -> Callable[[str, str, dict[str, Any]], float]:
    """The score that a generator's own scorer gives an answer to an entry."""
    from reasoning_gym import get_score_answer_fn

    def score(generator: str, answer: str, entry: dict[str, Any]) -> float:
        return float(get_score_answer_fn(generator)(answer, entry))

    return score


SCORERS: dict[str, Callable[[], Callable[..., float | str]]] = {
    "math_verify": math_verify,
    "reasoning_gym": reasoning_gym,
}


def main(scorer: str, memory: int) -> None:
    """Serve until the requests end.

    Args:
        scorer: a name in `SCORERS`.
        memory: bytes of address space that a fork may take.
    """
    score = SCORERS[scorer]()
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", buffering=0)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):  # what a library prints must not look like an answer
        os.dup2(nothing, standard)
    os.close(nothing)
    under_way = mmap.mmap(-1, 1)  # shared with the fork: 1 while it owes an answer
    answers.write(READY)
    while True:
        fork = os.fork()
        if not fork:
            _confine(memory)
            _serve(score, requests, answers, under_way)
            os._exit(0)
        if os.waitpid(fork, 0)[1] == 0:
            return
        if under_way[0]:
            under_way[0] = 0
            answers.write(b"null\n")


def _serve(
    score: Callable[..., float | str], requests: BinaryIO, answers: io.FileIO, under_way: mmap.mmap
) -> None:
    for line in requests:
        under_way[0] = 1
        request = json.loads(line)
        # Time on the processor, whatever else the machine does; at its end the process is killed.
        signal.setitimer(signal.ITIMER_PROF, request["seconds"])
        value: float | str
        try:
            value = score(*request["arguments"])
        except Exception:
            value = math.nan
        signal.setitimer(signal.ITIMER_PROF, 0)
        answer = json.dumps(value if isinstance(value, str) or math.isfinite(value) else None)
        under_way[0] = 0
        answers.write(answer.encode() + b"\n")


def _confine(memory: int) -> None:
    """Leave the process nothing but arithmetic: no files, processes or connections."""
    sys.setrecursionlimit(DEPTH)
    for limit, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        resource.setrlimit(limit, (most, most))
    sys.addaudithook(_refuse)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    writes = event == "open" and _writes(*arguments[1:3])
    if writes or event.startswith(FORBIDDEN):
        raise PermissionError(f"a scoring process must not do this: {event}")


def _writes(mode: str | None, flags: int) -> bool:
    if isinstance(mode, str):
        return not set(mode) <= set("rbt")
    return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
