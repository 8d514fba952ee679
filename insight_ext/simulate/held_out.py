"""What predictions save at test time: answers dealt to held-out prompts of a trained learner."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from insight_ext.predictors import allocate_samples
from insight_ext.predictors.allocation import as_many_to_each, share_solved
from insight_ext.report.measures import Floats
from insight_ext.selectors.gps import Gps
from insight_ext.simulate.compare import Setting
from insight_ext.simulate.statistics import interval

PROMPTS = 1000  # held out
ANSWERS = 8  # to each of them, where all get as many
BINS = 10

# How a budget is dealt, from what is predicted of the prompts and what is true of them.
RULES: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "as many to each": lambda predicted, true, budget: as_many_to_each(len(true), budget),
    f"gps, {BINS} bins": lambda predicted, true, budget: allocate_samples(predicted, budget, BINS),
    "gps, each prompt by itself": lambda predicted, true, budget: allocate_samples(
        predicted, budget
    ),
    "the true success rates": lambda predicted, true, budget: allocate_samples(true, budget),
}


def held_out(setting: Setting, seeds: int) -> Mapping[str, tuple[Floats, Floats]]:
    """Train a learner with `gps`, then deal answers to prompts that it was never trained on.

    Returns:
        By rule, of each seed: the share of prompts that get a right answer, expected, from
        `ANSWERS` answers a prompt; and the share of these answers with which the rule has as many
        solved as dealing as many to each.
    """
    found: dict[str, list[tuple[float, float]]] = {rule: [] for rule in RULES}
    budget = ANSWERS * PROMPTS
    for seed in range(seeds):
        predicted, true = _predicted(setting, seed)
        target = share_solved(true, as_many_to_each(PROMPTS, budget))
        for rule, deal in RULES.items():
            dealt = partial(deal, predicted, true)
            needed = _smallest(lambda n: share_solved(true, dealt(n)) >= target, budget)  # noqa: B023
            found[rule].append((share_solved(true, dealt(budget)), needed / budget))
    return {
        rule: (np.array([s for s, _ in rows]), np.array([n for _, n in rows]))
        for rule, rows in found.items()
    }


def _smallest(is_enough: Callable[[int], bool], guess: int) -> int:
    """The smallest number that is enough, where every larger one is, too."""
    low, high = 0, guess
    while not is_enough(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high


def _predicted(setting: Setting, seed: int) -> tuple[Tensor, Tensor]:
    """What gps predicts of the held-out prompts after training, and their true success rates."""
    learner = replace(setting, pool=setting.pool + PROMPTS).learner_of(seed)
    selector = Gps(setting.pool, features=learner.features[: setting.pool], seed=seed)
    setting.train(learner, selector)
    rates = selector.model.success_rates(embeddings=learner.features[setting.pool :])
    others = np.arange(setting.pool, setting.pool + PROMPTS)
    return rates, torch.from_numpy(learner.success_rate(others))


def markdown(found: Mapping[str, Sequence[Floats]]) -> str:
    """One table, means over seeds with 95 % intervals."""
    lines = [
        f"| {ANSWERS} answers a prompt are dealt by | prompts with a right answer | answers for as "
        "many as evenly dealt ones solve |",
        "| --- | --- | --- |",
    ]
    for rule, columns in found.items():
        cells = (interval(np.asarray(column)) for column in columns)
        told = (f"{c.mean:.1%} ({c.low:.1%} to {c.high:.1%})" for c in cells)
        lines.append(f"| {rule} | {' | '.join(told)} |")
    return "\n".join(lines) + "\n"
