"""From a log of past results to the next prompts, for users of any trainer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from insight_ext.beliefs.pool import PromptPool
from insight_ext.data.json_text import plain_numbers
from insight_ext.errors import ArgumentError
from insight_ext.kernel.scores import MAX_ROLLOUTS
from insight_ext.offline.logs import Floats, GroupLog, Integers
from insight_ext.offline.tables import prompt_columns, write_columns
from insight_ext.plugins import given_options, need, whole
from insight_ext.selectors import SELECTORS, BeliefSelector, make_selector
from insight_ext.selectors.base import NONE
from insight_ext.selectors.ranked import RankedSelector
from insight_ext.visible_text import visible_text


@dataclass(frozen=True)
class Ranking:
    """The next prompts, best first; every array has shape (top,).

    Attributes:
        ids: their ids.
        visits, successes, rollouts: int64, the log's totals for each.
        predicted: float64, the expected success rate; NaN if the strategy predicts none.
        why: the strategy's reasons, see `BeliefSelector.explain`: columns by name, of shape (top,).
    """

    ids: list[str]
    visits: Integers
    successes: Integers
    rollouts: Integers
    predicted: Floats
    why: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def columns(self, pool: PromptPool | None = None) -> dict[str, list[Any]]:
        """The ranking as columns; with the pool also what its file had."""
        prompts = {} if pool is None else prompt_columns(pool, self.ids)
        return {
            **prompts,
            "rank": list(range(1, len(self.ids) + 1)),
            "id": self.ids,
            "visits": self.visits.tolist(),
            "successes": self.successes.tolist(),
            "rollouts": self.rollouts.tolist(),
            "predicted": plain_numbers(self.predicted),
            **{name: plain_numbers(column) for name, column in self.why.items()},
        }

    def write(self, path: str | Path, pool: PromptPool | None = None) -> None:
        """Write `columns` as `.parquet`, `.jsonl` or `.csv`."""
        write_columns(path, self.columns(pool))

    def show(self, rows: int = 20, pool: PromptPool | None = None) -> None:
        """Print the first rows as a table, with the texts of the pool's prompts. Needs rich."""
        need("rank: showing the table", "rich")
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        title = f"the next {len(self.ids):,} prompts"
        if len(self.ids) > rows:
            title += f", the first {rows}"
        if not self.visits.any():
            title += "; the log has none of them"
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        for name in ("rank", "id", "visits", "solved", "predicted", *self.why):
            is_name = name == "id"  # the one column that gives way
            table.add_column(name, justify="left" if is_name else "right", no_wrap=not is_name)
        for at, name in enumerate(self.ids[: max(0, rows)]):
            visits, predicted = self.visits[at], self.predicted[at]
            solved = f"{self.successes[at]} of {self.rollouts[at]}" if visits else "unseen"
            expected = "" if np.isnan(predicted) else f"{predicted:.2f}"
            told = (f"{column[at].item():.3g}" for column in self.why.values())
            text = "" if pool is None else pool[pool.position(name)].prompt
            shown = f"{_short(name)}  {_short(text)}".rstrip()
            called = Text(shown, no_wrap=True, overflow="ellipsis")
            table.add_row(str(at + 1), called, str(visits), solved, expected, *told)
        Console().print(table)


def rank(
    log: GroupLog,
    strategy: str = "insight",
    top: int | None = None,
    *,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    pool: PromptPool | None = None,
) -> Ranking:
    """The prompts that a strategy would choose next after what a log holds.

    The strategy observes the log step by step, then selects once. Every prompt is a candidate, also
    where the strategy would draw some by default (`candidate_ratio`). A score's K is the log's most
    frequent group size, unless the options have `rollouts`. Prompts of the log's pool
    that were never visited are expected to be solved as often as the others were: unless the
    options have a prior or features, their beliefs begin at the log's mean success rate, those of
    the others at Beta(1, 1), and both weigh two answers.

    Args:
        log: the past, see `read_log`; read it with a pool to have unseen prompts ranked too.
        strategy: a name in `SELECTORS`, or an import path.
        top: how many prompts, in [1, prompts]; None: 256, or all where there are fewer.
        seed: of the strategy's draws and ties.
        options: the strategy's settings.
        pool: the pool that the log was read with, for options that need its texts
            (`features="ngrams"`, see `make_selector`).

    Raises:
        ArgumentError: an unknown strategy, an option it does not take, top outside its domain, a
            pool of other prompts than the log's.

    Determinism: equal logs, settings and seeds give equal rankings.

    Examples:
        >>> log = GroupLog(("a", "b"), np.array([0, 1]), np.array([8, 3]), np.array([8, 8]),
        ...                np.array([0, 0]), None)
        >>> rank(log, "insight", top=1).ids
        ['b']
    """
    n = len(log.ids)
    top = whole("top", min(256, n) if top is None else top, 1, n)
    if pool is not None and pool.ids != log.ids:
        raise ArgumentError(
            f"rank: expected a log read with this pool of {len(pool)} prompts, got one of {n} "
            "others; pass the pool to read_log too"
        )
    options = given_options("options", options, ["seed", "pool"])
    visits, successes, rollouts = log.totals()
    if issubclass(SELECTORS.get(strategy, BeliefSelector), RankedSelector):
        options.setdefault("candidate_ratio", None)
    if not {"prior", "features"} & options.keys():
        options |= _known_mean(strategy, visits, successes, rollouts)
    selector = make_selector(strategy, n, seed=seed, pool=pool, **options)
    if selector.rollouts is None:
        selector.rollouts = _most_frequent(log)
        if selector.rollouts > MAX_ROLLOUTS:
            raise ArgumentError(
                f"rank: expected a log of groups of at most {MAX_ROLLOUTS} rollouts, got "
                f"{selector.rollouts} in most of them; say how many the next ones will have, such "
                "as --option rollouts=8"
            )
    step = 0
    for results in log.moments():
        selector.observe(*map(torch.from_numpy, results), step=step)
        step += 1
    chosen = selector.select(top, step=step, exclude=NONE)
    predicted = np.full(top, np.nan)
    why: dict[str, NDArray[Any]] = {}
    if isinstance(selector, BeliefSelector):
        explained = selector.explain(chosen)
        predicted = explained.pop("success_rate").double().numpy()
        del explained["visits"]  # which the log tells
        why = {name: column.numpy() for name, column in explained.items()}
    at = chosen.numpy()
    return Ranking(
        ids=[log.ids[position] for position in at],
        visits=visits[at],
        successes=successes[at],
        rollouts=rollouts[at],
        predicted=predicted,
        why=why,
    )


def _known_mean(
    strategy: str, visits: Integers, successes: Integers, rollouts: Integers
) -> dict[str, Any]:
    """A prior of the log's mean for the prompts that it does not have."""
    seen = visits > 0
    if strategy not in SELECTORS or seen.all():
        return {}
    wins, tries = int(successes.sum()), int(rollouts.sum())
    alpha = torch.ones(len(seen))
    alpha[torch.from_numpy(~seen)] = 2 * (wins + 1) / (tries + 2)
    return {"prior": (alpha, 2 - alpha)}


def _most_frequent(log: GroupLog) -> int:
    """The group size that most groups have."""
    sizes: Counter[int] = Counter()
    for part in log.parts():
        found, groups = np.unique(log.rollouts[part], return_counts=True)
        sizes.update(dict(zip(found.tolist(), groups.tolist(), strict=True)))
    return min(sizes, key=lambda size: (-sizes[size], size))


def _short(text: str, width: int = 60) -> str:
    line = visible_text(" ".join(text.split()))
    return line if len(line) <= width else f"{line[: width - 1]}…"
