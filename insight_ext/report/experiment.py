"""The runs of a folder by arm: what the charts and tables are about."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from insight_ext.errors import ArgumentError
from insight_ext.report.curves import Curve
from insight_ext.runs.layout import Metric
from insight_ext.runs.reader import VERSION, Run, read_runs

BASELINES = ("random", "uniform")
OF_ONE_RUN = ("trainer.default_root_dir", "ckpt_path")  # settings that set no arm apart


@dataclass(frozen=True)
class Experiment:
    """The runs by arm, the baseline first; notes say in words what is left out or unfinished."""

    arms: dict[str, tuple[Run, ...]]
    notes: tuple[str, ...] = ()

    @property
    def runs(self) -> tuple[Run, ...]:
        return tuple(run for runs in self.arms.values() for run in runs)

    @property
    def baseline(self) -> str | None:
        """The arm that the others are compared with, if there is one beside others."""
        return next((arm for arm in self.arms if arm in BASELINES and len(self.arms) > 1), None)

    @property
    def others(self) -> list[str]:
        """The arms that are compared with the baseline; none without one."""
        return [arm for arm in self.arms if self.baseline and arm != self.baseline]

    def pairs(self, arm: str) -> list[tuple[Run, Run]]:
        """The arm's runs beside the baseline's of the same seed."""
        baseline = {run.seed: run for run in self.arms.get(self.baseline or "", ())}
        return [(run, baseline[run.seed]) for run in self.arms[arm] if run.seed in baseline]

    def curves(self, curve_of: Callable[[Run], Curve | None]) -> dict[str, list[Curve]]:
        """A curve of every run that has it, by arm."""
        arms = {arm: [curve_of(run) for run in runs] for arm, runs in self.arms.items()}
        found = {arm: [c for c in curves if c is not None] for arm, curves in arms.items()}
        return {arm: curves for arm, curves in found.items() if curves}

    @property
    def pool_size(self) -> int | None:
        """Prompts in the pool; None if no run wrote its beliefs, or the runs' pools differ."""
        sizes = {run.beliefs.pool_size for run in self.runs if run.beliefs is not None}
        return sizes.pop() if len(sizes) == 1 else None

    def settings(self) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """By dotted names: the settings of all runs, and of each arm those that set it apart."""
        flat = {
            run.name: {n: v for n, v in _leaves(run.settings) if n not in OF_ONE_RUN}
            for run in self.runs
        }
        shared = common(list(flat.values()))
        own = {
            arm: {
                name: value
                for name, value in common([flat[run.name] for run in runs]).items()
                if name not in shared
            }
            for arm, runs in self.arms.items()
        }
        return shared, own


def read_experiment(folder: Path) -> Experiment:
    """Read the folder of one run or of several; those named `ARM-seedS` are seeds of an arm.

    `notes` names runs without a single logged value, which are left out, runs that ended before
    the others, runs whose seed the baseline lacks, and what was not logged.

    Raises:
        ArgumentError: no such folder, no run in it, or a file that is not what its name says.
    """
    runs, empty = read_runs(folder)
    if not runs:
        raise ArgumentError(f"nothing was logged yet in {folder}; train for a few steps")
    runs.sort(key=lambda run: (run.arm not in BASELINES, run.arm, run.seed))
    arms = {arm: tuple(r for r in runs if r.arm == arm) for arm in {run.arm: 0 for run in runs}}
    experiment = Experiment(arms)
    left_out = [f"{name} is left out: nothing was logged yet." for name in empty]
    return Experiment(arms, (*left_out, *_notes(experiment)))


def _notes(experiment: Experiment) -> Iterator[str]:
    longest = max(run.steps for run in experiment.runs)
    baseline = experiment.baseline
    seeds = {run.seed for run in experiment.arms.get(baseline or "", ())}
    for run in experiment.runs:
        if run.steps < longest:
            yield f"{run.name} has {run.steps:,} of {longest:,} steps."
        if baseline and run.seed not in seeds:
            yield f"{run.name} is compared with nothing: {baseline} has no run of seed {run.seed}."
        if run.groups and run.groups.step[0] and VERSION.fullmatch(run.name):
            yield (
                f"{run.name} begins at step {run.groups.step[0]:,}, so it was resumed: give the "
                "folder above it for the whole run."
            )
    untimed = [run for run in experiment.runs if run.metrics and Metric.STEP_MS not in run.metrics]
    if untimed:
        others = f" and {len(untimed) - 1} others" if len(untimed) > 1 else ""
        yield (
            f"{untimed[0].name}{others} logged no times ({Metric.STEP_MS}), so nothing is shown "
            "against seconds: they are logged at every log_every_n_steps-th step (10 unless set "
            "otherwise, 50 with Lightning's own Trainer), and the run has "
            f"{untimed[0].steps:,} steps. Set trainer.log_every_n_steps lower, or train longer."
        )


def _leaves(settings: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value


def common(settings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The entries that all of them share."""
    first, *others = settings
    return {
        name: value
        for name, value in first.items()
        if all(name in other and other[name] == value for other in others)
    }
