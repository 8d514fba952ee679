"""Every strategy on the same learners with the same seeds, against random sampling."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch

from insight_ext.child_process import end_with
from insight_ext.errors import ArgumentError
from insight_ext.offline.tables import write_columns
from insight_ext.plugins import whole
from insight_ext.simulate.arms import ORACLE, RANDOM, parse_arm, selector_of
from insight_ext.simulate.learner import Learner
from insight_ext.simulate.learners import learner_settings, make_learner
from insight_ext.simulate.skill_learner import SkillSettings
from insight_ext.simulate.statistics import Floats, Interval, interval, paired_p
from insight_ext.simulate.trial import Chooser, Trial, run_trial


@dataclass(frozen=True)
class Setting:
    """A learner and the length of its training.

    Raises:
        ArgumentError: an unknown learner (the known ones listed), or a number outside its domain.
    """

    learner: str
    pool: int
    correlation: float = 0.7
    steps: int = 100
    prompts: int = 256
    rollouts: int = 8

    def __post_init__(self) -> None:
        learner_settings(self.learner)
        for name in ("pool", "steps", "rollouts"):
            whole(name, getattr(self, name), 1)
        if not 1 <= self.prompts <= self.pool:
            raise ArgumentError(
                f"prompts: expected an integer in [1, {self.pool}] for a pool of {self.pool}, "
                f"got {self.prompts}"
            )

    def learner_of(self, seed: int) -> Learner:
        """The learner, as this seed draws it."""
        skilled = isinstance(learner_settings(self.learner), SkillSettings)
        changes = {"correlation": self.correlation} if skilled else {}
        return make_learner(self.learner, seed=seed, prompts=self.pool, **changes)

    def train(self, learner: Learner, selector: Chooser) -> Trial:
        """Train one of these learners for as long as the setting says; see `run_trial`."""
        return run_trial(
            learner, selector, steps=self.steps, prompts=self.prompts, rollouts=self.rollouts
        )


@dataclass(frozen=True)
class Row:
    """One arm on one learner, over all seeds.

    Attributes:
        fraction: of random's steps, to reach random's final skill; mean and 95 % interval. An arm
            that does not get there within its steps counts as `1 + what is missing`, relative to
            random's whole gain.
        share: of the oracle's saving.
        gain: final skill above random's, same seed; p: of its paired sign-flip test.
        rollouts: to random's final skill.
    """

    learner: str
    pool: int
    arm: str
    seeds: int
    fraction: float
    fraction_low: float
    fraction_high: float
    share: float
    rollouts: float
    skill: float
    gain: float
    gain_low: float
    gain_high: float
    p: float
    mixed: float
    distinct: float
    milliseconds: float
    calibration: float


def compare(
    settings: Sequence[Setting],
    arms: Sequence[str],
    seeds: int,
    *,
    workers: int = 1,
    on_trial: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[Row], dict[tuple[Setting, str], list[Trial]]]:
    """Run every arm on every learner with every seed.

    Args:
        settings: the learners.
        arms: names in `ARMS`, or names of selectors with options: `mopps:decay=1,rule=threshold`.
            Random and the oracle are always among them.
        seeds: how many; seed i draws the same learner for every arm.
        workers: processes.
        on_trial: called after each trial with the number done and their total.

    Returns:
        The table, and the trials by learner and arm, in the order of the seeds.

    Raises:
        ArgumentError: unknown arm, fewer than 2 seeds, no worker.
    """
    arms = list(dict.fromkeys((RANDOM, ORACLE, *arms)))
    for arm in arms:
        parse_arm(arm)
    if seeds < 2:
        raise ArgumentError(f"seeds: expected at least 2 to say how far they differ, got {seeds}")
    whole("workers", workers, 1)
    jobs = [(s, arm, seed) for s in settings for arm in arms for seed in range(seeds)]
    trials: dict[tuple[Setting, str], list[Trial]] = {}
    finished = zip(jobs, _run(jobs, workers), strict=True)
    for done, ((setting, arm, _), trial) in enumerate(finished, start=1):
        trials.setdefault((setting, arm), []).append(trial)
        on_trial(done, len(jobs))
    rows = [
        _row(s, arm, trials[s, arm], trials[s, RANDOM], trials[s, ORACLE])
        for s in settings
        for arm in arms
    ]
    return rows, trials


def _run(jobs: Sequence[tuple[Setting, str, int]], workers: int) -> Iterator[Trial]:
    if workers == 1:
        yield from map(_trial, jobs)
        return
    with ProcessPoolExecutor(workers, initializer=_begin_worker) as pool:
        yield from pool.map(_trial, jobs)


def _begin_worker() -> None:
    end_with(os.getppid())
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the process that deals the trials


def _trial(job: tuple[Setting, str, int]) -> Trial:
    setting, arm, seed = job
    learner = setting.learner_of(seed)
    return setting.train(learner, selector_of(arm, learner, seed, setting.rollouts))


def fraction_of_steps(skill: Floats, target: float) -> float:
    """Steps to the target, as a share of all; beyond 1 by what is missing of the whole climb.

    Examples:
        >>> fraction_of_steps(np.array([0.0, 1.0, 2.0]), 1.5), fraction_of_steps(np.zeros(3), 2.0)
        (0.75, 2.0)
    """
    steps = len(skill) - 1
    reached = np.flatnonzero(skill >= target)
    if len(reached) == 0:
        return float(1.0 + (target - skill[-1]) / (target - skill[0]))
    at = int(reached[0])
    if at == 0:
        return 0.0
    return float((at - 1 + (target - skill[at - 1]) / (skill[at] - skill[at - 1])) / steps)


def _row(
    setting: Setting, arm: str, own: list[Trial], random: list[Trial], oracle: list[Trial]
) -> Row:
    def fractions(trials: list[Trial]) -> Floats:
        pairs = zip(trials, random, strict=True)
        return np.array([fraction_of_steps(t.skill, r.skill[-1]) for t, r in pairs])

    fraction: Interval = interval(fractions(own))
    gains = np.array([t.skill[-1] - r.skill[-1] for t, r in zip(own, random, strict=True)])
    gain = interval(gains)
    possible = 1.0 - float(fractions(oracle).mean())
    per_step = setting.prompts * setting.rollouts
    return Row(
        learner=setting.learner,
        pool=setting.pool,
        arm=arm,
        seeds=len(own),
        fraction=fraction.mean,
        fraction_low=fraction.low,
        fraction_high=fraction.high,
        # Where the oracle's own rule is no better than random there is no saving to share.
        share=(1.0 - fraction.mean) / possible if possible > 0.0 else float("nan"),
        rollouts=fraction.mean * setting.steps * per_step,
        skill=float(np.mean([t.skill[-1] for t in own])),
        gain=gain.mean,
        gain_low=gain.low,
        gain_high=gain.high,
        p=paired_p(gains),
        mixed=float(np.mean([t.mixed.mean() for t in own])),
        distinct=float(np.mean([t.distinct for t in own])),
        milliseconds=float(np.median(np.concatenate([t.milliseconds for t in own]))),
        calibration=float(np.mean([t.calibration for t in own])),
    )


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """The table as CSV, every number in full."""
    write_columns(path, {one.name: [getattr(row, one.name) for row in rows] for one in fields(Row)})


def overview(rows: Sequence[Row]) -> str:
    """One table: steps / random's by strategy and learner, the best on average first.

    `!` marks where the final skill is below random's beyond chance: the paired sign-flip test of
    that side alone, p < 0.05, which five seeds reach if all of them are below.
    """
    columns = list(dict.fromkeys((row.learner, row.pool) for row in rows))
    cells: dict[str, dict[tuple[str, int], Row]] = {}
    for row in rows:
        cells.setdefault(row.arm, {})[row.learner, row.pool] = row
    heads = "".join(f" {learner} {pool:,} |" for learner, pool in columns)
    lines = [f"| strategy |{heads} worse than random on |", "| --- " * (len(columns) + 2) + "|"]

    def worse(row: Row) -> bool:
        return row.gain < 0 and row.p / 2 < 0.05

    def mean_fraction(arm: str) -> float:
        return float(np.mean([row.fraction for row in cells[arm].values()]))

    for arm in sorted(cells, key=mean_fraction):
        own = [cells[arm][at] for at in columns]
        values = "".join(f" {row.fraction:.2f}{'!' if worse(row) else ''} |" for row in own)
        lines.append(f"| {arm} |{values} {sum(map(worse, own))} |")
    return "\n".join(lines) + "\n"


def markdown(rows: Sequence[Row]) -> str:
    """An overview for each pool size, and one table per learner, the fastest first."""
    parts = ["### Steps to random's final skill, relative to random's\n"]
    for pool in dict.fromkeys(row.pool for row in rows):
        parts.append(overview([row for row in rows if row.pool == pool]))
    groups: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.learner, row.pool), []).append(row)
    for (learner, pool), group in groups.items():
        parts.append(
            f"### {learner}, {pool:,} prompts, {group[0].seeds} seeds\n\n"
            "| strategy | steps / random's | share of oracle's saving | final skill - random's "
            "(95 %) | p | mixed groups | distinct prompts | ms a step | calibration error |\n"
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
        )
        for row in sorted(group, key=lambda row: row.fraction):
            error = _known("{:.3f}", row.calibration)
            parts.append(
                f"| {row.arm} | {row.fraction:.3f} ({row.fraction_low:.3f} to "
                f"{row.fraction_high:.3f}) | {_known('{:.1%}', row.share)} | {row.gain:+.2f} "
                f"({row.gain_low:+.2f} to {row.gain_high:+.2f}) | {row.p:.3f} | {row.mixed:.3f} | "
                f"{row.distinct:,.0f} | {row.milliseconds:.1f} | {error} |"
            )
        parts.append("")
    return "\n".join(parts)


def _known(form: str, value: float) -> str:
    return "-" if np.isnan(value) else form.format(value)
