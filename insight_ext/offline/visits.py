"""The visits of a log, kept on disk, so that memory holds its prompts alone."""

from __future__ import annotations

import mmap
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from insight_ext.errors import ArgumentError

Columns = dict[str, NDArray[Any]]
Integers = NDArray[Any]

PART = 1 << 18  # visits looked at together
TYPES: dict[str, DTypeLike] = {
    "prompt": np.int32,
    "successes": np.int32,
    "rollouts": np.int32,
    "step": np.int64,
    "epoch": np.int64,
    "uncertainty": np.float64,
}


class Visits:
    """Columns of equal length that grow by parts, each in a temporary file without a name.

    The files are in the folder that `TMPDIR` names, and are gone with the arrays.

    Examples:
        >>> visits = Visits()
        >>> visits.append({"prompt": np.array([3, 4]), "step": np.array([0, 1])})
        >>> visits.append({"prompt": np.array([5]), "step": np.array([1])})
        >>> visits.columns()["prompt"].tolist()
        [3, 4, 5]
    """

    def __init__(self) -> None:
        self._files: dict[str, IO[bytes]] = {}
        self._length = 0
        opened = self._opened = ExitStack()
        weakref.finalize(self, opened.close)

    def __len__(self) -> int:
        return self._length

    def append(self, part: Mapping[str, NDArray[Any]]) -> None:
        """Write the rows of a part; columns that not every part has are left out.

        Raises:
            ArgumentError: the folder is full, or cannot be written.
        """
        try:
            if not self._files:
                for name in part:
                    new = tempfile.TemporaryFile()  # noqa: SIM115
                    self._files[name] = self._opened.enter_context(new)
            for name in self._files.keys() - part.keys():
                del self._files[name]
            for name, file in self._files.items():
                file.write(np.ascontiguousarray(part[name], TYPES[name]).data)
                file.flush()
        except OSError as error:
            raise ArgumentError(
                f"{tempfile.gettempdir()}: expected room for the log's visits, 20 to 36 bytes for "
                f"each, got: {error.strerror or error}; set TMPDIR to another folder"
            ) from error
        self._length += len(part["prompt"])

    def columns(self) -> Columns:
        """The columns as arrays over the files; what is written into them stays there."""
        found: Columns = {}
        for name, file in self._files.items():
            content = mmap.mmap(file.fileno(), 0) if len(self) else b""
            found[name] = np.frombuffer(content, TYPES[name])
        return found


def parts_of(visits: int, *columns: NDArray[Any] | None) -> Iterator[slice]:
    """A log's visits in parts, so that what is worked out about them takes little memory.

    Args:
        visits: how many.
        columns: those that are looked at; what was read of their files leaves the memory.

    Examples:
        >>> [(part.start, part.stop) for part in parts_of(300_000)]
        [(0, 262144), (262144, 300000)]
    """
    files = [file for column in columns if (file := _file_of(column)) is not None]
    for start in range(0, visits, PART):
        yield slice(start, min(start + PART, visits))
        for file in files:
            file.madvise(mmap.MADV_DONTNEED)


def _file_of(column: Any) -> mmap.mmap | None:
    """The mapped file that an array is a view of."""
    while isinstance(column, np.ndarray | memoryview):
        column = column.base if isinstance(column, np.ndarray) else column.obj
    return column if isinstance(column, mmap.mmap) else None


def moments_of(time: Integers, *columns: Integers) -> Iterator[slice]:
    """The visits of each step (or epoch) together, where time does not decrease.

    Args:
        time: of each visit.
        columns: those that are looked at, see `parts_of`.

    Examples:
        >>> [(moment.start, moment.stop) for moment in moments_of(np.array([0, 0, 4]))]
        [(0, 2), (2, 3)]
    """
    start = 0
    for part in parts_of(len(time), time, *columns):
        bounds = np.flatnonzero(np.diff(time[part.start : part.stop + 1])) + part.start + 1
        for stop in bounds.tolist():
            yield slice(start, stop)
            start = stop
    if start < len(time):
        yield slice(start, len(time))


def by_time(visits: Columns, name: str) -> Columns:
    """The visits in the order of this column, equal ones in the order that they had."""
    time = visits[name]

    def parts(*others: Integers) -> Iterator[slice]:
        return parts_of(len(time), *visits.values(), *others)

    if all((np.diff(time[part.start : part.stop + 1]) >= 0).all() for part in parts()):
        return visits
    moments = np.unique(np.concatenate([np.unique(time[part]) for part in parts()]))
    counts = np.zeros(len(moments), dtype=np.int64)
    room = Visits()
    for part in parts():
        counts += np.bincount(np.searchsorted(moments, time[part]), minlength=len(moments))
        room.append({name: values[part] for name, values in visits.items()})
    place = np.cumsum(counts) - counts  # where the next visit of each moment goes
    ordered = room.columns()
    for part in parts(*ordered.values()):
        moment = np.searchsorted(moments, time[part])
        order = np.argsort(moment, kind="stable")
        moment = moment[order]
        first = np.searchsorted(moment, moment)
        to = place[moment] + np.arange(len(moment)) - first
        for name, values in visits.items():
            ordered[name][to] = values[part][order]
        place += np.bincount(moment, minlength=len(moments))
    return ordered


def each_once(visits: Columns, moment: slice) -> tuple[Integers, Integers, Integers]:
    """prompt, successes, rollouts of a moment: prompts in the order in which they first come.

    Examples:
        >>> visits = {name: np.array([7, 3, 7]) for name in ("prompt", "successes", "rollouts")}
        >>> [column.tolist() for column in each_once(visits, slice(0, 3))]
        [[7, 3], [14, 3], [14, 3]]
    """
    prompt, successes, rollouts = (
        visits[name][moment] for name in ("prompt", "successes", "rollouts")
    )
    if len(prompt) <= PART:
        return _summed(prompt, successes, rollouts)
    kept = prompt[:0], successes[:0], rollouts[:0]
    for part in parts_of(len(prompt), prompt, successes, rollouts):
        kept = _summed(
            np.concatenate([kept[0], prompt[part]]),
            np.concatenate([kept[1], successes[part]]),
            np.concatenate([kept[2], rollouts[part]]),
        )
    return kept


def _summed(
    prompt: Integers, successes: Integers, rollouts: Integers
) -> tuple[Integers, Integers, Integers]:
    _, first, which = np.unique(prompt, return_index=True, return_inverse=True)
    if len(first) == len(prompt):
        return prompt, successes, rollouts
    order = np.argsort(first, kind="stable")
    sums = np.zeros((2, len(first)), dtype=np.int64)
    np.add.at(sums[0], which, successes)
    np.add.at(sums[1], which, rollouts)
    return prompt[first[order]], sums[0][order], sums[1][order]


def first_visits(prompt: Integers, count: int) -> Integers:
    """Those of this many prompts that were visited, by their first visit.

    Examples:
        >>> first_visits(np.array([2, 0, 2]), 4).tolist()
        [2, 0]
    """
    first = np.full(count, len(prompt))
    for part in parts_of(len(prompt), prompt):
        new = np.flatnonzero(first[prompt[part]] == len(prompt))[::-1]
        first[prompt[part][new]] = part.start + new
    return np.argsort(first, kind="stable")[: np.count_nonzero(first < len(prompt))]


def totals(prompt: Integers, counts: Integers, prompts: int) -> Integers:
    """For each of this many prompts the sum over its visits, int64.

    Examples:
        >>> totals(np.array([2, 0, 2]), np.array([5, 1, 2]), 3).tolist()
        [1, 0, 7]
    """
    found = np.zeros(prompts, dtype=np.int64)
    for part in parts_of(len(prompt), prompt, counts):
        np.add.at(found, prompt[part], counts[part].astype(np.int64))
    return found
