"""Fits the kinds learner to recorded runs.

The skills' course follows from the recorded groups and the parameters alone. Two fits, one after
the other:

1. How skills grow (`_fit`): penalised maximum likelihood of the held-out answers of all runs, and
   of the groups of the runs that choose at random, which alone show how far the prompts of a kind
   lie apart. Weak normal penalties hold what the runs say nothing about.
2. What happens to a prompt by itself (`_own_course`): how fast its difficulty wanders, and what it
   gains by its own groups. The likelihood of all groups, each prompt's difficulty filtered through
   its visits; choosing by past results, however sharp, is no bias then.

The intervals come from leaving out a tenth of the runs at a time: successive evaluations ask the
same held-out prompts, so the curvature of the likelihood would claim far too much.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from insight_ext.report.experiment import BASELINES
from insight_ext.simulate.kinds_learner import FEWEST, KindsSettings, RunningShare, group_signal
from insight_ext.simulate.recorded import RecordedRun, Recording
from insight_ext.simulate.statistics import student_t

Parameters = dict[str, Tensor]
Floats = NDArray[np.float64]

# Difficulties are integrated on a grid, in standard deviations.
GRID = torch.linspace(-4.0, 4.0, 33, dtype=torch.float64)
LOG_WEIGHTS = (-0.5 * GRID**2).log_softmax(0)
# Standard deviations of the penalties, of each parameter around its first guess.
DEVIATIONS = {
    "start": 5.0,
    "log_spread": 0.5,
    "log_rate": 1.0,
    "shared": 1.5,
    "log_learns": 0.5,
    "log_teaches": 0.7,
    "log_fading": 1.5,
    "log_wear": 1.0,
    "power": 0.25,
}
USUAL_SPREAD, USUAL_RATE, USUAL_WEAR, LITTLE_FADING, POWER = 1.5, 0.03, 10.0, 1e-3, 0.5
ITERATIONS = 250
# Tried for a prompt's own course, in logits and per step.
OWN = np.geomspace(0.05, 1.6, 6)
WANDER = np.geomspace(1 / 2048, 1 / 64, 6)
# Most fits for the intervals: beyond, several runs are left out at a time.
PARTS = 10
NODES = 32


def _hermite() -> tuple[Floats, Floats, Floats]:
    """Gauss-Hermite nodes and weights of the standard normal, and the orthonormal polynomials."""
    points, weights = np.polynomial.hermite_e.hermegauss(NODES)
    rows = [np.ones(NODES), points]
    for n in range(1, NODES - 1):
        rows.append((points * rows[n] - np.sqrt(n) * rows[n - 1]) / np.sqrt(n + 1))
    return points, weights / weights.sum(), np.array(rows).T


POINTS, WEIGHTS, POLYNOMIALS = _hermite()


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3g} ({self.low:.3g} to {self.high:.3g})"


@dataclass(frozen=True)
class Calibration:
    """What a fit found.

    Attributes:
        settings: for `KindsLearner`.
        estimates: by name, every estimated number of them with its interval.
        log_likelihood: of the held-out answers and the rollouts, without their constants.
        runs, groups, evaluations: what it rests on.
    """

    settings: KindsSettings
    estimates: dict[str, Estimate]
    log_likelihood: float
    runs: int
    groups: int
    evaluations: int


class _Data:
    """The recorded runs as tensors; steps of all runs in one row, `steps` for each run."""

    def __init__(self, recording: Recording, runs: tuple[RecordedRun, ...]) -> None:
        self.kinds = len(recording.kinds)
        self.steps = max(run.steps for run in runs)
        # All seeds, though a run is left out: a seed without data keeps its first guess.
        self.seeds = sorted({run.seed for run in recording.runs})
        self.seed_of_run = torch.tensor([self.seeds.index(run.seed) for run in runs])
        columns: dict[str, list[Floats]] = {}

        def add(**values: NDArray[np.generic]) -> None:
            for name, value in values.items():
                columns.setdefault(name, []).append(np.asarray(value, dtype=np.float64))

        for place, run in enumerate(runs):
            signal = group_signal(run.successes, run.rollouts)
            mixed, shares = RunningShare(), np.ones(self.steps)
            by_step = np.bincount(run.step, signal > 0.0, run.steps) / run.prompts_per_step
            for step, share in enumerate(by_step):
                shares[step] = mixed.after(float(share), FEWEST / run.prompts_per_step)
            flat = place * self.steps + run.step
            add(
                flat=flat,
                kind=run.kind,
                signal=signal / run.prompts_per_step,
                lessons=_earlier(run.prompt, signal > 0.0),
                shares=shares,
                # After n updates: the skills that the next batch meets, or those at the end.
                eval_flat=place * (self.steps + 1) + run.eval_step,
                eval_kind=run.eval_kind,
                eval_right=run.eval_right,
                eval_count=run.eval_count,
            )
            if run.arm in BASELINES:
                add(
                    at_random=place * (self.steps + 1) + run.step,
                    at_random_kind=run.kind,
                    successes=run.successes,
                    rollouts=run.rollouts,
                )
        self.columns = {name: torch.from_numpy(np.concatenate(v)) for name, v in columns.items()}
        for name in ("flat", "kind", "eval_flat", "eval_kind", "at_random", "at_random_kind"):
            self.columns[name] = self.columns[name].long()
        self.runs = len(runs)

    def __getattr__(self, name: str) -> Tensor:
        return self.columns[name]


def _earlier(prompt: NDArray[np.int64], values: NDArray[Any]) -> Floats:
    """The sum of the values of each group's prompt before it.

    Examples:
        >>> _earlier(np.array([4, 7, 4, 4]), np.array([1.0, 5.0, 2.0, 3.0])).tolist()
        [0.0, 0.0, 1.0, 3.0]
    """
    order = np.argsort(prompt, kind="stable")
    before = np.concatenate(([0.0], np.cumsum(values[order], dtype=np.float64)))[:-1]
    first = np.concatenate(([True], prompt[order][1:] != prompt[order][:-1]))
    start = before[np.flatnonzero(first)[np.cumsum(first) - 1]]
    result = np.empty(len(prompt))
    result[order] = before - start
    return result


def _first_guess(data: _Data) -> Parameters:
    """Starts from the random runs' first tenth of the steps; the rest is what is usual."""
    early = data.at_random % (data.steps + 1) < max(data.steps // 10, 1)
    right, tried = (
        torch.zeros(data.kinds, dtype=torch.float64).index_add_(
            0, data.at_random_kind[early], values[early]
        )
        for values in (data.successes, data.rollouts)
    )
    rate = (right + 0.5) / (tried + 1.0)
    # A spread of 1.5 flattens the logistic by sqrt(1 + pi 1.5^2 / 8).
    start = (rate.logit() * 1.37).expand(len(data.seeds), -1)
    zeros = torch.zeros(data.kinds, dtype=torch.float64)
    return {
        "start": start.clone(),
        "log_spread": zeros + np.log(USUAL_SPREAD),
        "log_rate": torch.tensor(np.log(USUAL_RATE), dtype=torch.float64),
        "shared": torch.tensor(0.0, dtype=torch.float64),
        "log_learns": zeros.clone(),
        "log_teaches": zeros.clone(),
        "log_fading": zeros + np.log(LITTLE_FADING),
        "log_wear": torch.tensor(np.log(USUAL_WEAR), dtype=torch.float64),
        "power": torch.tensor(POWER, dtype=torch.float64),
    }


def _transfer(p: Parameters) -> Tensor:
    """rate learns_j (share teaches_k + (1 - share) [j = k]), shape (kinds, kinds)."""
    share = p["shared"].sigmoid()
    teaches = share * p["log_teaches"].exp() + (1.0 - share) * torch.eye(len(p["log_learns"]))
    return (p["log_rate"] + p["log_learns"]).exp()[:, None] * teaches


def _skills(data: _Data, p: Parameters) -> Tensor:
    """The skills before each step and after the last, shape (runs (steps + 1), kinds)."""
    worth = 1.0 / (1.0 + data.lessons * (-p["log_wear"]).exp())
    taught = torch.zeros(data.runs * data.steps, data.kinds, dtype=torch.float64)
    taught = taught.index_put((data.flat, data.kind), data.signal * worth, accumulate=True)
    taught = taught * data.shares[:, None] ** -p["power"]
    gains = taught @ _transfer(p).T - p["log_fading"].exp()
    total = gains.view(data.runs, data.steps, data.kinds).cumsum(1)
    total = torch.cat((torch.zeros_like(total[:, :1]), total), 1)
    return (p["start"][data.seed_of_run][:, None] + total).flatten(0, 1)


def _log_likelihood(data: _Data, p: Parameters) -> Tensor:
    skills, spread = _skills(data, p), p["log_spread"].exp()
    at = skills[data.eval_flat, data.eval_kind]
    logits = at[:, None] + spread[data.eval_kind][:, None] * GRID
    rate = (logits.sigmoid() @ LOG_WEIGHTS.exp()).clamp(1e-9, 1.0 - 1e-9)
    held = data.eval_right * rate.log() + (data.eval_count - data.eval_right) * (-rate).log1p()
    at, kind = skills[data.at_random, data.at_random_kind], data.at_random_kind
    logits = at[:, None] + spread[kind][:, None] * GRID
    each = data.successes[:, None] * logits - data.rollouts[:, None] * F.softplus(logits)
    return held.sum() + (each + LOG_WEIGHTS).logsumexp(1).sum()


def _penalty(p: Parameters, first: Parameters) -> Tensor:
    squares = [
        0.5 * (((p[name] - first[name]) / deviation) ** 2).sum()
        for name, deviation in DEVIATIONS.items()
    ]
    return sum(squares, torch.zeros((), dtype=torch.float64))


def _fit(data: _Data, begin: Parameters, first: Parameters) -> tuple[Parameters, float]:
    p = {name: value.clone().requires_grad_() for name, value in begin.items()}
    search = torch.optim.LBFGS(
        list(p.values()), max_iter=ITERATIONS, history_size=20, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        search.zero_grad()
        value = _penalty(p, first) - _log_likelihood(data, p)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    search.step(loss)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        return {name: v.detach() for name, v in p.items()}, float(_log_likelihood(data, p))


def _filtered(
    run: RecordedRun, skills: Floats, spread: Floats, gains: Floats, wander: float
) -> float:
    """The log-likelihood of a run's groups, each prompt's difficulty filtered through its visits.

    The density of a difficulty, relative to the normal one, is held at Gauss-Hermite nodes; as a
    sum of Hermite polynomials it forgets by itself, the n-th as exp(-n wander) a step.

    Args:
        skills: of each group's kind at its step. spread: of its kind. gains: see `_gains`.
    """
    count = int(run.prompt.max()) + 1
    density, last = np.ones((count, NODES)), np.zeros(count)
    orders = np.arange(NODES)
    total = 0.0
    for visits in _by_visit(run.prompt):
        prompt = run.prompt[visits]
        passed = (run.step[visits] - last[prompt])[:, None]
        coefficients = (density[prompt] * WEIGHTS) @ POLYNOMIALS
        coefficients *= np.exp(-wander * passed * orders)
        before = np.maximum(coefficients @ POLYNOMIALS.T, 1e-9)
        logits = (skills + gains)[visits][:, None] - spread[visits][:, None] * POINTS
        right, tried = run.successes[visits][:, None], run.rollouts[visits][:, None]
        after = before * np.exp(right * logits - tried * np.logaddexp(0.0, logits))
        chance = after @ WEIGHTS
        total += float(np.log(chance).sum())
        density[prompt], last[prompt] = after / chance[:, None], run.step[visits]
    return total


def _by_visit(prompt: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The groups that are their prompt's first visit, its second, and so on."""
    before = _earlier(prompt, np.ones(len(prompt), dtype=np.bool_)).astype(np.int64)
    order = np.argsort(before, kind="stable")
    return np.split(order, np.cumsum(np.bincount(before))[:-1])


def _own_course(recording: Recording, data: _Data, p: Parameters) -> NDArray[np.float64]:
    """The log-likelihood of each run's groups over the grid OWN x WANDER, other parameters fixed.

    Returns:
        Shape (runs, len(OWN), len(WANDER)).
    """
    skills = _skills(data, p).numpy().reshape(data.runs, data.steps + 1, data.kinds)
    spread, power = p["log_spread"].exp().numpy(), float(p["power"])
    shares = data.shares.numpy().reshape(data.runs, data.steps)
    result = np.empty((data.runs, len(OWN), len(WANDER)))
    for at, run in enumerate(recording.runs):
        signal = group_signal(run.successes, run.rollouts) / run.prompts_per_step
        gains = _earlier(run.prompt, signal * shares[at, run.step] ** -power)
        own_skills = skills[at, run.step, run.kind]
        for i, own in enumerate(OWN):
            for j, wander in enumerate(WANDER):
                result[at, i, j] = _filtered(run, own_skills, spread[run.kind], own * gains, wander)
    return result


def _summit(values: Floats, grid: Floats) -> float:
    """Where a curve over a grid of logs is highest, by the parabola through its three best."""
    at = int(np.clip(values.argmax(), 1, len(values) - 2))
    left, top, right = values[at - 1 : at + 2]
    bend = left - 2.0 * top + right
    shift = 0.5 * (left - right) / bend if bend < 0.0 else float(np.sign(right - left))
    step = np.log(grid[at + 1] / grid[at])
    return float(np.log(grid[at]) + np.clip(shift, -1.0, 1.0) * step)


def calibrate(
    recording: Recording, on_fit: Callable[[int, int], None] = lambda done, total: None
) -> Calibration:
    """Fit the kinds learner to recorded runs.

    Args:
        recording: see `read_recording`.
        on_fit: called after each fit with the number done and their total, at most 11.

    Determinism: equal recordings give equal numbers on one machine.

    Cost: about ten seconds for each run of 300 steps, most of it for the difficulties' course.
    """
    everything = _Data(recording, recording.runs)
    first = _first_guess(everything)
    parts = min(len(recording.runs), PARTS)
    fit, log_likelihood = _fit(everything, first, first)
    course = _own_course(recording, everything, fit)
    on_fit(1, parts + 1)
    whole = _named(recording, fit, course.sum(0))
    without = []
    for part in range(parts):
        stay = [at for at in range(len(recording.runs)) if at % parts != part]
        kept = tuple(recording.runs[at] for at in stay)
        p = fit
        if any(run.arm in BASELINES for run in kept):
            p, _ = _fit(_Data(recording, kept), fit, first)
        without.append(_named(recording, p, course[stay].sum(0)))
        on_fit(part + 2, parts + 1)
    errors = {name: _jackknife(np.array([other[name] for other in without])) for name in whole}
    estimates = dict(_estimate(name, value, errors[name], parts) for name, value in whole.items())
    return Calibration(
        _settings(recording, fit, estimates),
        estimates,
        log_likelihood,
        len(recording.runs),
        sum(len(run.step) for run in recording.runs),
        sum(len(run.eval_step) for run in recording.runs),
    )


def _named(recording: Recording, p: Parameters, course: Floats) -> dict[str, float]:
    """The parameters by the names of the report; what is positive as its log, until the end."""
    values = {f"log {name}": float(p[f"log_{name}"]) for name in ("rate", "wear")}
    best_own, best_wander = np.unravel_index(course.argmax(), course.shape)
    values["log own"] = _summit(course[:, best_wander], OWN)
    values["log wander"] = _summit(course[best_own], WANDER)
    values |= {
        "power": float(p["power"]),
        "share taught to all kinds": float(p["shared"].sigmoid()),
    }
    for place, kind in enumerate(recording.kinds):
        values[f"start {kind}"] = float(p["start"][:, place].mean())
        for what in ("spread", "learns", "teaches", "fading"):
            values[f"log {what} {kind}"] = float(p[f"log_{what}"][place])
    return values


def _jackknife(without: Floats) -> float:
    """The standard error of a value, from the values without each part of the runs."""
    count = len(without)
    return float(np.sqrt((count - 1) / count * np.sum((without - without.mean()) ** 2)))


def _estimate(name: str, value: float, error: float, parts: int) -> tuple[str, Estimate]:
    ends = [value, *(value + sign * student_t(parts - 1) * error for sign in (-1.0, 1.0))]
    if name.startswith("log "):
        name, ends = name.removeprefix("log "), np.exp(ends).tolist()
    return name, Estimate(*ends)


def _settings(
    recording: Recording, p: Parameters, estimates: Mapping[str, Estimate]
) -> KindsSettings:
    start = p["start"]
    deviation = start.std(0).median() if len(start) > 1 else torch.tensor(0.0)

    def rounded(values: Tensor) -> list[float]:
        return [float(f"{value:.4g}") for value in values.tolist()]

    return KindsSettings(
        kinds=recording.kinds,
        counts=recording.counts,
        held_out=recording.held_out,
        start=rounded(start.mean(0)),
        start_deviation=float(f"{float(deviation):.3g}"),
        spread=rounded(p["log_spread"].exp()),
        transfer=[rounded(row) for row in _transfer(p)],
        fading=rounded(p["log_fading"].exp()),
        own=float(f"{estimates['own'].value:.4g}"),
        wander=float(f"{estimates['wander'].value:.4g}"),
        wear=float(f"{float(p['log_wear'].exp()):.4g}"),
        power=float(f"{float(p['power']):.4g}"),
        prompts_per_step=recording.runs[0].prompts_per_step,
        steps=max(run.steps for run in recording.runs),
    )


def markdown(fit: Calibration) -> str:
    """What the fit rests on, and every estimate with its interval; kinds in rows."""
    settings = fit.settings
    lines = [
        f"{fit.runs} runs, {fit.groups:,} groups, {fit.evaluations:,} held-out counts; "
        f"log-likelihood {fit.log_likelihood:,.1f}. 95 % intervals: jackknife.",
        "",
        "| | all kinds |",
        "| --- | --- |",
    ]
    shared = [name for name in fit.estimates if not name.endswith(tuple(settings.kinds))]
    lines += [f"| {name} | {fit.estimates[name]} |" for name in shared]
    columns = ("start", "spread", "learns", "teaches", "fading")
    lines += ["", f"| kind | {' | '.join(columns)} |", "| --- " * (len(columns) + 1) + "|"]
    for kind in settings.kinds:
        cells = " | ".join(str(fit.estimates[f"{column} {kind}"]) for column in columns)
        lines.append(f"| {kind} | {cells} |")
    lines += ["", f"| learns from | {' | '.join(settings.kinds)} |"]
    lines.append("| --- " * (len(settings.kinds) + 1) + "|")
    for kind, row in zip(settings.kinds, settings.transfer, strict=True):
        lines.append(f"| {kind} | {' | '.join(f'{value:.4f}' for value in row)} |")
    return "\n".join(lines) + "\n"
