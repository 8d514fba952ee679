"""LIM: keep the prompts whose learning curve is like the average one."""

from __future__ import annotations

import numpy as np

from insight_ext.curators.curation import Curation, best
from insight_ext.errors import ArgumentError, ObservationError
from insight_ext.offline.logs import Floats, GroupLog, Integers, parts_of

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
    if count is not None and count < 0:
        raise ArgumentError(f"count: expected 0 or more, got {count}")
    if max_epochs is not None and max_epochs < 1:
        raise ArgumentError(f"max_epochs: expected at least 1, got {max_epochs}")
    epoch, unused = epochs(log, steps_per_epoch)
    if max_epochs is not None:
        epoch = np.where(epoch < max_epochs, epoch, -1)
    curves = fill_gaps(learning_curves(log, epoch))
    whole = np.isfinite(curves).all(axis=1)
    if not whole.any():
        raise ObservationError(
            f"lim: none of the {len(log.ids)} prompts has a result in each of the "
            f"{curves.shape[1]} epochs; give the log of a run that visits the whole pool, or "
            "larger epochs (--steps-per-epoch)"
        )
    scores = np.full(len(log.ids), np.nan)
    scores[whole] = alignment(curves[whole])
    if count is None:
        threshold = 0.6 if keep is None else keep
        kept = best(scores, int(np.count_nonzero(scores >= threshold)))
        rule = f"score at least {threshold:g}"
    else:
        kept, rule = best(scores, count), f"the {count:,} largest scores"
    notes = [f"{curves.shape[1]} epochs"]
    if unused:
        notes.append(f"the last {unused:,} visits, less than an epoch, are not used")
    visited = np.bincount(log.prompt, minlength=len(log.ids)) > 0
    dropped = {"for gaps in their curve": np.flatnonzero(visited & ~whole)}
    if not visited.all():
        dropped["never rolled out"] = np.flatnonzero(~visited)
    return Curation(log.ids, scores, kept, dropped, rule, tuple(notes))


def epochs(log: GroupLog, steps_per_epoch: int | None = None) -> tuple[Integers, int]:
    """The epoch of each visit, from 0; and how many visits at the end belong to none.

    Only whole epochs count. They are blocks of `steps_per_epoch` steps, if it is given. Else the
    log's own epochs, if it has them; a last one with fewer than 95 % of the visits of each before
    ended early. Else visits are counted: an epoch ends when there were as many as the log has
    prompts, which for sampling without replacement is where it ends indeed. Steps or visits at the
    end that make no whole epoch are left out.

    Returns:
        int64 of shape (V,), -1 for the visits left out, and their number.

    Raises:
        ArgumentError: steps_per_epoch below 1, or given for a log without steps.
        ObservationError: fewer steps than `steps_per_epoch`.
    """
    if steps_per_epoch is not None:
        if steps_per_epoch < 1:
            raise ArgumentError(f"steps_per_epoch: expected at least 1, got {steps_per_epoch}")
        if log.step is None:
            raise ArgumentError("steps_per_epoch: expected a log with steps, got one with epochs")
        done = log.step - log.step.min()
        whole = (int(done.max()) + 1) // steps_per_epoch
        if not whole:
            raise ObservationError(
                f"lim: expected a whole epoch of {steps_per_epoch} steps, got a log of "
                f"{int(done.max()) + 1}"
            )
        epoch = np.where(done < whole * steps_per_epoch, done // steps_per_epoch, -1)
        return epoch, int(np.count_nonzero(epoch < 0))
    if log.epoch is not None:
        epoch = np.unique(log.epoch, return_inverse=True)[1]
        visits = np.bincount(epoch)
        last = len(visits) - 1
        if last and visits[last] < WHOLE * visits[:last].min():
            return np.where(epoch < last, epoch, -1), int(visits[last])
        return epoch, 0
    prompts = int(np.count_nonzero(np.bincount(log.prompt)))
    epoch = np.arange(len(log), dtype=log.prompt.dtype) // prompts
    unused = len(log) % prompts
    epoch[len(log) - unused :] = -1
    return epoch, unused


def learning_curves(log: GroupLog, epoch: Integers) -> Floats:
    """The accuracy of every prompt in every epoch, shape (N, epochs); NaN where not visited.

    Several visits in an epoch count together.
    """
    prompts, epochs = len(log.ids), int(epoch.max()) + 1
    successes, rollouts = np.zeros((2, prompts * epochs))
    for part in parts_of(len(log)):
        used = epoch[part] >= 0
        place = log.prompt[part][used].astype(np.int64) * epochs + epoch[part][used]
        for total, counts in ((successes, log.successes), (rollouts, log.rollouts)):
            np.add.at(total, place, counts[part][used].astype(np.float64))
    curves = np.full(prompts * epochs, np.nan)
    np.divide(successes, rollouts, out=curves, where=rollouts > 0)
    return curves.reshape(prompts, epochs)


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
