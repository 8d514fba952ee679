"""What a training step returned, checked and reported to the loop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from insight_ext import Group, GroupResult, ObservationError, SelectionLoop
from insight_ext.loop.results import UNCERTAINTIES
from lightning_integration.loaders import PromptBatch


def report(outputs: Any, batch: PromptBatch, loop: SelectionLoop) -> None:
    """Report what `training_step` returned on this process, see `PromptSelectionCallback`.

    Raises:
        ObservationError: neither rewards nor results, of the wrong shape or kind, or infinite;
            nothing was reported.
    """
    outputs = outputs if isinstance(outputs, Mapping) else {}
    results, others = outputs.get("results", []), outputs.get("groups", [])
    if "results" not in outputs and "groups" not in outputs:
        rewards = _rewards(outputs, batch)
        known = [_uncertainties(name, outputs, len(rewards)) for name in UNCERTAINTIES]
        results = [
            GroupResult(group, row, perplexity=each, entropy=entropy, completions=own)
            for group, row, each, entropy, own in zip(
                batch["groups"].tolist(),
                rewards.tolist(),
                *known,
                _texts(outputs, rewards),
                strict=True,
            )
        ]
    if not isinstance(results, Iterable):
        raise ObservationError(
            f"results: expected a list of GroupResult, got {type(results).__name__}; no belief was "
            "changed"
        )
    if not isinstance(others, Iterable) or not all(isinstance(each, Group) for each in others):
        raise ObservationError(
            f"groups: expected a list of Group, got {others!r:.80}; no belief was changed"
        )
    loop.report_all(results)
    for group in others:
        loop.observe(group.prompt, group.rewards)


def _uncertainties(name: str, outputs: Mapping[str, Any], prompts: int) -> Sequence[Any]:
    """What the step told of the uncertainty of each prompt's answers, None of none."""
    told = outputs.get(name)
    if told is None:
        return [None] * prompts
    if not isinstance(told, Tensor | Sequence) or len(told) != prompts:
        raise ObservationError(
            f"{name}: expected numbers like 'rewards', a row for each of {prompts} prompts, got "
            f"{told!r:.80}; no belief was changed"
        )
    return told if isinstance(told, Sequence) else list(told)


def _texts(outputs: Mapping[str, Any], rewards: Tensor) -> Sequence[Sequence[str] | None]:
    """The completions of each prompt, or None of each where they are not returned."""
    texts = outputs.get("completions")
    if texts is None:
        return [None] * len(rewards)
    if [len(own) for own in texts] != [rewards.shape[1]] * len(rewards):
        raise ObservationError(
            f"completions: expected a list of {rewards.shape[1]} texts for each of {len(rewards)} "
            f"prompts, as rewards has, got {[len(own) for own in texts]!r:.80} texts; no belief "
            "was changed"
        )
    return list(texts)


def _rewards(outputs: Mapping[str, Any], batch: PromptBatch) -> Tensor:
    prompts = len(batch["prompts"])
    rewards = outputs.get("rewards")
    fits = isinstance(rewards, Tensor) and rewards.ndim == 2 and rewards.shape[0] == prompts
    if not fits or not rewards.numel():
        got = f"the keys {sorted(outputs)}"
        if "rewards" in outputs:
            shape = f" of shape {tuple(rewards.shape)}" if isinstance(rewards, Tensor) else ""
            got = f"'rewards', a {type(rewards).__name__}{shape}"
        raise ObservationError(
            "expected training_step to return a dict with 'rewards', a float tensor of shape "
            f"({prompts}, K): K rollouts for each prompt, in the batch's order (and 'loss', if the "
            f"optimisation is automatic); got {got}; no belief was changed"
        )
    infinite = rewards.isinf().nonzero()
    if len(infinite):
        row, column = infinite[0].tolist()
        raise ObservationError(
            f"rewards[{row}, {column}], prompt {batch['prompts'][row].id!r}: expected a finite "
            f"number, or NaN for an answer that could not be scored, got "
            f"{float(rewards[row, column])}; no belief was changed"
        )
    return rewards.detach().float()
