"""`python -m insight_ext allocate`: answers for held-out prompts, where one more helps most."""

from __future__ import annotations

from pathlib import Path

from insight_ext.beliefs.pool import PromptPool
from insight_ext.errors import ArgumentError
from insight_ext.loop.checkpoint import read_selection
from insight_ext.offline.tables import write_columns
from insight_ext.predictors import allocate_samples, features_of
from insight_ext.selectors import make_selector
from insight_ext.selectors.gps import Gps


def allocate(
    checkpoint: Path,
    pool: PromptPool,
    prompts: PromptPool,
    budget: int,
    output: Path | None,
    bins: int | None = None,
) -> dict[str, list[object]]:
    """Predict the success rates of prompts that were never trained on, and deal answers to them.

    Args:
        checkpoint: of a run with the selector `gps`, whose features were given as text.
        pool: the prompts of that run.
        prompts: the others.
        budget, bins: answers to deal, and of how many bins of prompts, see `allocate_samples`.
        output: where to write the table; None for nowhere.

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
    rates = selector.model.success_rates(embeddings=features_of(prompts, features))
    columns: dict[str, list[object]] = {
        "id": list(prompts.ids),
        "predicted": rates.tolist(),
        "answers": allocate_samples(rates, budget, bins).tolist(),
    }
    if output is not None:
        write_columns(output, columns)
    return columns
