"""What a curator decided about a data set, and how it is shown and written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from insight_ext.beliefs.pool import PromptPool
from insight_ext.data.json_text import plain_numbers
from insight_ext.offline.logs import Floats, Integers
from insight_ext.offline.tables import prompt_columns, write_columns

BINS = 10
BAR = 40


@dataclass(frozen=True)
class Curation:
    """The scored prompts of a log.

    Attributes:
        ids: all prompts.
        scores: float64 of shape (N,), NaN where the score is undefined.
        kept: int64, positions of the prompts to keep, best first.
        dropped: why a score is undefined, and the positions of the prompts concerned.
        rule: what was kept, in words.
        notes: what else the reader has to know.
    """

    ids: tuple[str, ...]
    scores: Floats
    kept: Integers
    dropped: Mapping[str, Integers]
    rule: str
    notes: tuple[str, ...] = field(default=())

    @property
    def kept_ids(self) -> list[str]:
        """The ids to keep, best first."""
        return [self.ids[at] for at in self.kept]

    def report(self) -> str:
        """How many are kept, how many dropped and why, and the histogram of the scores."""
        scored = self.scores[np.isfinite(self.scores)]
        lines = [f"kept     {len(self.kept):>8,} of {len(self.ids):,} prompts ({self.rule})"]
        lines += [f"dropped  {len(rows):>8,} {reason}" for reason, rows in self.dropped.items()]
        lines += [f"note     {note}" for note in self.notes]
        if len(scored):
            lines += ["", "score of the prompts that have one", *histogram(scored)]
        return "\n".join(lines)

    def columns(self, pool: PromptPool | None = None) -> dict[str, list[Any]]:
        """The kept prompts, best first: `id` and `score`; with the pool also what its file had, so
        that the result is a pool to train on.

        Raises:
            ArgumentError: a pool without one of the prompts.
        """
        prompts = {} if pool is None else prompt_columns(pool, self.kept_ids)
        return {**prompts, "id": self.kept_ids, "score": plain_numbers(self.scores[self.kept])}

    def write(self, path: str | Path, pool: PromptPool | None = None) -> None:
        """Write `columns` as `.parquet`, `.jsonl` or `.csv`; another ending is an ArgumentError."""
        write_columns(path, self.columns(pool))


def histogram(values: NDArray[np.float64]) -> list[str]:
    """A histogram as lines of text; the lowest bin also holds the lowest hundredth below it.

    Scores may have a long lower tail, which would squeeze all others into one bin.

    Examples:
        >>> for line in histogram(np.array([0.0, 0.5, 0.5, 1.0]))[::5]:
        ...     print(line)
          0.00 ..   0.10 ####################                     1
          0.50 ..   0.60 ######################################## 2
    """
    low, high = np.quantile(values, 0.01, method="lower"), values.max()
    edges = np.linspace(low, high, BINS + 1) if high > low else np.array([low, high])
    counts, _ = np.histogram(np.maximum(values, low), bins=edges)
    tail = int(np.count_nonzero(values < low))
    lines = [
        f"{start:6.2f} .. {stop:6.2f} {'#' * round(BAR * count / counts.max()):<{BAR}} {count:,}"
        for start, stop, count in zip(edges, edges[1:], counts, strict=False)
    ]
    if tail:
        lines[0] += f" ({tail:,} of them lower, down to {values.min():.2f})"
    return lines


def best(scores: Floats, keep: int) -> Integers:
    """The positions of the `keep` largest scores, best first, equal ones in order; NaN is none."""
    order = np.argsort(-scores, kind="stable")
    return order[: min(keep, int(np.count_nonzero(np.isfinite(scores))))]
