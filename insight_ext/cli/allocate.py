"""`insight-ext allocate`: answers for held-out prompts, where one more helps most."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from insight_ext.beliefs.pool import PromptPool
from insight_ext.cli.logs import read_pool
from insight_ext.cli.tables import check_output, hand_over
from insight_ext.data.json_text import plain_numbers
from insight_ext.errors import ArgumentError
from insight_ext.loop.checkpoint import read_selection
from insight_ext.predictors import allocate_samples, features_of
from insight_ext.predictors.allocation import as_many_to_each, share_solved
from insight_ext.selectors import make_selector
from insight_ext.selectors.base import STRENGTH, prior_around
from insight_ext.selectors.gps import Gps, start_of
from insight_ext.selectors.inputs import worked_out
from insight_ext.visible_text import visible_text

SHOWN = 20  # prompts


def run(options: argparse.Namespace) -> None:
    """Read both sets of prompts, deal the answers, and hand the table over."""
    check_output(options)
    paths = options.pool, options.prompts
    pool, prompts = (read_pool(path, options.field) for path in paths)
    columns = allocate(options.checkpoint, pool, prompts, options.budget, options.bins)

    def show() -> None:
        for name, rate, answers in list(zip(*columns.values(), strict=True))[:SHOWN]:
            print(f"{visible_text(str(name))}  {rate:.2f}  {answers}")
        rates = torch.tensor(columns["predicted"])
        dealt = share_solved(rates, torch.tensor(columns["answers"]))
        evenly = share_solved(rates, as_many_to_each(len(rates), options.budget))
        print(
            f"predicted: a right answer to {dealt:.1%} of {len(rates):,} prompts, "
            f"{evenly:.1%} with as many answers to each"
        )

    hand_over(options, columns, show)


def allocate(
    checkpoint: Path, pool: PromptPool, prompts: PromptPool, budget: int, bins: int | None = None
) -> dict[str, list[object]]:
    """Predict the success rates of prompts that were never trained on, and deal answers to them.

    Args:
        checkpoint: of a run with the selector `gps`, whose features were given as text.
        pool: the prompts of that run.
        prompts: the others, with the fields that the run's features and prior name.
        budget, bins: answers to deal, and of how many bins of prompts, see `allocate_samples`.

    Returns:
        Columns `id`, `predicted` (success rate) and `answers`.

    Raises:
        ArgumentError: another selector, features that are not known as text.
        CheckpointError: see `read_selection`, and another pool.
    """
    _, state = read_selection(checkpoint)
    made = state.get("made") or {}
    features = made.get("options", {}).get("features")
    if made.get("selector") != "gps" or not isinstance(features, str):
        raise ArgumentError(
            f"{checkpoint}: expected a run with the selector gps and features given as text, such "
            f"as 'ngrams', got {made.get('selector', 'an object')} with features {features!r}; "
            "only gps predicts prompts of other texts"
        )
    selector = make_selector(
        "gps",
        len(pool),
        pool=pool,
        **{"seed": state["parts"]["selector"]["settings"]["seed"], **made["options"]},
    )
    selector.rollouts = state["settings"]["rollouts"]
    selector.load_state_dict(state["parts"]["selector"])
    assert isinstance(selector, Gps)
    rates = selector.model.success_rates(
        embeddings=features_of(pool, features, of=prompts),
        start=_start(selector, prompts, made["options"]),
    )
    return {
        "id": list(prompts.ids),
        "predicted": plain_numbers(rates),
        "answers": allocate_samples(rates, budget, bins).tolist(),
    }


def _start(selector: Gps, prompts: PromptPool, options: Mapping[str, Any]) -> float | torch.Tensor:
    """Where predictions of prompts held out start; an earlier run's log says nothing of them."""
    prior = selector.posterior.prior
    if isinstance(prior[0], torch.Tensor):
        if str(options["prior"]).startswith("log:"):
            return 0.0
        told = worked_out("gps", {"prior": options["prior"]}, prompts)["prior"]
        prior = prior_around(told, options.get("prior_strength", STRENGTH))
    return start_of(prior)
