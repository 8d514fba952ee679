"""Keep the prompts on which the model is certain when it is right and uncertain when wrong."""

from __future__ import annotations

from typing import Literal

import numpy as np

from insight_ext.curators.curation import Curation, best
from insight_ext.errors import ArgumentError, ObservationError
from insight_ext.offline.logs import Floats, GroupLog


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
    if keep is not None and not 0.0 <= keep <= 1.0:
        raise ArgumentError(f"keep: expected a share in [0, 1], got {keep}")
    if count is not None and count < 0:
        raise ArgumentError(f"count: expected 0 or more, got {count}")
    if of not in ("all", "scored"):
        raise ArgumentError(f"of: expected 'all' or 'scored', got {of!r}")
    if log.uncertainty is None:
        raise ObservationError(
            "point_biserial: expected a column uncertainty with the perplexity or the mean entropy "
            "of each answer, the log has none"
        )
    if (log.rollouts != 1).any():
        raise ObservationError(
            "point_biserial: expected one row per answer (rollouts 1), got a row of "
            f"{log.rollouts.max()}; log each answer with its uncertainty"
        )
    n = len(log.ids)
    correct = log.successes == 1
    right = np.bincount(log.prompt, correct, n)
    answers = np.bincount(log.prompt, minlength=n)
    mixed = (right > 0) & (right < answers)
    correlation = _correlation(log, mixed)
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


def _correlation(log: GroupLog, mixed: np.ndarray) -> Floats:
    assert log.uncertainty is not None
    result = np.full(len(log.ids), np.nan)
    order = np.argsort(log.prompt, kind="stable")
    uncertainty, correct = log.uncertainty[order], log.successes[order] == 1
    edges = np.searchsorted(log.prompt[order], np.arange(len(log.ids) + 1))
    for prompt in np.flatnonzero(mixed):
        rows = slice(edges[prompt], edges[prompt + 1])
        result[prompt] = correlation(uncertainty[rows], correct[rows])
    return result


def correlation(uncertainty: Floats, correct: np.ndarray) -> float:
    """The point-biserial correlation of the answers to one prompt.

        r = (mean U | correct - mean U | wrong) / sd(U) * sqrt(K0 K1 / K^2)

    with the population's standard deviation, which makes it Pearson's correlation of U and 0/1.

    Args:
        uncertainty: float64 of shape (K,), finite.
        correct: bool of shape (K,), with at least one True and one False.

    Returns:
        A number in [-1, 1]; NaN if all uncertainties are equal.

    Source: arXiv 2601.22595, offline selection.

    Examples:
        >>> correlation(np.array([1.0, 1.0, 3.0, 3.0]), np.array([True, True, False, False]))
        -1.0
    """
    if (uncertainty == uncertainty[0]).all():
        return float("nan")
    right, wrong = uncertainty[correct], uncertainty[~correct]
    spread = uncertainty.std()
    share = len(right) * len(wrong) / len(uncertainty) ** 2
    return float((right.mean() - wrong.mean()) / spread * np.sqrt(share))
