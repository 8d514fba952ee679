"""How far a long command is: one line, rewritten in a terminal, printed now and then elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import monotonic
from typing import IO, NoReturn

EVERY = 30.0  # seconds between two lines where there is no terminal
STOPPED = 130  # exit status, as a shell gives it, of a command that Ctrl-C ended


class Progress:
    """Tells how far a command is that knows how much it has to do. Plain text, without colours.

    Where there is no terminal, a line is printed when the detail changes, every half minute, and
    at the end.

    Args:
        stage: what is being done.
        total: how much of it.
        unit: what is counted.
        before: how much was done already, by a command that goes on.
        file: where to; standard error if None.
        clock: tells seconds.

    Examples:
        >>> seconds = iter([0.0, 60.0])
        >>> progress = Progress("training", 300, file=sys.stdout, clock=lambda: next(seconds))
        >>> progress.update(100, "arm 1 of 3")
        training: arm 1 of 3, 100 of 300 steps, 2:00 left
    """

    def __init__(
        self,
        stage: str,
        total: int,
        unit: str = "steps",
        *,
        before: int = 0,
        file: IO[str] | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.stage, self.total, self.unit, self.before = stage, total, unit, before
        self._file = sys.stderr if file is None else file
        self._clock = clock
        self._start = self._printed = clock()
        self._detail: str | None = None
        self._line = ""

    def update(self, done: int, detail: str = "") -> None:
        """Say that so much is done.

        Args:
            done: of the total, what was done before included.
            detail: what the command is at.
        """
        now = self._clock()
        parts = [detail] if detail else []
        parts.append(f"{done:,} of {self.total:,} {self.unit}")
        if self.before < done < self.total and now - self._start >= 1:
            pace = (now - self._start) / (done - self.before)
            parts.append(f"{duration(pace * (self.total - done))} left")
        line = f"{self.stage}: {', '.join(parts)}"
        if self._file.isatty():
            end = "\n" if done == self.total else ""
            print(f"\r{line:<{len(self._line)}}", end=end, file=self._file, flush=True)
        elif line != self._line and (
            detail != self._detail or now - self._printed >= EVERY or done == self.total
        ):
            print(line, file=self._file, flush=True)
            self._printed = now
        else:
            return
        self._detail, self._line = detail, line


def counter(stage: str, unit: str) -> Callable[[int, int], None]:
    """What a work calls with how much is done and its total, to have its progress told."""
    progress: list[Progress] = []

    def tell(done: int, total: int) -> None:
        progress[:] = progress or [Progress(stage, total, unit)]
        progress[0].update(done)

    return tell


def end_program(status: int) -> NoReturn:
    """End a `python -m` with this exit status, also after Ctrl-C that it heeded.

    Python notes a KeyboardInterrupt that leaves code given as text (`eval`, and `exec` as a
    dataclass uses it), and then ends a `python -m` by the signal, whatever handled the exception.
    Other code given as text clears the note.
    """
    exec("")
    raise SystemExit(status)


def duration(seconds: float) -> str:
    """Minutes and seconds, with hours where there are some.

    Examples:
        >>> duration(5), duration(83.2), duration(3 * 3600 + 61)
        ('5 s', '1:23', '3:01:01')
    """
    whole = int(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    clock = f"{hours}:{minutes:02}" if hours else f"{minutes}"
    return f"{clock}:{whole % 60:02}" if whole >= 60 else f"{whole} s"
