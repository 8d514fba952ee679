"""The rows that compare: InSight's arms against the baseline and the project's targets."""

from __future__ import annotations

from insight_ext.report.curves import Effort, accuracy_curve
from insight_ext.report.measures import (
    Reach,
    final_value,
    fraction_to_reach,
    is_mixed,
    overhead_share,
)
from insight_ext.report.tables import Groups
from insight_ext.runs.reader import Experiment
from insight_ext.runs.rows import SummaryRow, deviation, each, mean

MIXED_TARGET = 1.8
STEPS_TARGET = 0.6
OVERHEAD_TARGET = 0.005


def mixed_ratio(experiment: Experiment, arm: str) -> SummaryRow:
    """Share of mixed groups over the baseline's, per seed over the steps that both have."""
    name = experiment.baseline or "a baseline"
    question = f"Share of mixed groups, in multiples of {name}'s"
    target = f"at least {MIXED_TARGET:g} in every seed"
    ratios, none_mixed = {}, False
    for run, other in experiment.pairs(arm):
        if run.groups is None or other.groups is None:
            continue
        until = int(min(run.groups.step[-1], other.groups.step[-1]))
        own, base = (r.until(until) for r in (run.groups, other.groups))
        share = _mixed_share(base)
        none_mixed |= share == 0
        if share > 0:
            ratios[run.seed] = _mixed_share(own) / share
    if not ratios:
        unpaired = _unpaired(experiment, "groups")
        reason = f"{name} had no mixed group" if none_mixed else unpaired
        return SummaryRow(question, arm, reason, target, "not measured")
    worst = min(ratios.values())
    result = f"{mean(ratios):.2f}{each(ratios, '{:.2f}')}"
    verdict = "met" if worst >= MIXED_TARGET else "missed"
    return SummaryRow(question, arm, result, target, verdict, worst, ratios)


def reach_row(experiment: Experiment, arm: str, effort: Effort) -> SummaryRow:
    """Effort to the baseline's final accuracy over the baseline's own; judged for steps alone."""
    name = experiment.baseline or "a baseline"
    question = f"{effort.capitalize()} needed to reach {name}'s final accuracy ({name} needs 1)"
    judged = effort == "steps"
    target = f"at most {STEPS_TARGET:g}, mean of seeds" if judged else ""
    reaches: dict[int, Reach] = {}
    flat = []
    for run, other in experiment.pairs(arm):
        curve, base = accuracy_curve(run, effort), accuracy_curve(other, effort)
        if curve is None or base is None:
            continue
        reach = fraction_to_reach(curve.x, curve.y, base.x, base.y)
        if reach is None:
            flat.append(run.seed)
        else:
            reaches[run.seed] = reach
    if not reaches:
        reason = (
            f"{name} did not improve" if flat else _unpaired(experiment, f"accuracy and {effort}")
        )
        return SummaryRow(question, arm, reason, target, "not measured" if judged else "")
    missed = [seed for seed, reach in reaches.items() if not reach.reached]
    values = {seed: reach.fraction for seed, reach in reaches.items()}
    average = mean(values)
    bounds = ", ".join(f"{'' if r.reached else '> '}{r.fraction:.2f}" for r in reaches.values())
    seeds = f" (seeds: {bounds})" if len(values) > 1 else " (one seed)"
    spread = f" ± {deviation(values):.2f}" if len(values) > 1 and not missed else ""
    result = f"{'> ' if missed else ''}{average:.2f}{spread}{seeds}"
    if missed:
        result += f"; not reached in {len(missed)} of {len(values)}"
    if flat:
        result += f"; {name} did not improve in {len(flat)} more, not judged"
    verdict = ("met" if average <= STEPS_TARGET and not missed else "missed") * judged
    return SummaryRow(question, arm, result, target, verdict, average, values)


def overhead(experiment: Experiment, arm: str) -> SummaryRow:
    """Time of selection and observation over the time of all steps."""
    question = "Selection and observation, share of a step's time"
    target = f"under {OVERHEAD_TARGET:.1%}"
    names = ("selection_ms", "observation_ms", "step_ms")
    shares = {
        run.seed: overhead_share(*(run.metrics[name].values for name in names))
        for run in experiment.arms[arm]
        if all(name in run.metrics for name in names)
    }
    if not shares:
        reason = f"{', '.join(names)} were not logged"
        return SummaryRow(question, arm, reason, target, "not measured")
    average = mean(shares)
    result = f"{average:.2%}{each(shares, '{:.2%}')}"
    verdict = "met" if average < OVERHEAD_TARGET else "missed"
    return SummaryRow(question, arm, result, target, verdict, average, shares)


def accuracy_gain(experiment: Experiment, arm: str) -> SummaryRow:
    """Final held-out accuracy above the baseline's of the same seed."""
    question = f"Final accuracy above {experiment.baseline or 'a baseline'}'s, in points"
    gains = {}
    for run, other in experiment.pairs(arm):
        curve, base = accuracy_curve(run), accuracy_curve(other)
        if curve is not None and base is not None:
            gains[run.seed] = 100.0 * (final_value(curve.y) - final_value(base.y))
    if not gains:
        return SummaryRow(question, arm, _unpaired(experiment, "accuracy"))
    spread = f" ± {deviation(gains):.1f}" if len(gains) > 1 else ""
    result = f"{mean(gains):+.1f}{spread}{each(gains, '{:+.1f}')}"
    return SummaryRow(question, arm, result, value=mean(gains), per_seed=gains)


def _unpaired(experiment: Experiment, what: str) -> str:
    if experiment.baseline is None:
        return "no baseline arm (random or uniform) to compare with"
    return f"no seed with {what} in both arms"


def _mixed_share(groups: Groups) -> float:
    return float(is_mixed(groups.successes, groups.rollouts).mean())
