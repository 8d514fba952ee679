"""How the fields of prompts and logs are called, here and in the formats that others write.

The first name that a file has is taken. A dot leads into a nested field.
"""

from __future__ import annotations

from collections.abc import Iterable

from insight_ext.data.table import DataFile

# Names of the prompt itself; a number that only counts rows is no such name.
ID = ("id", "prompt_id", "unique_id", "problem_id", "question_id", "task_id")
ROW_NUMBER = ("extra_info.index", "example_id", "index", "doc_id")
PROMPT = ("prompt", "question", "problem", "messages", "query", "input", "instruction")
ANSWER = (
    "answer",
    "reward_model.ground_truth.target",
    "reward_model.ground_truth",
    "ground_truth",
    "final_answer",
    "expected_answer",
    "golden_answers",
    "answers",
    "target",
    "gold",
    "gts",
    "solution",
)

# Of a log with a row for each completion. lm-eval's prompts are its requests' first arguments.
LOGGED_PROMPT = (*PROMPT, "arguments.gen_args_0.arg_0")
COMPLETION = ("completion", "output", "response", "completions", "outputs", "responses", "resps")
REWARD = ("reward", "rewards", "score", "scores", "acc", "correct", "is_correct", "exact_match")
STEP = ("step", "global_step", "training_step")


def find(file: DataFile, names: Iterable[str]) -> str | None:
    """The first of these names that a file has."""
    return next((name for name in names if file.has(name)), None)
