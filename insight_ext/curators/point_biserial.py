"""Keep the prompts on which the model is certain when it is right and uncertain when wrong."""

from __future__ import annotations

from typing import Literal

import numpy as np

from insight_ext.curators.curation import Curation, best
from insight_ext.errors import ArgumentError, ObservationError
from insight_ext.offline.logs import Floats, GroupLog
from insight_ext.plugins import check_between, whole


def point_biserial(
    log: GroupLog,
    *,
    keep: float | None = None,
    count: int | None = None,
    of: Literal["all", "scored"] = "all",
) -> Curation:
    """Score each prompt by the correlation of its answers' uncertainty with their correctness.

    Uncertainty is the perplexity of an answer, or its mean entropy. A prompt whose right answers
    are the certain ones has a correlation near -1: uncertainty is consistent there. This saves
    the training on the other prompts: the paper draws 64 answers to each prompt first, and the
    correctness of every one is needed.

    Args:
        log: one row per answer (`rollouts` 1), with its `uncertainty`, see
            `insight_ext.offline.logs.read_answers`.
        keep: the share of the prompts to keep, in [0, 1], those with the smallest correlation; the
            paper's 0.3 if `count` is not given either. No more than have a correlation.
        count: keep this many instead.
        of: whether `keep` is a share of "all" the log's prompts (of the pool's, if it was read with
            one), as in the paper, or of those that are "scored".

    Returns:
        The prompts; their score is minus the correlation, so that the largest are kept. Prompts
        that are always or never solved, or equally uncertain throughout, or that were never rolled
        out, have none and are listed.

    Raises:
        ArgumentError: both keep and count, or an argument outside its domain.
        ObservationError: a log without uncertainty, or with several answers in a row.

    Source: arXiv 2601.22595, offline selection.
    """
    if keep is not None and count is not None:
        raise ArgumentError("point_biserial: expected keep or count, got both")
    if keep is not None:
        check_between("a share", 0.0, 1.0, keep=keep)
    count = None if count is None else whole("count", count, 0)
    if of not in ("all", "scored"):
        raise ArgumentError(f"of: expected 'all' or 'scored', got {of!r}")
    if log.uncertainty is None:
        raise ObservationError(
            "point_biserial: expected a column uncertainty with the perplexity or the mean entropy "
            "of each answer, the log has none"
        )
    most = max(int(log.rollouts[part].max()) for part in log.parts())
    if most != 1:
        raise ObservationError(
            "point_biserial: expected one row per answer (rollouts 1), got a row of "
            f"{most}; log each answer with its uncertainty"
        )
    n = len(log.ids)
    answers, right, _ = log.totals()
    mixed = (right > 0) & (right < answers)
    correlation = correlations(log)
    scored = int(np.count_nonzero(np.isfinite(correlation)))
    share = 0.3 if keep is None else keep
    if count is None:
        amount = round(share * (n if of == "all" else scored))
        rule = f"{share:.0%} of {'all' if of == 'all' else 'the scored'} prompts"
    else:
        amount, rule = count, f"{count:,} asked"
    dropped = {
        "always or never solved": np.flatnonzero((answers > 0) & ~mixed),
        "equally uncertain throughout": np.flatnonzero(mixed & np.isnan(correlation)),
    }
    if not answers.all():
        dropped["never rolled out"] = np.flatnonzero(answers == 0)
    return Curation(log.ids, -correlation, best(-correlation, amount), dropped, rule)


def correlations(log: GroupLog) -> Floats:
    """The point-biserial correlation of the answers to each prompt.

        r = (mean U | correct - mean U | wrong) / sd(U) * sqrt(K0 K1 / K^2)

    with the population's standard deviation, which makes it Pearson's correlation of U and 0/1.

    Args:
        log: one row per answer, with its uncertainty.

    Returns:
        float64 of shape (N,), in [-1, 1]; NaN where no answer is right, or none wrong, or all
        uncertainties are equal.

    Source: arXiv 2601.22595, offline selection.

    Examples:
        >>> log = GroupLog(("a",), np.zeros(4, dtype=int), np.array([1, 1, 0, 0]),
        ...                np.ones(4, dtype=int), None, None, np.array([1.0, 1.0, 3.0, 3.0]))
        >>> correlations(log).tolist()
        [-1.0]
    """
    assert log.uncertainty is not None
    n = len(log.ids)
    answers, right, _ = log.totals()
    wrong = answers - right
    sums = np.zeros((2, n))  # of the wrong answers' uncertainties, and of the right ones'
    lowest, highest = np.full(n, np.inf), np.full(n, -np.inf)
    for part in log.parts():
        prompt, uncertainty = log.prompt[part], log.uncertainty[part]
        np.add.at(sums, (log.successes[part], prompt), uncertainty)
        np.minimum.at(lowest, prompt, uncertainty)
        np.maximum.at(highest, prompt, uncertainty)
    defined = (wrong > 0) & (right > 0) & (lowest < highest)
    mean = sums.sum(axis=0) / np.maximum(answers, 1)
    squares = np.zeros(n)
    for part in log.parts():
        prompt = log.prompt[part]
        np.add.at(squares, prompt, (log.uncertainty[part] - mean[prompt]) ** 2)
    result = np.full(n, np.nan)
    gap = sums[1] / np.maximum(right, 1) - sums[0] / np.maximum(wrong, 1)
    spread = np.sqrt(squares * answers)
    np.divide(gap * np.sqrt(wrong * right), spread, where=defined & (spread > 0), out=result)
    return result
