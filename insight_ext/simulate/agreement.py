"""Does a simulated learner rank strategies as a real model does? Spearman, seed by seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from insight_ext.errors import ArgumentError
from insight_ext.plugins import named, whole
from insight_ext.report.curves import accuracy_curve
from insight_ext.report.experiment import read_experiment
from insight_ext.report.measures import Floats, final_value
from insight_ext.runs.reader import Run
from insight_ext.simulate.arms import selector_for
from insight_ext.simulate.learners import make_learner, usual_length
from insight_ext.simulate.recorded import recorded_settings
from insight_ext.simulate.trial import run_trial

FEWEST_ARMS = 4
ROLLOUTS = 8  # answers per prompt
DYNAMIC = "dynamic_sampling"  # the filter that a simulation has, too
# What is compared: the accuracy that a run ends with, and its mean over the run, which a
# strategy that gets there sooner has the higher.
MEASURES = ("final accuracy", "mean accuracy of the run")


@dataclass(frozen=True)
class Agreement:
    """Real and simulated results of the same strategies.

    Attributes:
        learner: its name.
        arms: the strategies, A of them.
        seeds: of the real runs, S of them.
        real: by measure, shape (S, A).
        simulated: by measure, shape (simulated seeds, A).
    """

    learner: str
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    real: dict[str, Floats]
    simulated: dict[str, Floats]

    def correlations(self, measure: str) -> tuple[Floats, float, Floats]:
        """Spearman of the simulated mean with each seed and with the mean of the seeds; and of
        each seed with the mean of the others, which says what could be reached."""
        real, simulated = self.real[measure], self.simulated[measure].mean(0)
        each = np.array([spearman(simulated, row) for row in real])
        others = [
            spearman(row, np.delete(real, at, axis=0).mean(0)) if len(real) > 1 else float("nan")
            for at, row in enumerate(real)
        ]
        return each, spearman(simulated, real.mean(0)), np.array(others)

    def columns(self) -> dict[str, list[Any]]:
        """A row for each measure and strategy: its means over the seeds, recorded and simulated."""
        rows = [(measure, at) for measure in self.real for at in range(len(self.arms))]
        return {
            "measure": [measure for measure, _ in rows],
            "strategy": [self.arms[at] for _, at in rows],
            "recorded": [float(self.real[measure][:, at].mean()) for measure, at in rows],
            "simulated": [float(self.simulated[measure][:, at].mean()) for measure, at in rows],
        }


def spearman(first: Floats, second: Floats) -> float:
    """The correlation of the ranks; equal values share their mean rank.

    Examples:
        >>> round(spearman(np.array([1.0, 2.0, 3.0]), np.array([10.0, 30.0, 20.0])), 3)
        0.5
    """
    return float(np.corrcoef(_ranks(first), _ranks(second))[0, 1])


def _ranks(values: Floats) -> Floats:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(count) - (count + 1) / 2)[place]
    return ranks


def agreement(
    folder: Path,
    learner: str,
    *,
    arms: Sequence[str] | None = None,
    simulations: int = 5,
    on_trial: Callable[[int, int], None] = lambda done, total: None,
) -> Agreement:
    """Simulate every strategy of a recorded experiment as long as it was trained.

    Args:
        folder: an experiment's, with experiment.json.
        learner: see `make_learner`.
        arms: the strategies to compare; None: all that experiment.json describes.
        simulations: seeds of the simulation, whose mean is compared.
        on_trial: called after each simulated run with the number done and their total.

    Raises:
        ArgumentError: fewer than 4 strategies, a run missing, or a strategy that experiment.json
            does not describe; a filter other than dynamic sampling.
    """
    whole("simulations", simulations, 1)
    length = usual_length(learner)
    experiment = read_experiment(folder)
    names = list(experiment.arms)
    for arm in arms or ():
        named(f"strategy of {folder}", dict.fromkeys(names), arm)
    described = recorded_settings(folder).get("arms", {})
    wanted = arms or described
    arms = tuple(arm for arm in names if arm in wanted)
    if len(arms) < FEWEST_ARMS:
        raise ArgumentError(
            f"{folder}: a ranking needs {FEWEST_ARMS} recorded strategies or more that "
            f"experiment.json describes, got {', '.join(arms) or 'none'}; record more of them"
        )
    settings = {arm: _settings(folder, arm, described) for arm in arms}
    seeds = sorted({run.seed for arm in arms for run in experiment.arms[arm]})
    finished = [s for s in seeds if all(s in {r.seed for r in experiment.arms[a]} for a in arms)]
    if not finished:
        raise ArgumentError(f"{folder}: expected a seed of which every strategy has a run")
    results = [
        [_measured(run) for arm in arms for run in experiment.arms[arm] if run.seed == seed]
        for seed in finished
    ]
    sizes = {"steps": length.steps, "prompts": length.prompts, "rollouts": ROLLOUTS}
    simulated: list[list[tuple[float, ...]]] = []
    for seed in range(simulations):
        simulated.append([])
        for place, arm in enumerate(arms):
            torch.manual_seed(seed)
            model = make_learner(learner, seed=seed)
            name, options, dynamic = settings[arm]
            selector = selector_for(model, name, options, seed, ROLLOUTS)
            trial = run_trial(model, selector, **sizes, dynamic=dynamic)
            simulated[-1].append(_two(trial.skill[1:], max(length.steps // 100, 1)))
            on_trial(seed * len(arms) + place + 1, simulations * len(arms))
    real, own = np.array(results), np.array(simulated)
    return Agreement(
        learner,
        arms,
        tuple(finished),
        {name: real[..., at] for at, name in enumerate(MEASURES)},
        {name: own[..., at] for at, name in enumerate(MEASURES)},
    )


def _settings(folder: Path, arm: str, arms: Any) -> tuple[str, dict[str, Any], bool]:
    """Selector and options of a strategy, and whether dynamic sampling is behind it."""
    described = arms.get(arm) if isinstance(arms, dict) else None
    if not isinstance(described, dict) or "selector" not in described:
        raise ArgumentError(
            f"{folder}/experiment.json: expected the selector of strategy {arm!r} "
            f"under 'arms', got {described!r:.80}"
        )
    behind = described.get("filter")
    if behind not in (None, DYNAMIC):
        raise ArgumentError(
            f"{folder}/experiment.json: strategy {arm!r}: of the filters {DYNAMIC} alone is "
            f"simulated, got {behind!r:.80}; leave the strategy out"
        )
    options = dict(described.get("selector_options") or {})
    return described["selector"], options, behind == DYNAMIC


def _measured(run: Run) -> tuple[float, ...]:
    curve = accuracy_curve(run)
    if curve is None:
        raise ArgumentError(
            f"{run.name}: expected held-out accuracy (val_accuracy) in metrics.csv, found none"
        )
    return final_value(curve.y), float(curve.y.mean())


def _two(levels: Floats, last: int) -> tuple[float, ...]:
    return float(levels[-last:].mean()), float(levels.mean())


def markdown(seen: Agreement) -> str:
    """For each measure: every strategy's result, real and simulated, and the correlations."""
    lines = []
    for measure in MEASURES:
        real, simulated = seen.real[measure], seen.simulated[measure]
        each, mean, others = seen.correlations(measure)
        heads = " | ".join(f"seed {seed}" for seed in seen.seeds)
        lines += [
            f"### {measure}: {seen.learner} beside {len(seen.seeds)} recorded seeds",
            "",
            f"| strategy | {heads} | mean | simulated |",
            "| --- " * (len(seen.seeds) + 3) + "|",
        ]
        for at in np.argsort(-real.mean(0)):
            cells = " | ".join(f"{value:.3f}" for value in real[:, at])
            lines.append(
                f"| {seen.arms[at]} | {cells} | {real[:, at].mean():.3f} | "
                f"{simulated[:, at].mean():.3f} |"
            )
        lines += [
            f"| Spearman with the simulation | {' | '.join(f'{v:.2f}' for v in each)} | "
            f"**{mean:.2f}** | |",
            f"| Spearman with the other seeds' mean | {' | '.join(f'{v:.2f}' for v in others)} | "
            "| |",
            "",
        ]
    return "\n".join(lines) + "\n"
