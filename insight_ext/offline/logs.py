"""Logs of rolled-out groups: of this project's runs, of other trainers, or anybody's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from insight_ext.beliefs.group import Threshold, check_threshold
from insight_ext.beliefs.pool import PromptPool
from insight_ext.errors import ArgumentError, ObservationError
from insight_ext.offline.visits import (
    TYPES,
    Columns,
    Visits,
    by_time,
    each_once,
    first_visits,
    moments_of,
    parts_of,
    totals,
)
from insight_ext.plugins import need

if TYPE_CHECKING:
    from insight_ext.data.table import DataFile
    from insight_ext.offline.prompt_ids import PromptIds

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

GROUPS, ANSWERS = "groups.parquet", "answers.parquet"
# When a run writes them.
WRITTEN = {
    GROUPS: "a run writes it where PromptSelectionCallback's history_every is above 0",
    ANSWERS: "a run writes it where its loop or PromptSelectionCallback has answers=True",
}
# What a run's folder holds beside them.
RUN_FILES = ("metrics.csv", "config.yaml", "checkpoints", "experiment.json")


@dataclass(frozen=True)
class GroupLog:
    """Visits of prompts in the order of time; every array has shape (V,).

    Whole numbers are int64 or int32. The arrays of a log that was read are of files that are mapped
    into memory, see `insight_ext.offline.visits`: whoever looks at them in `parts` needs memory for
    the prompts alone.

    Attributes:
        ids: the prompts; of the pool if one was given, else in the order of their first visit.
        prompt: position in `ids`.
        successes, rollouts: `0 <= successes <= rollouts`, `rollouts >= 1`.
        step, epoch: not decreasing; None where not logged. One of them is there.
        uncertainty: float64, finite, of answers (`read_answers`); None of groups.
    """

    ids: tuple[str, ...]
    prompt: Integers
    successes: Integers
    rollouts: Integers
    step: Integers | None
    epoch: Integers | None
    uncertainty: Floats | None = None

    def __len__(self) -> int:
        return len(self.prompt)

    @property
    def time(self) -> Integers:
        """The steps, or the epochs where no steps were logged."""
        time = self.epoch if self.step is None else self.step
        assert time is not None, "a log without step and epoch is refused when it is read"
        return time

    def parts(self) -> Iterator[slice]:
        """The visits in parts, so that what is worked out about them takes little memory."""
        columns = (self.prompt, self.successes, self.rollouts, self.step, self.epoch)
        return parts_of(len(self), *columns, self.uncertainty)

    def moments(self) -> Iterator[tuple[Integers, Integers, Integers]]:
        """prompt, successes, rollouts of each step (or epoch), by time; each prompt once.

        Prompts come in the order of their first visit of the step.
        """
        counted = {
            "prompt": self.prompt,
            "successes": self.successes,
            "rollouts": self.rollouts,
        }
        for moment in moments_of(self.time, *counted.values()):
            yield each_once(counted, moment)

    def by_epoch(self) -> GroupLog:
        """The log in the order of its epochs, those of one epoch in the order that they had."""
        assert self.epoch is not None, "a log of steps alone has no epochs"
        visits = {name: values for name in TYPES if (values := getattr(self, name)) is not None}
        ordered: dict[str, Any] = by_time(visits, "epoch")
        return replace(self, **ordered)

    def totals(self) -> tuple[Integers, Integers, Integers]:
        """Visits, successes and rollouts of each prompt, int64 of shape (N,)."""
        visits = np.zeros(len(self.ids), dtype=np.int64)
        for part in self.parts():
            visits += np.bincount(self.prompt[part], minlength=len(self.ids))
        won, tried = (
            totals(self.prompt, counts, len(self.ids)) for counts in (self.successes, self.rollouts)
        )
        return visits, won, tried


def read_log(
    path: str | Path | Iterable[str | Path],
    *,
    pool: PromptPool | None = None,
    reward: str | None = None,
    success_threshold: Threshold = 1.0,
) -> GroupLog:
    """Read a log with a row for each group, or one with a row for each completion.

    A row of groups has `id`, `successes` and `rollouts`, and may have `epoch` and `step`; other
    columns are ignored. A run of this project writes such a log into its
    folder as `groups.parquet/`. Completions are counted into groups; those that TRL, verl,
    verifiers and lm-eval log are known, see `insight_ext.offline.completion_rows`. Without a step
    all rows are of one moment.

    Args:
        path: files, a pattern or a folder, as for `PromptPool.from_file`, or the folder of a run
            of this project.
        pool: the prompts that the log is about; ids, or else texts, then have to be among them.
        reward, success_threshold: of completion logs: the column of the reward, and the smallest
            reward of a success, see `read_completions`.

    Returns:
        The visits, ordered by step (by epoch without steps), rows of one step as in the file.

    Raises:
        ArgumentError: no such file, a wrong ending, an ambiguous reward column, the folder of an
            experiment with several runs, or of a run without `groups.parquet`.
        ObservationError: no rows, missing columns, or a bad row: successes > rollouts, negative
            numbers, no id or one that is not in the pool. File and row are named.
        InsightError: pyarrow is missing.

    Cost: files are read in parts, and up to 36 bytes for each group are kept in a temporary file,
    whatever else its row holds, twice as many while it is read: memory is needed for the
    prompts and steps alone (`python -m benchmarks.bench_reading`).

    Examples:
        >>> import tempfile
        >>> from insight_ext.offline.tables import write_columns
        >>> folder = tempfile.TemporaryDirectory()
        >>> rows = {"id": ["b", "a"], "step": [1, 0], "successes": [2, 8], "rollouts": [8, 8]}
        >>> write_columns(f"{folder.name}/log.csv", rows)
        >>> log = read_log(f"{folder.name}/log.csv")
        >>> folder.cleanup()
        >>> log.ids, log.successes.tolist()
        (('a', 'b'), [8, 2])
    """
    return _read(path, pool, GROUPS, reward, success_threshold, ())


def read_answers(
    path: str | Path | Iterable[str | Path],
    *,
    pool: PromptPool | None = None,
    reward: str | None = None,
    success_threshold: Threshold = 1.0,
    uncertainty: str | None = None,
) -> GroupLog:
    """Read a log with a row for each answer and its uncertainty.

    A row has what `read_log` says of completions (or `successes`, 0 or 1, and `rollouts`, 1), and
    an uncertainty; a step is not needed. A run of this project that records its answers writes such
    a log into its folder as `answers.parquet/`, `python -m lightning_integration sample` writes
    one without any training, and TRL logs a column that a reward function adds to its completions.

    Args:
        path, pool, reward, success_threshold: see `read_log`.
        uncertainty: the column of the answers' uncertainty; None: `uncertainty`, `perplexity` or
            `entropy`, whichever there is first.

    Returns:
        The answers as groups of one; answers without a reward do not count.

    Raises:
        ArgumentError, ObservationError, InsightError: see `read_log`; no uncertainty, or an answer
            without one.

    Examples:
        >>> import tempfile
        >>> from insight_ext.offline.tables import write_columns
        >>> folder = tempfile.TemporaryDirectory()
        >>> rows = {"id": ["a", "a"], "reward": [1.0, 0.0], "perplexity": [1.1, 2.5]}
        >>> write_columns(f"{folder.name}/answers.csv", rows)
        >>> log = read_answers(f"{folder.name}/answers.csv")
        >>> folder.cleanup()
        >>> log.successes.tolist(), log.uncertainty.tolist()
        ([1, 0], [1.1, 2.5])
    """
    need("reading logs", "pyarrow")
    from insight_ext.offline.group_rows import UNCERTAINTIES

    names = UNCERTAINTIES if uncertainty is None else (uncertainty,)
    return _read(path, pool, ANSWERS, reward, success_threshold, names)


def _read(
    path: str | Path | Iterable[str | Path],
    pool: PromptPool | None,
    of_run: str,
    reward: str | None,
    success_threshold: Threshold,
    uncertainties: Sequence[str],
) -> GroupLog:
    need("reading logs", "pyarrow")
    from insight_ext.data.files import LOG
    from insight_ext.data.read import open_data
    from insight_ext.offline.completion_rows import has_completions, read_completions
    from insight_ext.offline.prompt_ids import PromptIds

    success_threshold = check_threshold(success_threshold)
    paths = _log_of(Path(path), of_run) if isinstance(path, str | Path) else path
    files = [file for file in open_data(paths, LOG) if file.names]
    prompts = PromptIds(pool)
    if files and has_completions(files[0], reward):
        visits = read_completions(files, prompts, reward, success_threshold, uncertainties)
    else:
        visits = _read_groups(files, prompts, uncertainties)
    if not len(visits["prompt"]):
        raise ObservationError(
            f"{path}: expected at least one row (with a reward, where rows are completions), found "
            "none; log a few steps"
        )
    return _log(visits, prompts.names, pool)


def _log_of(path: Path, name: str) -> Path:
    """The log of this name of a run, if this is its folder; else the path itself."""
    if (path / name).exists():
        return path / name
    runs = sorted(path.glob(f"*/{name}"))
    if runs:
        raise ArgumentError(
            f"{path}: expected the folder of one run, got one that holds {len(runs)} of them; "
            f"give one, such as {runs[0].parent}"
        )
    if any((path / each).exists() for each in (GROUPS, *RUN_FILES)):
        raise ArgumentError(
            f"{path}: expected {name} in the run's folder, found none; {WRITTEN[name]}"
        )
    return path


def _read_groups(
    files: Sequence[DataFile], prompts: PromptIds, uncertainties: Sequence[str]
) -> Columns:
    """The visits of these files by time."""
    from insight_ext.offline.group_rows import read_groups

    visits = Visits()
    for part in read_groups(files, prompts, uncertainties):
        visits.append(part)
    columns = visits.columns()
    if not columns:
        return {"prompt": np.empty(0, dtype=np.int64)}
    if not {"step", "epoch"} & columns.keys():
        raise ObservationError("expected the log's files to share a column step or epoch")
    return by_time(columns, "step" if "step" in columns else "epoch")


def _log(visits: Columns, names: tuple[str, ...], pool: PromptPool | None) -> GroupLog:
    """The log of these visits; without a pool prompts come by their first visit."""
    if pool is None:
        order = first_visits(visits["prompt"], len(names))
        position = np.empty(len(names), dtype=np.int32)
        position[order] = np.arange(len(order))
        for part in parts_of(len(visits["prompt"]), visits["prompt"]):
            visits["prompt"][part] = position[visits["prompt"][part]]
        names = tuple(names[at] for at in order)
    return GroupLog(
        ids=names,
        **{name: visits[name] for name in ("prompt", "successes", "rollouts")},
        step=visits.get("step"),
        epoch=visits.get("epoch"),
        uncertainty=visits.get("uncertainty"),
    )
