"""LIM: keep the prompts whose learning curve is like the average one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from insight_ext.curators.curation import Curation, best
from insight_ext.errors import ArgumentError, ObservationError
from insight_ext.offline.logs import Floats, GroupLog
from insight_ext.offline.visits import moments_of, totals
from insight_ext.plugins import whole

# A last epoch with fewer than this share of the visits of each before it ended early. Less than 1,
# since of a whole one a few groups may be lost.
WHOLE = 0.95


def lim(
    log: GroupLog,
    *,
    keep: float | None = None,
    count: int | None = None,
    steps_per_epoch: int | None = None,
    max_epochs: int | None = None,
) -> Curation:
    """Score each prompt by how well its accuracy over the epochs follows the average accuracy.

    Meant for the log of a run that visited the whole pool, epoch after epoch (`uniform`). A run
    that chose its prompts leaves most of them with gaps.

    Args:
        log: the visits.
        keep: the smallest score to keep; the paper's 0.6 if `count` is not given either.
        count: keep this many of the largest scores instead.
        steps_per_epoch: makes epochs of steps; None: see `epochs`.
        max_epochs: use the first so many epochs alone; None for all of them.

    Returns:
        The prompts with their scores. Prompts with gaps in their curve have none and are listed.

    Raises:
        ArgumentError: both keep and count, a negative count, steps_per_epoch or max_epochs below 1.
        ObservationError: the log holds no whole epoch; no prompt has a whole curve; every prompt
            was always solved, so that no curve differs.

    Source: LIMR (arXiv 2502.11886), learning impact measurement; gaps as in its published code.

    Examples:
        >>> from insight_ext.offline.logs import GroupLog
        >>> visits = dict(prompt=np.array([0, 1, 0, 1]), rollouts=np.array([8, 8, 8, 8]))
        >>> epoch = np.array([0, 0, 1, 1])
        >>> log = GroupLog(("a", "b"), successes=np.array([2, 8, 6, 8]), step=None, epoch=epoch,
        ...                **visits)
        >>> lim(log).scores.round(2).tolist()
        [0.0, 0.0]
    """
    if keep is not None and count is not None:
        raise ArgumentError("lim: expected keep or count, got both")
    if keep is not None and not -math.inf < keep < math.inf:
        raise ArgumentError(f"keep: expected a finite score, got {keep}")
    count = None if count is None else whole("count", count, 0)
    max_epochs = None if max_epochs is None else whole("max_epochs", max_epochs, 1)
    log, found = epochs(log, steps_per_epoch)
    unused = len(log) - found[-1].stop
    found = found[:max_epochs]
    curves = fill_gaps(learning_curves(log, found))
    full = np.isfinite(curves).all(axis=1)
    if not full.any():
        raise ObservationError(
            f"lim: none of the {len(log.ids)} prompts has a result in each of the "
            f"{curves.shape[1]} epochs; give the log of a run that visits the whole pool, or "
            "larger epochs (--steps-per-epoch)"
        )
    scores = np.full(len(log.ids), np.nan)
    scores[full] = alignment(curves[full])
    if count is None:
        threshold = 0.6 if keep is None else keep
        kept = best(scores, int(np.count_nonzero(scores >= threshold)))
        rule = f"score at least {threshold:g}"
    else:
        kept, rule = best(scores, count), f"the {count:,} largest scores"
    notes = [f"{curves.shape[1]} epochs"]
    if unused:
        notes.append(f"the last {unused:,} visits, less than an epoch, are not used")
    visited = log.totals()[0] > 0
    dropped = {"for gaps in their curve": np.flatnonzero(visited & ~full)}
    if not visited.all():
        dropped["never rolled out"] = np.flatnonzero(~visited)
    return Curation(log.ids, scores, kept, dropped, rule, tuple(notes))


def epochs(log: GroupLog, steps_per_epoch: int | None = None) -> tuple[GroupLog, list[slice]]:
    """The visits of each epoch.

    Only whole epochs count. They are blocks of `steps_per_epoch` steps, if it is given. Else the
    log's own epochs, if it has them; a last one with fewer than 95 % of the visits of each before
    ended early. Else visits are counted: an epoch ends when there were as many as the log has
    prompts, which for sampling without replacement is where it ends indeed. Steps or visits at the
    end that make no whole epoch are left out.

    Returns:
        The log, in the order of its epochs, and which visits each epoch has, at least one.

    Raises:
        ArgumentError: steps_per_epoch below 1, or given for a log without steps.
        ObservationError: fewer steps than `steps_per_epoch`.
    """
    if steps_per_epoch is not None:
        return log, _blocks_of_steps(log, steps_per_epoch)
    if log.epoch is not None:
        log = log.by_epoch()
        assert log.epoch is not None
        found = list(moments_of(log.epoch))
        sizes = [each.stop - each.start for each in found]
        if len(found) > 1 and sizes[-1] < WHOLE * min(sizes[:-1]):
            del found[-1]
        return log, found
    prompts = int(np.count_nonzero(log.totals()[0]))
    return log, [slice(start, start + prompts) for start in _whole(len(log), prompts)]


def _blocks_of_steps(log: GroupLog, steps: int) -> list[slice]:
    steps = whole("steps_per_epoch", steps, 1)
    if log.step is None:
        raise ArgumentError("steps_per_epoch: expected a log with steps, got one with epochs")
    first, last = int(log.step[0]), int(log.step[-1])
    starts = [first + start for start in _whole(last - first + 1, steps)]
    if not starts:
        raise ObservationError(
            f"lim: expected a whole epoch of {steps} steps, got a log of {last - first + 1}"
        )
    edges = np.searchsorted(log.step, [*starts, starts[-1] + steps])
    return [slice(start, stop) for start, stop in pairwise(edges.tolist())]


def _whole(length: int, block: int) -> range:
    """Where the whole blocks of a length begin."""
    return range(0, length - block + 1, block)


def learning_curves(log: GroupLog, epochs: Sequence[slice]) -> Floats:
    """The accuracy of every prompt in every epoch, shape (N, epochs); NaN where not visited.

    Several visits in an epoch count together.
    """
    curves = np.full((len(log.ids), len(epochs)), np.nan)
    for curve, visits in zip(curves.T, epochs, strict=True):
        successes, rollouts = (
            totals(log.prompt[visits], counts[visits], len(log.ids))
            for counts in (log.successes, log.rollouts)
        )
        np.divide(successes, rollouts, out=curve, where=rollouts > 0)
    return curves


def fill_gaps(curves: Floats) -> Floats:
    """Fill each missing value from the next epoch; of two gaps in a row the first one stays.

    Examples:
        >>> fill_gaps(np.array([[np.nan, 0.5, np.nan, np.nan, 1.0]]))
        array([[0.5, 0.5, nan, 1. , 1. ]])
    """
    filled = curves.copy()
    gaps = np.isnan(curves[:, :-1])
    filled[:, :-1][gaps] = curves[:, 1:][gaps]
    return filled


def alignment(curves: Floats) -> Floats:
    """How much each curve is like the average of all of them.

        s_i = 1 - sum_k (r_i^k - mean^k)^2 / sum_k (1 - mean^k)^2

    An always correct curve scores exactly 0, the average curve 1; there is no lower bound.

    Args:
        curves: accuracies in [0, 1], shape (N, epochs), without gaps.

    Returns:
        float64 of shape (N,).

    Raises:
        ObservationError: every curve is always correct, which leaves nothing to compare.

    Source: LIMR (arXiv 2502.11886), the normalised alignment score.

    Examples:
        >>> alignment(np.array([[1.0, 1.0], [0.0, 0.5], [0.5, 0.75]])).tolist()
        [0.0, 0.0, 1.0]
    """
    average = curves.mean(axis=0)
    scale = ((1.0 - average) ** 2).sum()
    if scale == 0.0:
        raise ObservationError(
            "lim: every prompt was always solved, so that all curves are equal: expected a log of "
            "a run that had something to learn"
        )
    scores: Floats = 1.0 - ((curves - average) ** 2).sum(axis=1) / scale
    return scores
