"""docs/metrics.md, from the one source of names: `python -m insight_ext.runs.glossary`."""

from __future__ import annotations

from insight_ext.runs.layout import Metric, logged

HEAD = """# Metrics

What a run logs about its selection: W&B, TensorBoard and `metrics.csv` have the same names. A
`SelectionLoop` returns them without the prefix. Shares are in [0, 1]. What is "of the whole run"
is a sum so far, everything else is of the step under which it stands. `learnable`, `saturated`,
`hopeless` and `unvisited` are there where the pool was looked at: in Lightning whenever something
is logged, elsewhere after the first step and after every `history_every` steps.

Steps are numbered from 0, as Lightning does it, in every file and log and by `loop.step`. Where a
text says "50 steps" it counts: "after 50 steps" is after the step number 49. TRL and verl log by
counts.

This page is written by `python -m insight_ext.runs.glossary > docs/metrics.md`.

| name | what it is | what is good | what to do |
| --- | --- | --- | --- |
"""
TAIL = """
Two tables are logged beside them, to W&B and TensorBoard, every `history_every` steps:
`selection/samples`, answers of the latest step from the worst to the best, and `selection/prompts`,
the prompts never solved, the hardest of the others, and the most improved, with ids and texts.
`samples.jsonl` in the run's folder has answers of every step, and of each prompt that was mostly
failed its text, its key and, where the trainer told texts, an answer.

What only some runs log has the name of who logs it in brackets: a strategy, a filter, all filters.

`GRPOModule` also logs its own training, without the prefix:

| name | what it is |
| --- | --- |
| `loss`, `gradient_norm` | of the latest update; the norm before it is clipped |
| `clip_fraction` | share of tokens whose probability ratio was outside the clip range |
| `completion_length` | tokens of an answer, mean |
| `frac_truncated` | share of answers that ran out of room |
| `reward/NAME` | of several rewards, the mean of each over what is trained on |
| `rollout_logprob_difference` | mean distance of the engine's log-probabilities, nats |
| `sync_ms`, `check_ms` | milliseconds of handing the weights to vLLM, and of checking them |
| `logprob_difference` | of that check: distance of vLLM's log-probabilities, nats |
"""


def glossary() -> str:
    """The page."""
    rows = (
        f"| `{logged(each)}` | {each.meaning} | {each.good} | {each.advice} |\n" for each in Metric
    )
    return f"{HEAD}{''.join(rows)}{TAIL}"


if __name__ == "__main__":
    print(glossary(), end="")
