"""The prompts to look at by hand: those never solved, where a wrong key shows, and the hardest."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from insight_ext.report.measures import is_mixed
from insight_ext.runs.layout import Sample
from insight_ext.runs.reader import Run

SHOWN = 10


class Visited(NamedTuple):
    """What a run knows of a prompt.

    `first` and `latest` are the shares of right answers at its first and its latest visit;
    `sample` is its latest answer, if one was kept, or its text and key alone.
    """

    id: str
    visits: int
    successes: int
    rollouts: int
    first: float
    latest: float
    sample: Sample | None


class Difficult(NamedTuple):
    """Prompts of a run that were never solved, and that were solved at times.

    Attributes:
        visited, unsolved: how many prompts were visited, and how many of them never solved.
        never: of those never solved the `SHOWN` with the most answers.
        hardest: of the others the `SHOWN` with the smallest share of right answers.
        improved: the `SHOWN` whose latest visit was the most above their first.
    """

    visited: int
    unsolved: int
    never: list[Visited]
    hardest: list[Visited]
    improved: list[Visited]


def difficult(run: Run) -> Difficult | None:
    """None if the run wrote no groups."""
    groups = run.groups
    if groups is None:
        return None

    def total(weights: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        return np.bincount(groups.prompt, weights, len(groups.ids)).astype(np.int64)

    visits, successes, rollouts = total(), total(groups.successes), total(groups.rollouts)

    shares = groups.successes / groups.rollouts
    first, latest = np.zeros(len(groups.ids)), np.zeros(len(groups.ids))
    first[groups.prompt[::-1]], latest[groups.prompt] = shares[::-1], shares

    def listed(places: NDArray[np.int64], order: NDArray[np.float64]) -> list[Visited]:
        best = places[np.argsort(order[places], kind="stable")][:SHOWN]
        return [
            Visited(
                groups.ids[at],
                int(visits[at]),
                int(successes[at]),
                int(rollouts[at]),
                float(first[at]),
                float(latest[at]),
                run.samples.get(groups.ids[at]),
            )
            for at in best
        ]

    never = np.flatnonzero(successes == 0)
    partly = np.flatnonzero(is_mixed(successes, rollouts))
    return Difficult(
        len(groups.ids),
        len(never),
        listed(never, -rollouts.astype(np.float64)),
        listed(partly, successes / rollouts),
        listed(np.flatnonzero(latest > first), first - latest),
    )
