"""What a run's folder holds: the names of its files, their columns, and every metric."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

METRICS_FILE = "metrics.csv"  # a row per logged step: step, and the metrics that were logged
GROUPS_FILE = "groups.parquet"  # a folder of parts, see `groups_schema`
ANSWERS_FILE = "answers.parquet"  # a folder of parts, see `answers_schema`; only where asked for
BELIEFS_FILE = "beliefs.parquet"  # a folder of parts, see `beliefs_schema`
SAMPLES_FILE = "samples.jsonl"  # answers, a JSON object with the fields of `Sample` a line
CONFIG_FILE = "config.yaml"  # the run's settings
FACTS_FILE = "run.json"  # when, where and of which commit, see `insight_ext.runs.facts`

PARTS = "part-*.parquet"  # the parts of a folder; a part's number is its first step
BELIEF_BINS = 20


class Sample(NamedTuple):
    """One answer; `answer` is the key that the verifier compares with, where it was logged."""

    step: int
    id: str
    prompt: str
    completion: str
    reward: float
    answer: str = ""


def groups_schema() -> Any:
    """The pyarrow schema of `GROUPS_FILE`: a row is one visit of a prompt, in order of steps.

    `id` and `index` (position in the pool) say which prompt; `predicted` is the success rate that
    was expected before the visit, NaN where the selector expects none.
    """
    import pyarrow as pa

    return pa.schema(
        {
            "id": pa.string(),
            "index": pa.int64(),
            "step": pa.int64(),
            "successes": pa.int32(),
            "rollouts": pa.int32(),
            "predicted": pa.float32(),
        }
    )


def answers_schema() -> Any:
    """The pyarrow schema of `ANSWERS_FILE`: a row is one answer, those of a group in order.

    `group` is the loop's number of the group, -1 for a prompt that it did not deal. `reward` and
    `success` are null where the answer could not be scored, `perplexity` and `entropy` (nats, a
    mean over the answer's tokens) where the trainer did not tell them.
    """
    import pyarrow as pa

    return pa.schema(
        {
            "id": pa.string(),
            "index": pa.int64(),
            "step": pa.int64(),
            "group": pa.int64(),
            "reward": pa.float64(),
            "success": pa.bool_(),
            "perplexity": pa.float64(),
            "entropy": pa.float64(),
        }
    )


def beliefs_schema() -> Any:
    """The pyarrow schema of `BELIEFS_FILE`: a row is the pool after a step.

    `unseen` counts the prompts never visited, `means` the others by posterior mean, in
    `BELIEF_BINS` equal bins of [0, 1].
    """
    import pyarrow as pa

    return pa.schema(
        {"step": pa.int64(), "unseen": pa.int64(), "means": pa.list_(pa.int64(), BELIEF_BINS)}
    )


class Metric(StrEnum):
    """Every metric of a selection: the name that it is logged by, and what it means.

    Example:
        >>> Metric.MIXED == "frac_mixed", Metric.MIXED.meaning
        (True, 'share of groups with right and wrong answers: only these have a gradient')
    """

    meaning: str

    def __new__(cls, name: str, meaning: str) -> Metric:
        member = str.__new__(cls, name)
        member._value_ = name
        member.meaning = meaning
        return member

    REWARD = "reward_mean", "mean reward of the step's answers"
    MIXED = (
        "frac_mixed",
        "share of groups with right and wrong answers: only these have a gradient",
    )
    SOLVED = "frac_all_solved", "share of groups with right answers only"
    FAILED = "frac_all_failed", "share of groups with wrong answers only"
    FLAT = "frac_reward_zero_std", "share of groups whose rewards are all equal"
    UNSEEN = "frac_unseen", "share of the chosen prompts that were never visited before"
    TIED = "frac_tied_at_cut", "share of the chosen prompts that tie with one left out"
    CALIBRATION = "calibration", "mean distance of the predicted from the observed success rate"
    PREDICTED = "success_predicted", "mean success rate that was predicted for the chosen prompts"
    OBSERVED = "success_observed", "mean success rate that was observed"
    ROLLOUTS = "rollouts_generated", "answers generated, of the whole run"
    UNSCORED = "rollouts_unscored", "answers that could not be scored, of the whole run"
    IN_FLIGHT = "groups_out", "groups that were dealt and are not back yet"
    INCOMPLETE = "groups_incomplete", "groups closed with answers missing, of the whole run"
    DUPLICATE = "rollouts_duplicate", "answers that came twice and were ignored, of the whole run"
    STALENESS_MEAN = "staleness_mean", "steps between a group's choice and its result, mean"
    STALENESS_MAX = "staleness_max", "steps between a group's choice and its result, largest"
    SELECTION_MS = "selection_ms", "milliseconds of choosing the step's prompts"
    OBSERVATION_MS = "observation_ms", "milliseconds of taking in the step's results"
    STEP_MS = "step_ms", "milliseconds of the whole step, evaluation not counted"
    TRAIN_SECONDS = "train_seconds", "seconds of all steps, of the whole run"
    ACCURACY = (
        "val_accuracy",
        "share of held-out prompts answered correctly; val_accuracy/KIND of one kind",
    )


TOTALS = frozenset(
    {
        Metric.ROLLOUTS,
        Metric.UNSCORED,
        Metric.INCOMPLETE,
        Metric.DUPLICATE,
        Metric.TRAIN_SECONDS,
    }
)
"""What counts over the whole run: the latest of several steps says it all."""
