"""What a training step returned: its groups, checked, and what they look like."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import torch
from torch import Tensor

from insight_ext import GroupResult, ObservationError, Prompt, PromptPool
from insight_ext.loop.in_flight import FinishedGroup
from lightning_integration.loader import PromptBatch, PromptLoader


class Arrived(NamedTuple):
    """What there is to learn from after a step, of all processes.

    Attributes:
        groups: pairs of the prompts' positions in the pool, int64 of shape (M,), and rewards, float
            of shape (M, n), on the CPU; none where no group is finished.
        versions: int64, of each group in order, of the beliefs that its choice rests on.
    """

    groups: list[tuple[Tensor, Tensor]]
    versions: Tensor


def arrived(outputs: Any, batch: PromptBatch, loader: PromptLoader) -> Arrived:
    """Gather what `training_step` returned on each process, see `PromptSelectionCallback`.

    Where results may come late, the loader's ledger takes them in, and closes the groups whose time
    is up.

    Raises:
        ObservationError: what one of the processes returned cannot be counted; on all of them.
    """
    draw, ledger = batch["draw"], loader.ledger
    if ledger is None:
        everyone = loader.ranks.all_or_none(lambda: rolled_out(outputs, batch, loader.pool))
        groups = joined([pair for one in everyone for pair in one])
        return Arrived(groups, torch.full((sum(len(g) for g, _ in groups),), draw.observed))
    late = loader.ranks.all_or_none(lambda: _late(outputs, batch, loader.pool))
    finished = ledger.receive([result for results, _ in late for result in results])
    finished += ledger.close(draw.step)
    pairs = _stacked(finished)
    pairs += [pair for _, groups in late for pair in groups]
    versions = torch.full((sum(len(indices) for indices, _ in pairs),), loader.observed)
    versions[: len(finished)] = torch.tensor([group.version for group in finished])
    return Arrived(joined(pairs), versions)


def _stacked(groups: Sequence[FinishedGroup]) -> list[tuple[Tensor, Tensor]]:
    """Pairs of indices and rewards; one tensor for each group would cost more than all else."""
    pairs = []
    for _, run in groupby(groups, key=lambda group: len(group.rewards)):
        same = list(run)
        indices = torch.tensor([group.prompt for group in same])
        pairs.append((indices, torch.tensor([group.rewards for group in same])))
    return pairs


def group_metrics(rewards: Tensor, successes: Tensor) -> dict[str, float]:
    """What one batch of groups looks like.

    Args:
        rewards: (B, K), the raw rewards.
        successes: (B,), how many of a group's rewards count as a success.

    Returns:
        Shares of groups in [0, 1] and the mean reward. A group without reward spread gives no
        gradient; with graded rewards that is not the same as all solved or all failed.

    Example:
        >>> rewards = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
        >>> group_metrics(rewards, torch.tensor([1, 2]))["frac_mixed"]
        0.5
    """
    solved, failed = successes == rewards.shape[1], successes == 0
    flat = (rewards == rewards[:, :1]).all(dim=1)
    shares = {
        "frac_all_solved": solved,
        "frac_all_failed": failed,
        "frac_mixed": ~(solved | failed),
        "frac_reward_zero_std": flat,
    }
    metrics = {name: float(groups.float().mean()) for name, groups in shares.items()}
    return metrics | {"reward_mean": float(rewards.mean())}


def mean_metrics(parts: Sequence[tuple[Tensor, Tensor]]) -> dict[str, float]:
    """`group_metrics` over groups of several sizes; each pair is (rewards, successes).

    Without groups there is nothing to say.

    Example:
        >>> pairs = (torch.eye(2), torch.tensor([1, 1])), (torch.ones(1, 3), torch.tensor([3]))
        >>> round(mean_metrics(pairs)["frac_mixed"], 3)
        0.667
    """
    if not parts:
        return {}
    total = sum(len(rewards) for rewards, _ in parts)
    shares = [(len(rewards) / total, group_metrics(rewards, won)) for rewards, won in parts]
    return {name: sum(share * part[name] for share, part in shares) for name in shares[0][1]}


def joined(groups: Sequence[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """The same pairs of indices and rewards, neighbours of equal width as one.

    Example:
        >>> one, two = (torch.tensor([0]), torch.ones(1, 2)), (torch.tensor([1]), torch.ones(1, 2))
        >>> [indices.tolist() for indices, _ in joined([one, two])]
        [[0, 1]]
    """
    result: list[tuple[Tensor, Tensor]] = []
    for _, run in groupby(groups, key=lambda pair: pair[1].shape[1]):
        indices, rewards = zip(*run, strict=True)
        result.append((torch.cat(indices), torch.cat(rewards)))
    return result


def rolled_out(outputs: Any, batch: PromptBatch, pool: PromptPool) -> list[tuple[Tensor, Tensor]]:
    """Everything that a step rolled out: pairs of indices (M,) and rewards (M, n), on the CPU.

    Args:
        outputs: what `training_step` returned, see `PromptSelectionCallback`.
        batch: the step's prompts, whose groups `rewards` are.
        pool: where the indices of `groups` point to.

    Raises:
        ObservationError: neither of them, of the wrong shape, or not finite.
    """
    outputs = outputs if isinstance(outputs, Mapping) else {}
    if "results" in outputs:
        raise ObservationError(
            "results: expected PromptDataModule(max_staleness=...) of 1 or more, so that results "
            "may come late, got 0; no belief was changed"
        )
    if "groups" not in outputs:
        rewards = _rewards(outputs, batch)
        return [(batch["indices"].cpu(), _finite("rewards", rewards, batch["prompts"]))]
    return _groups(outputs, pool)


def _groups(outputs: Mapping[str, Any], pool: PromptPool) -> list[tuple[Tensor, Tensor]]:
    """The pairs of `groups`, if that is what they are."""
    pairs = outputs["groups"]
    if not isinstance(pairs, Sequence) or not pairs:
        raise ObservationError(
            "groups: expected a list of at least one pair of positions and rewards, got "
            f"{pairs!r}; no belief was changed; return `rewards` if the batch's own groups are "
            "all there are"
        )
    return [_group(f"groups[{at}]", pair, pool) for at, pair in enumerate(pairs)]


def _late(
    outputs: Any, batch: PromptBatch, pool: PromptPool
) -> tuple[list[GroupResult], list[tuple[Tensor, Tensor]]]:
    """Results of groups that were dealt, and pairs of positions and rewards of any prompts."""
    outputs = outputs if isinstance(outputs, Mapping) else {}
    results = outputs.get("results", [])
    if "results" not in outputs and "groups" not in outputs:
        rewards = _finite("rewards", _rewards(outputs, batch), batch["prompts"])
        results = map(GroupResult, batch["groups"].tolist(), rewards.tolist())
    if not isinstance(results, Iterable):
        raise ObservationError(
            f"results: expected a list of GroupResult, got {type(results).__name__}; no belief was "
            "changed"
        )
    return list(results), _groups(outputs, pool) if "groups" in outputs else []


def _group(name: str, pair: Any, pool: PromptPool) -> tuple[Tensor, Tensor]:
    """One pair of `groups`, if it is one."""
    expected = (
        f"{name}: expected positions in the pool, an int64 tensor of shape (M,), and rewards, a "
        "float tensor of shape (M, n)"
    )
    both = tuple(pair) if isinstance(pair, (tuple, list)) else (pair,)
    if len(both) != 2 or not all(isinstance(part, Tensor) for part in both):
        got = ", ".join(type(part).__name__ for part in both)
        raise ObservationError(f"{expected}, got ({got}); no belief was changed")
    indices, rewards = both
    if rewards.ndim != 2 or not rewards.numel() or indices.shape != rewards.shape[:1]:
        raise ObservationError(
            f"{expected}, got {tuple(indices.shape)} and {tuple(rewards.shape)}; no belief was "
            "changed"
        )
    if indices.dtype != torch.int64:
        raise ObservationError(f"{expected}, got {indices.dtype}; no belief was changed")
    indices = indices.cpu()
    outside = indices[(indices < 0) | (indices >= len(pool))]
    if len(outside):
        raise ObservationError(
            f"{name}: expected positions in a pool of {len(pool)} prompts, got {int(outside[0])}; "
            "no belief was changed"
        )
    return indices, _finite(name, rewards, [pool[i] for i in indices.tolist()])


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
    return rewards


def _finite(name: str, rewards: Tensor, prompts: Sequence[Prompt]) -> Tensor:
    rewards = rewards.detach().float().cpu()
    bad = (~torch.isfinite(rewards)).nonzero()
    if len(bad):
        row, column = bad[0].tolist()
        raise ObservationError(
            f"{name}[{row}, {column}], prompt {prompts[row].id!r}: expected a finite "
            f"number, got {float(rewards[row, column])}; no belief was changed"
        )
    return rewards
