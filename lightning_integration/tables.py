"""What the loggers show beside numbers: answers, and the prompts to look at by hand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Any

from insight_ext import SelectionLoop
from insight_ext.report.prompts import Visited, difficult
from insight_ext.runs.layout import GROUPS_FILE, SAMPLES_FILE, Sample, logged
from insight_ext.runs.reader import Run, read_groups, read_samples
from insight_ext.visible_text import visible_text
from lightning_integration.trainer import loggers as known
from lightning_integration.trainer import rank_zero_only

TensorBoardLogger = known.TensorBoardLogger
SAMPLES, PROMPTS = logged("samples"), logged("prompts")
PROMPT_COLUMNS = ["why", "id", "prompt", "key", "answer", "visits", "solved", "first", "latest"]


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
        (PROMPTS, PROMPT_COLUMNS, _prompts(loop)),
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
    groups = read_groups(loop.history.folder / GROUPS_FILE)
    found = difficult(Run("", {}, groups, samples=read_samples(loop.history.folder / SAMPLES_FILE)))
    if found is None:
        return []
    kinds = {"never solved": found.never, "hardest": found.hardest, "improved": found.improved}
    return [[why, *_row(loop, one)] for why, prompts in kinds.items() for one in prompts]


def _row(loop: SelectionLoop, one: Visited) -> list[Any]:
    prompt = loop.pool[loop.pool.position(one.id)]
    answer = "" if one.sample is None else one.sample.completion
    solved = f"{one.successes}/{one.rollouts}"
    return [one.id, prompt.prompt, prompt.answer, answer, one.visits, solved, one.first, one.latest]


def markdown(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table whose cells are shown as they are: neither they nor their markup break it.

    Examples:
        >>> print(markdown(["id", "text"], [["a", "1|2"]]))
        | id | text |
        | --- | --- |
        | a | 1\\|2 |
        >>> print(markdown(["text"], [["<think> 2 * 3 * 4"]]).splitlines()[-1])
        | &lt;think&gt; 2 \\* 3 \\* 4 |
    """
    head, *cells = ([_literal(str(cell)) for cell in line] for line in (columns, *rows))
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(columns), *cells))


def _literal(text: str) -> str:
    """As Markdown that shows this text, the tags of a model's answer too."""
    return re.sub(r"([\\`*_|\[\]])", r"\\\1", escape(visible_text(text), quote=False))
