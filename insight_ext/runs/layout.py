"""What a run's folder holds: the names of its files, their columns, and every metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from statistics import fmean
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
    """One answer; `answer` is the key that the verifier compares with, where it was logged.

    `completion` is empty where the trainer told no texts.
    """

    step: int
    id: str
    prompt: str
    completion: str
    reward: float
    answer: str = ""


def groups_schema() -> Any:
    """The pyarrow schema of `GROUPS_FILE`: a row is one visit of a prompt, in order of steps.

    `id` and `index` (position in the pool) say which prompt; where every id ends in a slash, as in
    what `benchmarks.record` keeps, it is a kind, and the two together say it. `predicted` is the
    success rate that was expected before the visit, NaN where the selector expects none.
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
    """Every metric of a selection: what it is, what is good, and what to do where it is not.

    A loop returns them by these names; trainers log them as `logged(name)`. docs/metrics.md is
    written from here by `python -m insight_ext.runs.glossary`.

    Examples:
        >>> Metric.MIXED == "frac_mixed", Metric.MIXED.meaning
        (True, 'share of groups with right and wrong answers')
        >>> logged(Metric.MIXED)
        'selection/frac_mixed'
    """

    meaning: str
    good: str
    advice: str

    def __new__(cls, name: str, meaning: str, good: str, advice: str = "") -> Metric:
        member = str.__new__(cls, name)
        member._value_ = name
        member.meaning, member.good, member.advice = meaning, good, advice
        return member

    REWARD = (
        "reward_mean",
        "mean reward of the step's answers",
        "near the middle of the rewards: a strategy that keeps it there chooses well; it says "
        "nothing about progress",
        "look at val_accuracy for progress",
    )
    MIXED = (
        "frac_mixed",
        "share of groups with right and wrong answers",
        "high, and above that of random sampling: where rewards are 0 or 1, only these have a "
        "gradient",
        "more data of a fitting difficulty; see learnable",
    )
    SOLVED = (
        "frac_all_solved",
        "share of groups with right answers only",
        "low",
        "harder prompts",
    )
    FAILED = (
        "frac_all_failed",
        "share of groups with wrong answers only",
        "low",
        "easier prompts, a longer limit, a look at never solved prompts: keys may be wrong",
    )
    FLAT = (
        "frac_reward_zero_std",
        "share of groups whose rewards are all equal: these have no gradient",
        "low",
        "as for the two above",
    )
    WASTED = (
        "wasted_rollouts",
        "answers in groups whose rewards are all equal, of the whole run: they taught nothing",
        "a small share of rollouts_generated",
        "another strategy, or a filter that stops early",
    )
    WASTED_TOKENS = (
        "wasted_tokens",
        "tokens of the step's answers in groups whose rewards are all equal (GRPOModule)",
        "a small share of the step's tokens",
        "as for wasted_rollouts",
    )
    LEARNABLE = (
        "learnable",
        "share of the pool that is expected to give mixed groups more often than not",
        "high",
        "where it shrinks, add prompts",
    )
    SATURATED = (
        "saturated",
        "share of the pool that is expected to be all solved more often than not",
        "grows as the model learns",
        "when most of the pool is, the data is used up: add harder prompts",
    )
    HOPELESS = (
        "hopeless",
        "share of the pool that is expected to be all failed more often than not",
        "shrinks as the model learns",
        "when it stays, add easier prompts, and look for wrong keys among the never solved",
    )
    UNVISITED = (
        "unvisited",
        "share of the pool that was never visited",
        "shrinks",
        "see visits_per_prompt",
    )
    VISITS = (
        "visits_per_prompt",
        "groups so far for each prompt of the pool, mean",
        "2 or more by the end of the run",
        "below 2 per-prompt beliefs are blind: give features or a prior",
    )
    UNSEEN = (
        "frac_unseen",
        "share of the chosen prompts that were never visited before",
        "falls from 1 within the first pass",
        "as for visits_per_prompt",
    )
    TIED = (
        "frac_tied_at_cut",
        "share of the chosen prompts that tie with one left out",
        "low: where all tie, the choice is random",
        "as for visits_per_prompt",
    )
    FEATURE_GAIN = (
        "feature_gain",
        "share of the variance of success rates that lies between the kinds that features tell "
        "apart (insight with features)",
        "well above 0",
        "near 0 the features say nothing about difficulty: take others, or none",
    )
    STRENGTH = (
        "strength",
        "answers that a prediction is worth as evidence (gps)",
        "as calibration allows: it is estimated",
    )
    DIFFICULTY = (
        "target_difficulty",
        "difficulty that is aimed at, from 0 to 100 (adarft)",
        "rises as the model learns",
    )
    POOL_SHARE = (
        "frac_pool",
        "frac_pool/easy, frac_pool/hard: share of the pool that counts as such (difficulty_pools)",
        "shares that leave enough normal prompts",
        "other thresholds",
    )
    CALIBRATION = (
        "calibration",
        "mean distance of the predicted from the observed success rate",
        "below 0.2 with 8 answers, of which chance alone makes about 0.1",
        "a smaller decay or a half_life, where the model learns faster than beliefs move",
    )
    PREDICTED = (
        "success_predicted",
        "mean success rate that was predicted for the chosen prompts",
        "close to success_observed",
        "as for calibration",
    )
    OBSERVED = (
        "success_observed",
        "mean success rate that was observed",
        "near 0.5, where most groups are mixed",
    )
    ROLLOUTS = (
        "rollouts_generated",
        "answers generated, of the whole run",
        "what progress is to be held against",
    )
    UNSCORED = (
        "rollouts_unscored",
        "answers that could not be scored, of the whole run",
        "0",
        "look at the reward function's errors in the log",
    )
    IN_FLIGHT = (
        "groups_out",
        "groups that were dealt and are not back yet",
        "0 where rollouts end within the step; steady where they come late",
        "when it grows, rollouts are too slow for the training",
    )
    INCOMPLETE = (
        "groups_incomplete",
        "groups closed with answers missing, of the whole run",
        "0",
        "a larger max_staleness, or fewer prompts at once",
    )
    LOST_HARD = (
        "lost_hard",
        "groups closed with answers missing that were believed to be solved in less than 1/3 of "
        "the tries, of the whole run",
        "the three lost_ alike: losing the hard ones alone tilts the training to easy ones",
        "hard prompts have long answers: a larger max_staleness",
    )
    LOST_MIDDLE = "lost_middle", "the same of those believed to be in between", "see lost_hard"
    LOST_EASY = "lost_easy", "the same of those believed above 2/3", "see lost_hard"
    DUPLICATE = (
        "rollouts_duplicate",
        "answers that came twice and were ignored, of the whole run",
        "0",
        "look for results that are sent again",
    )
    STALENESS_MEAN = (
        "staleness_mean",
        "steps between a group's choice and its result, mean",
        "small",
        "a half_life, so that old evidence fades",
    )
    STALENESS_MAX = (
        "staleness_max",
        "steps between a group's choice and its result, largest",
        "at most max_staleness",
    )
    SELECTION_MS = (
        "selection_ms",
        "milliseconds of choosing the step's prompts",
        "a small share of step_ms",
        "see docs/kernel.md",
    )
    OBSERVATION_MS = (
        "observation_ms",
        "milliseconds of taking in the step's results",
        "a small share of step_ms",
    )
    GENERATED = (
        "groups_generated",
        "groups that were rolled out whole in the step (filters)",
        "close to groups_trained",
        "a filter that asks for less, or a strategy that meets it more often",
    )
    PASSED = "filter_passed", "groups of the step that pass (filters)", "as groups_trained"
    TRAINED = (
        "groups_trained",
        "groups that the step trains on (filters)",
        "the step's prompts",
        "more batches (max_batches), or a milder filter",
    )
    KEPT = (
        "frac_groups_kept",
        "share of the prompts rolled out whose groups are trained on (filters)",
        "high: everything else was paid for and dropped",
        "as for groups_generated",
    )
    REFILLS = (
        "refills",
        "generation batches of the step beyond the first (filters)",
        "0, or few",
        "as for groups_generated",
    )
    FILTER_ROLLOUTS = (
        "filter_rollouts",
        "answers generated in the step, those of prompts given up among them (filters)",
        "close to groups_trained times the answers of a group",
        "as for groups_generated",
    )
    DEFERRED = ("deferred_prompts", "prompts that come back later (pilot_commit)", "steady")
    MEMORY = (
        "memory_prompts",
        "prompts that are kept to be trained on again (vcrl)",
        "steady",
    )
    REFILL_MS = (
        "refill_selection_ms",
        "milliseconds of choosing the prompts of refills (filters)",
        "a small share of step_ms",
        "see docs/kernel.md",
    )
    STEP_MS = (
        "step_ms",
        "milliseconds of the whole step, evaluation not counted",
        "steady",
    )
    TRAIN_SECONDS = (
        "train_seconds",
        "seconds of all steps, of the whole run",
        "what progress is to be held against",
    )
    ACCURACY = (
        "val_accuracy",
        "share of held-out prompts answered correctly; val_accuracy/KIND of one kind",
        "grows: this is the progress",
        "compare with a run of uniform at the same rollouts",
    )


PREFIX = "selection/"


def logged(name: str) -> str:
    """The name that a metric of the loop is logged by; the held-out accuracy keeps its own."""
    return name if name.startswith(Metric.ACCURACY) else f"{PREFIX}{name}"


def as_returned(name: str) -> str:
    """A logged metric's own name again; logs of earlier versions have it without the prefix."""
    return name.removeprefix(PREFIX)


TOTALS = frozenset(
    {
        Metric.ROLLOUTS,
        Metric.UNSCORED,
        Metric.WASTED,
        Metric.LOST_HARD,
        Metric.LOST_MIDDLE,
        Metric.LOST_EASY,
        Metric.INCOMPLETE,
        Metric.DUPLICATE,
        Metric.TRAIN_SECONDS,
    }
)
"""What counts over the whole run: the latest of several steps says it all."""


def to_log(steps: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The metrics of one step or several as a trainer logs them: means over those that have them.

    Examples:
        >>> to_log([{Metric.MIXED: 0.2, Metric.ROLLOUTS: 64}, {Metric.ROLLOUTS: 128}])
        {'selection/frac_mixed': 0.2, 'selection/rollouts_generated': 128}
    """
    found: dict[str, list[float]] = {}
    for metrics in steps:
        for name, value in metrics.items():
            found.setdefault(logged(name), []).append(value)
    totals = {logged(name) for name in TOTALS}
    return {name: values[-1] if name in totals else fmean(values) for name, values in found.items()}
