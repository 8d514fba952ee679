"""Logs with a row for each group: how many of its rollouts were right."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import numpy as np

from insight_ext.data import fields
from insight_ext.data.table import DataFile, Table
from insight_ext.data.values import distinct, ids, numbers, whole_numbers
from insight_ext.offline.prompt_ids import PromptIds
from insight_ext.offline.visits import Columns

# Rollouts of a group: what a belief in float32 counts one by one.
MOST_ROLLOUTS = 1 << 24
# Where a run's own log has the prompt's place in the pool; and rows from which it is seen whether
# an id is a prompt's.
POSITION, LOOKED_AT = "index", 1 << 12
# How the uncertainty of an answer is called; the first that a log has is taken.
UNCERTAINTIES = ("uncertainty", "perplexity", "entropy")


def read_groups(
    files: Sequence[DataFile], prompts: PromptIds, uncertainties: Sequence[str] = ()
) -> Iterator[Columns]:
    """The visits in these files, in parts: prompt, successes, rollouts, step, epoch.

    Args:
        files: of the log.
        prompts: gives positions to prompts.
        uncertainties: of answers: columns of which one has to be there, which becomes
            `uncertainty`; a step is then not needed.

    Raises:
        ObservationError: a missing column or a bad row, see `insight_ext.offline.logs.read_log`.
    """
    for file in files:
        if not file.names:
            continue
        columns = group_columns(file, uncertainties)
        for table in file.tables(list(columns.values())):
            yield checked(table, columns, prompts)


def uncertainty_column(file: DataFile, names: Sequence[str]) -> str:
    """The first of these columns that a file has.

    Raises:
        ObservationError: it has none of them.
    """
    column = fields.find(file, names)
    if column is None:
        raise file.lacks(" or ".join(names))
    return column


def group_columns(file: DataFile, uncertainties: Sequence[str] = ()) -> dict[str, str]:
    """Where a file has the parts of a group."""
    columns = {
        "id": fields.find(file, (*fields.ID, *fields.ROW_NUMBER)),
        **{name: fields.find(file, [name]) for name in ("successes", "rollouts")},
    }
    missing = [name for name, column in columns.items() if column is None]
    if missing:
        raise file.lacks(*missing)
    columns |= {"step": fields.find(file, fields.STEP), "epoch": fields.find(file, ["epoch"])}
    if columns["step"] and file.has(POSITION) and _is_of_kinds(file, columns):
        warnings.warn(
            f"{file.path}: one {columns['id']} stands for several prompts of a step, as in a "
            f"recording that keeps kinds alone; prompts are told apart by the column {POSITION}, "
            "their place in the pool",
            stacklevel=6,
        )
        columns["id"] = POSITION
    if uncertainties:
        columns["uncertainty"] = uncertainty_column(file, uncertainties)
    return {name: column for name, column in columns.items() if column is not None}


def _is_of_kinds(file: DataFile, columns: dict[str, str | None]) -> bool:
    """Whether an id has several positions within a step, as far as the first rows tell."""
    names = [columns["id"] or "", columns["step"] or "", POSITION]
    for table in file.tables(names):
        rows = zip(*(map(str, table.values(name)[:LOOKED_AT]) for name in names), strict=True)
        first: dict[tuple[str, str], str] = {}
        return any(first.setdefault((name, step), place) != place for name, step, place in rows)
    return False


def checked(table: Table, columns: dict[str, str], prompts: PromptIds) -> Columns:
    """A table's groups, every row checked."""
    found: Columns = {
        name: whole_numbers(table, columns[name])
        for name in ("successes", "rollouts", "step", "epoch")
        if name in columns
    }
    successes, rollouts = found["successes"], found["rollouts"]
    for name, bad, expected in (
        ("rollouts", rollouts < 1, "at least 1"),
        ("rollouts", rollouts > MOST_ROLLOUTS, f"at most {MOST_ROLLOUTS:,}"),
        ("successes", successes < 0, "at least 0"),
        ("successes", successes > rollouts, "at most the row's rollouts"),
        *((name, found[name] < 0, "at least 0") for name in ("step", "epoch") if name in found),
    ):
        if bad.any():
            row = int(np.argmax(bad))
            of = f" of {rollouts[row]} rollouts" if name == "successes" else ""
            raise table.malformed(
                row,
                f"expected {columns[name]} to be {expected}, got {found[name][row]}{of}",
            )
    if "uncertainty" in columns:
        found["uncertainty"] = numbers(table, columns["uncertainty"], finite=True)
    if "step" not in found and "epoch" not in found:
        found["step"] = np.zeros(len(table), dtype=np.int64)
    found["prompt"] = prompts.of_ids(table, *distinct(ids(table, columns["id"])))
    return found
