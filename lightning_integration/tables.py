"""What the loggers show beside numbers: answers, and the prompts to look at by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from insight_ext import SelectionLoop
from insight_ext.report.prompts import difficult
from insight_ext.runs.layout import GROUPS_FILE, Sample, logged
from insight_ext.runs.reader import Run, read_groups
from insight_ext.visible_text import visible_text
from lightning_integration.trainer import loggers as known
from lightning_integration.trainer import rank_zero_only

TensorBoardLogger = known.TensorBoardLogger
SAMPLES, PROMPTS = logged("samples"), logged("prompts")


@rank_zero_only
def log_tables(loggers: Sequence[Any], loop: SelectionLoop) -> None:
    """Log the samples of the loop's latest step, and the prompts of its folder.

    W&B gets tables, TensorBoard texts; other loggers have nothing of the kind.
    """
    takers = [
        logger
        for logger in loggers
        if hasattr(logger, "log_table") or isinstance(logger, TensorBoardLogger)
    ]
    if not takers:
        return
    samples = [list(sample) for sample in loop.samples]
    for name, columns, rows in (
        (SAMPLES, list(Sample._fields), samples),
        (PROMPTS, ["why", "id", "prompt", "visits", "solved", "first", "latest"], _prompts(loop)),
    ):
        for logger in takers if rows else []:
            if hasattr(logger, "log_table"):
                logger.log_table(name, columns=columns, data=rows, step=loop.step - 1)
            else:
                logger.experiment.add_text(name, markdown(columns, rows), loop.step - 1)


def _prompts(loop: SelectionLoop) -> list[list[Any]]:
    """Never solved, hardest and most improved, as far as the folder tells."""
    if loop.history.folder is None:
        return []
    found = difficult(Run("", groups=read_groups(loop.history.folder / GROUPS_FILE)))
    if found is None:
        return []
    kinds = {"never solved": found.never, "hardest": found.hardest, "improved": found.improved}
    return [
        [why, p.id, _text(loop, p.id), p.visits, f"{p.successes}/{p.rollouts}", p.first, p.latest]
        for why, prompts in kinds.items()
        for p in prompts
    ]


def _text(loop: SelectionLoop, name: str) -> str:
    return loop.pool[loop.pool.position(name)].prompt


def markdown(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table whose cells cannot break it.

    Examples:
        >>> print(markdown(["id", "text"], [["a", "1|2"]]))
        | id | text |
        | --- | --- |
        | a | 1\\|2 |
    """
    lines = [columns, ["---"] * len(columns), *rows]
    cells = ([visible_text(str(cell)).replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)
