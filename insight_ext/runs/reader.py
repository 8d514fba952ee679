"""The one reader of a run's folder: whole, by `read_runs`, or while it grows, by `RunFolder`."""

from __future__ import annotations

import csv
import json
import os
import re
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from insight_ext.errors import ArgumentError
from insight_ext.runs.layout import (
    BELIEFS_FILE,
    CONFIG_FILE,
    FACTS_FILE,
    GROUPS_FILE,
    METRICS_FILE,
    PARTS,
    SAMPLES_FILE,
    Metric,
    Sample,
    as_returned,
    beliefs_schema,
    groups_schema,
)

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

MOST = 1 << 31  # steps that a run may have
Recent = deque[tuple[int, float]]  # pairs of a step and a metric's value
RECENT = 200  # values of a metric that `RunFolder` keeps
SAMPLE_ROW = "a JSON object with step, id, prompt, completion and reward"
VERSION = re.compile(r"version_(\d+)")  # Lightning's folders; a resumed run begins another one
NAME = re.compile(r"(?P<arm>.+)-seed(?P<seed>\d+)")
# What a run writes into its folder, some of it before its first step.
SIGNS = (
    METRICS_FILE,
    GROUPS_FILE,
    BELIEFS_FILE,
    CONFIG_FILE,
    FACTS_FILE,
    "hparams.yaml",
    "checkpoints",
    "*.ckpt",
    "events.out.tfevents.*",
)


class Series(NamedTuple):
    """One logged metric: the steps at which it was logged, increasing, and its values."""

    steps: Integers
    values: Floats


@dataclass(frozen=True)
class Groups:
    """Every rolled-out group, by step.

    Attributes:
        ids: the prompts that were visited.
        prompt: of each group, its position in `ids`.
        step, successes, rollouts: of each group.
        predicted: the success rate expected before the visit; NaN where none was.
    """

    ids: tuple[str, ...]
    prompt: Integers
    step: Integers
    successes: Integers
    rollouts: Integers
    predicted: Floats

    def where(self, kept: NDArray[np.bool_]) -> Groups:
        """Some of the groups."""
        columns = [getattr(self, column.name)[kept] for column in fields(self)[1:]]
        return Groups(self.ids, *columns)


@dataclass(frozen=True)
class Beliefs:
    """The pool after some steps: prompts never visited, and the others by posterior mean.

    `means` has shape (T, bins): prompts per equal bin of [0, 1].
    """

    step: Integers
    unseen: Integers
    means: Integers

    @property
    def pool_size(self) -> int:
        return int(self.unseen[0] + self.means[0].sum())


@dataclass(frozen=True)
class Run:
    """One training run, as far as it was logged; None or empty is what its folder does not have.

    `samples` has the latest answer to each prompt; `written` is when something was logged last,
    seconds since the epoch.
    """

    name: str
    metrics: dict[str, Series] = field(default_factory=dict)
    groups: Groups | None = None
    beliefs: Beliefs | None = None
    samples: dict[str, Sample] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    written: float = 0.0

    @property
    def arm(self) -> str:
        """The name without its seed."""
        match = NAME.fullmatch(self.name)
        return match["arm"] if match else self.name

    @property
    def seed(self) -> int:
        match = NAME.fullmatch(self.name)
        return int(match["seed"]) if match else 0

    @property
    def steps(self) -> int:
        """Steps done, as far as anything was logged; steps are numbered from 0."""
        ends = [int(series.steps[-1]) for series in self.metrics.values()]
        return max(ends + ([int(self.groups.step[-1])] if self.groups else [])) + 1


def read_runs(folder: Path) -> tuple[list[Run], list[str]]:
    """The runs of a folder: its own, or those of the folders in it; and the names of empty ones.

    Lightning begins a folder `version_N` for every resumed run: those that go on where an earlier
    one was are one run, in which repeated steps count once.

    Raises:
        ArgumentError: no such folder, no run in it, or a file that is not what its name says.
    """
    if not folder.is_dir():
        raise ArgumentError(f"expected a run's folder, got {folder}, which is none")
    runs, empty = [], []
    for name, places in _found(folder).items():
        run = _read(name, places)
        if run is None:
            empty.append(name)
        else:
            runs.append(run)
    return runs, empty


def _found(folder: Path) -> dict[str, list[Path]]:
    """The folders of each run, by name."""
    if _is_run(folder):
        return {folder.resolve().name: [folder]}
    versions = [place for pattern in ("version_*", "*/version_*") for place in folder.glob(pattern)]
    places = [
        *sorted(place for place in folder.glob("*") if not VERSION.fullmatch(place.name)),
        *sorted(versions, key=lambda place: (place.parent, _version(place))),
    ]
    runs: dict[str, list[Path]] = {}
    name = ""
    for place in filter(_is_run, places):
        if not (name and _continues(place, runs[name][-1])):
            parts = place.relative_to(folder).parts
            name = parts[0] if parts[0] not in runs else "/".join(parts)
            runs[name] = []
        runs[name].append(place)
    if not runs:
        raise ArgumentError(
            f"expected {METRICS_FILE} or {GROUPS_FILE} in {folder}, or in folders inside "
            "it, found none; give the folder that a training run wrote. metrics.csv is written by "
            "MetricsFile of lightning_integration (python -m lightning_integration has it) "
            "or by Lightning's CSVLogger, as a logger of the Trainer; TensorBoard's files are not "
            "read"
        )
    return runs


def _is_run(place: Path) -> bool:
    return (place / METRICS_FILE).is_file() or any((place / GROUPS_FILE).glob(PARTS))


def _continues(place: Path, before: Path) -> bool:
    """Whether a version's folder goes on where the one before it was, instead of beginning anew."""
    same = place.parent == before.parent and VERSION.fullmatch(place.name)
    return bool(same) and _first_step(place) > _first_step(before)


def _version(place: Path) -> int:
    match = VERSION.fullmatch(place.name)
    return int(match[1]) if match else 0


def _first_step(place: Path) -> int:
    parts = sorted((place / GROUPS_FILE).glob(PARTS))
    if parts:
        with _told(parts[0], "a name that ends in the part's first step"):
            return int(parts[0].stem.removeprefix("part-"))
    steps = [series.steps[0] for series in read_metrics(place / METRICS_FILE).values()]
    return int(min(steps, default=0))


def _read(name: str, places: Sequence[Path]) -> Run | None:
    metrics = read_metrics(*(place / METRICS_FILE for place in places))
    groups = read_groups(*(place / GROUPS_FILE for place in places))
    if not metrics and groups is None:
        return None
    return Run(
        name,
        metrics,
        groups,
        read_beliefs(*(place / BELIEFS_FILE for place in places)),
        {id: one for place in places for id, one in read_samples(place / SAMPLES_FILE).items()},
        _read_settings(places[-1] / CONFIG_FILE),
        _read_facts(places[0] / FACTS_FILE),
        _written(*places) or 0.0,
    )


def _written(*places: Path) -> float | None:
    """When something was logged last, seconds since the epoch; None before that."""
    logs = [log for place in places for log in place.glob(f"*.parquet/{PARTS}")]
    logs += [place / METRICS_FILE for place in places]
    return max((log.stat().st_mtime for log in logs if log.exists()), default=None)


class MetricsReader:
    """A metrics.csv that may grow while it is read; every line is read once.

    A last line without its end waits for the rest. A file that was replaced is read anew.

    Args:
        path: of the file, which need not be there yet.
        keep: how many of the latest values of a metric are kept; all if None.

    Attributes:
        series: of each metric the pairs (step, value), in the file's order.
        step: the latest step logged; None before the first.
    """

    def __init__(self, path: Path, keep: int | None = None) -> None:
        self.path, self._keep = path, keep
        self._begin()

    def _begin(self, head: bytes = b"", inode: int = 0) -> None:
        self.series: dict[str, Recent] = {}
        self.step: int | None = None
        self._file = (inode, head)
        self._columns = next(csv.reader([head.decode()]), [])
        self._end, self._lines = len(head), 1

    def read(self) -> None:
        """Take in what was written since the last time.

        Raises:
            ArgumentError: no step column, or an entry that is not a number (file and line named).
        """
        if not self.path.exists():
            self._begin()
            return
        with _told(self.path, "UTF-8 text"), self.path.open("rb") as file:
            status, head = os.fstat(file.fileno()), file.readline()
            if not head.endswith(b"\n"):
                return
            if self._file != (status.st_ino, head) or status.st_size < self._end:
                self._begin(head, status.st_ino)
            if "step" not in self._columns:
                raise ArgumentError(
                    f"{self.path}: expected a column named step, got {', '.join(self._columns)}"
                )
            file.seek(self._end)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._end += len(line)
                self._lines += 1
                self._take(line.decode())

    def _take(self, line: str) -> None:
        try:
            texts = next(csv.reader([line]), [])
            row = {name: text for name, text in zip(self._columns, texts, strict=False) if text}
            step = int(row.pop("step"))
            values = {as_returned(name): float(row[name]) for name in row.keys() - {"epoch"}}
            if not -1 <= step < MOST:  # -1: before the first
                raise ValueError(step)
        except (KeyError, ValueError, csv.Error) as error:
            raise ArgumentError(
                f"{self.path}:{self._lines}: expected numbers and an integer step, got "
                f"{line.strip()!r:.80}"
            ) from error
        self.step = step
        for name, value in values.items():
            self.series.setdefault(name, deque(maxlen=self._keep)).append((step, value))


def read_metrics(*paths: Path) -> dict[str, Series]:
    """Each metric without its gaps; of a step logged twice the last value.

    Of several files, each counts up to the first step of the next.

    Raises:
        ArgumentError: see `MetricsReader.read`.
    """
    metrics: dict[str, dict[int, float]] = {}
    for path in paths:
        reader = MetricsReader(path)
        reader.read()
        begin = min((step for pairs in reader.series.values() for step, _ in pairs), default=None)
        for name, values in metrics.items():
            metrics[name] = {s: v for s, v in values.items() if begin is None or s < begin}
        for name, pairs in reader.series.items():
            metrics.setdefault(name, {}).update(pairs)
    return {
        name: Series(np.array(sorted(values)), np.array([values[s] for s in sorted(values)]))
        for name, values in metrics.items()
        if values
    }


def read_groups(*folders: Path) -> Groups | None:
    """The groups, ordered by step; None if there are none. Several folders: as `read_metrics`.

    Raises:
        ArgumentError: not Parquet files with the columns of `Groups`.
    """
    import pyarrow.compute as pc

    columns = ["id", "step", "successes", "rollouts", "predicted"]
    table = _read_parts(folders, groups_schema(), columns)
    if table is None:
        return None
    ids = table["id"]
    if pc.all(pc.ends_with(ids, "/")).as_py():  # kinds of prompts
        table = _read_parts(folders, groups_schema(), [*columns, "index"])
        ids = pc.binary_join_element_wise(table["id"], table["index"].cast("string"), "")
    prompts = ids.combine_chunks().dictionary_encode()
    return Groups(
        ids=tuple(prompts.dictionary.to_pylist()),
        prompt=np.asarray(prompts.indices.to_numpy(), dtype=np.int64),
        step=_integers(table, "step"),
        successes=_integers(table, "successes"),
        rollouts=_integers(table, "rollouts"),
        predicted=table["predicted"].cast("float64").fill_null(float("nan")).to_numpy(),
    )


def read_beliefs(*folders: Path, latest: bool = False) -> Beliefs | None:
    """The looks at the pool, ordered by step, as `read_groups`; `latest` reads the last part."""
    import pyarrow as pa

    schema = beliefs_schema()  # but of any number of bins
    schema = schema.set(2, schema.field("means").with_type(pa.list_(pa.int64())))
    table = _read_parts(folders, schema, schema.names, latest)
    if table is None:
        return None
    means = np.array(table["means"].to_pylist(), dtype=np.int64)
    return Beliefs(_integers(table, "step"), _integers(table, "unseen"), means)


def _read_parts(
    folders: Sequence[Path], schema: Any, columns: Sequence[str], latest: bool = False
) -> Any:
    """These columns of the parts, by step, in the types of the schema, `predicted` alone null."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.dataset as pads

    tables: list[Any] = []
    for folder in folders:
        files = sorted(str(path) for path in folder.glob(PARTS))
        files = files[-1:] if latest else files
        if not files:
            continue
        with _told(folder, f"Parquet files with the columns {', '.join(columns)}"):
            table = pads.dataset(files, format="parquet").to_table(columns=list(columns))
            table = table.cast(pa.schema([schema.field(name) for name in columns]))
            _check_counts(table)
        if table.num_rows:
            begin = pc.min(table["step"])
            tables = [earlier.filter(pc.less(earlier["step"], begin)) for earlier in tables]
            tables.append(table)
    return pa.concat_tables(tables).sort_by("step") if tables else None


def _check_counts(table: Any) -> None:
    """ValueError where a value is missing, negative or, of rollouts, 0."""
    import pyarrow.compute as pc

    for name in table.column_names:
        column = table[name]
        if name != "predicted" and column.null_count:
            raise ValueError(f"{name} without a value")
        if name in ("id", "predicted") or not len(column):
            continue
        if name == "means":
            if len(pc.unique(pc.list_value_length(column))) > 1:
                raise ValueError("means of several lengths")
            column = pc.list_flatten(column)
        least = pc.min(column).as_py()
        if least is None or column.null_count or least < (name == "rollouts"):
            raise ValueError(f"{name} of {least} among the values")


def _integers(table: Any, name: str) -> Integers:
    return np.asarray(table[name].to_numpy(), dtype=np.int64)


def read_samples(path: Path) -> dict[str, Sample]:
    """The latest answer to each prompt, by id; none without the file.

    Raises:
        ArgumentError: not a JSON object with the fields of `Sample` a line.
    """
    if not path.exists():
        return {}
    samples = {}
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                break  # still being written
            with _told(f"{path}:{number}", SAMPLE_ROW):
                row = json.loads(line)
                one = Sample(**{name: row[name] for name in Sample._fields if name in row})
                texts = (one.id, one.prompt, one.completion, one.answer)
                numbers = type(one.step) is int and type(one.reward) in (int, float)
                if not (numbers and all(isinstance(text, str) for text in texts)):
                    raise TypeError(f"{row!r:.80}")
                samples[one.id] = one._replace(reward=float(one.reward))
    return samples


@contextmanager
def _told(place: Path | str, expected: str) -> Iterator[None]:
    """What does not fit in a file that somebody wrote, as an ArgumentError."""
    try:
        yield
    except (ArgumentError, FileNotFoundError):
        raise
    except (OSError, ValueError, TypeError, LookupError, OverflowError, RuntimeError) as error:
        told = str(error).partition("\n")[0] or type(error).__name__
        raise ArgumentError(f"{place}: expected {expected}, got: {told}") from error


def _read_settings(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    from insight_ext.data.yaml_file import read_yaml

    settings = read_yaml(path)
    if not isinstance(settings, dict):
        raise ArgumentError(f"{path}: expected settings by name, got {type(settings).__name__}")
    return settings


def _read_facts(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    with _told(path, "a JSON object of texts"):
        facts = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(facts, dict) or not all(isinstance(v, str) for v in facts.values()):
            raise TypeError(f"{facts!r:.80}")
    return facts


class RunFolder:
    """What a run has written so far, to be looked at again and again.

    Without metrics.csv, as where TensorBoard alone logs, the groups tell how many are mixed.

    Args:
        path: the run's folder.

    Attributes:
        series, step: see `MetricsReader`; the latest `RECENT` values.
        beliefs: the latest look at the pool, or None.
        written: when something was written last, seconds since the epoch; None before that.

    Raises:
        ArgumentError: no such folder, one that holds other things, or several runs.
    """

    def __init__(self, path: Path) -> None:
        _check(path)
        self.path = path
        self.beliefs: Beliefs | None = None
        self._metrics = MetricsReader(path / METRICS_FILE, RECENT)
        self.refresh()

    def refresh(self) -> None:
        """Read what is new.

        Raises:
            ArgumentError: a file that is not what its name says.
        """
        self._metrics.read()
        self.series, self.step = self._metrics.series, self._metrics.step
        try:
            self.beliefs = read_beliefs(self.path / BELIEFS_FILE, latest=True)
            if not self.series:
                self._read_groups()
        except FileNotFoundError:
            pass  # a resumed run drops parts while they are read; the next look finds the new ones
        self.written = _written(self.path)

    def _read_groups(self) -> None:
        table = _read_parts(
            [self.path / GROUPS_FILE], groups_schema(), ["step", "successes", "rollouts"], True
        )
        if table is None:
            return
        step, successes = _integers(table, "step"), _integers(table, "successes")
        mixed = (successes > 0) & (successes < _integers(table, "rollouts"))
        steps, first = np.unique(step, return_index=True)
        shares = np.add.reduceat(mixed, first, dtype=float) / np.diff([*first, len(mixed)])
        pairs = zip(steps.tolist(), shares.tolist(), strict=True)
        self.series, self.step = {Metric.MIXED: deque(pairs, maxlen=RECENT)}, int(steps[-1])


def _check(path: Path) -> None:
    if not path.is_dir():
        raise ArgumentError(
            f"expected a run's folder, got {path}, which is none; the run makes it when it starts"
        )
    if not any(path.iterdir()) or any(any(path.glob(sign)) for sign in SIGNS):
        return
    runs = sorted(place.name for place in path.iterdir() if _is_run(place))
    if runs:
        raise ArgumentError(f"{path} holds several runs: give one of them, {', '.join(runs)}")
    raise ArgumentError(
        f"expected a run's folder, with {METRICS_FILE}, {GROUPS_FILE} or {BELIEFS_FILE}, or an "
        f"empty one; {path} holds other things; give the folder that the run's first logger writes "
        "to"
    )
