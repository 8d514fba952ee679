"""GRPO on a pretrained model, prompts chosen by several strategies, paired by seed.

    python -m benchmarks.evidence --task arithmetic --seeds 0,1,2,3,4 --folder runs/evidence

One arm and seed after the other, all arms of a seed first. A finished run is not made again, one
that was stopped starts anew. `insight-ext report FOLDER/TASK` draws the results.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from transformers.utils import logging

from benchmarks.evidence.policy import Policy, prepare
from benchmarks.evidence.pools import TASKS, problems
from insight_ext import ArgumentError, Group, InsightError, Prompt, PromptPool, SelectionLoop
from insight_ext.atomic_file import write_atomically
from insight_ext.progress import STOPPED, end_program
from insight_ext.runs.facts import write_facts
from insight_ext.runs.layout import METRICS_FILE, Metric

Arm = dict[str, Any]  # selector, selector_options and filter of a `SelectionLoop`
ARMS: dict[str, Arm] = {
    "random": {"selector": "uniform"},
    "insight": {"selector": "insight"},
    "insight (paper)": {
        "selector": "insight",
        "selector_options": {"decay": 1.0, "candidate_ratio": 16},
    },
    "insight (features)": {
        "selector": "insight",
        "selector_options": {"features": "meta:kind"},
    },
    "insight (features, a quarter random)": {
        "selector": "insight",
        "selector_options": {"features": "meta:kind", "exploration": 0.25},
    },
    "mopps": {"selector": "mopps"},
    "random, dynamic sampling": {"selector": "uniform", "filter": "dynamic_sampling"},
    "insight (features), dynamic sampling": {
        "selector": "insight",
        "selector_options": {"features": "meta:kind"},
        "filter": "dynamic_sampling",
    },
}
SETTINGS = {
    "steps": 30,
    "prompts_per_step": 8,
    "rollouts": 8,
    "learning_rate": 1e-5,
    "pool_of_each_kind": 12,
    "held_out_of_each_kind": 16,
    "evaluate_every": 3,
}


def run(
    folder: Path, model: Path, task: str, arm: str, seed: int, settings: dict[str, Any]
) -> None:
    """Train one arm with one seed, from the same weights and on the same prompts as the others.

    Raises:
        ArgumentError: the folder has a run of other settings.
    """
    present = {"task": task, "arm": ARMS[arm], "seed": seed, **settings}
    text = json.dumps(present, indent=1) + "\n"
    about = folder / "settings.json"
    if about.exists() and about.read_text() != text:
        kept = json.loads(about.read_text())
        names = [name for name in {**kept, **present} if kept.get(name) != present.get(name)]
        each = ", ".join(f"{name} {kept.get(name)} (now {present.get(name)})" for name in names)
        raise ArgumentError(
            f"{about}: expected the settings that the run began with, {each}; "
            "give those, or choose another folder"
        )
    if (folder / "finished").exists():
        return
    write_atomically(about, lambda beside: beside.write_text(text))
    write_facts(folder)
    (folder / METRICS_FILE).unlink(missing_ok=True)
    pool, held_out = problems(
        task, settings["pool_of_each_kind"], settings["held_out_of_each_kind"], seed
    )
    describe(folder.parent, pool, held_out)
    torch.manual_seed(seed)
    sampling = torch.Generator().manual_seed(seed)
    policy = Policy(model, TASKS[task].examples, TASKS[task].tokens, settings["learning_rate"])
    loop = SelectionLoop(
        PromptPool(pool), rollouts=settings["rollouts"], seed=seed, folder=folder, **ARMS[arm]
    )
    seconds = 0.0
    rows = [{"step": -1, Metric.ROLLOUTS: 0.0, **_evaluated(policy, held_out)}]
    for step in range(settings["steps"]):
        start = perf_counter()
        trained = _step(loop, policy, settings["prompts_per_step"], sampling)
        metrics = loop.end_step()
        spent = perf_counter() - start
        seconds += spent
        row = {"step": step, **metrics, "groups_trained": trained}
        row |= {Metric.STEP_MS: 1e3 * spent, Metric.TRAIN_SECONDS: seconds}
        row |= {"tokens_read": policy.read, "tokens_written": policy.written}
        if (step + 1) % settings["evaluate_every"] == 0:
            row |= _evaluated(policy, held_out)
            print(
                f"{folder.name}: step {step + 1} of {settings['steps']}, held-out "
                f"{row[Metric.ACCURACY]:.3f}, {seconds / (step + 1):.1f} s a step",
                flush=True,
            )
        rows.append(row)
    loop.close()
    columns = list(dict.fromkeys(str(name) for row in rows for name in row))
    with (folder / METRICS_FILE).open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    (folder / "finished").touch()


def describe(folder: Path, pool: Sequence[Prompt], held_out: Sequence[Prompt]) -> None:
    """Write experiment.json: the arms, and how many prompts each kind has."""

    def counts(prompts: Sequence[Prompt]) -> dict[str, int]:
        return dict(Counter(str(prompt.meta["kind"]) for prompt in prompts))

    about = {"pool": counts(pool), "held_out": counts(held_out), "arms": ARMS}
    text = json.dumps(about, indent=1) + "\n"
    write_atomically(folder / "experiment.json", lambda beside: beside.write_text(text))


def _step(loop: SelectionLoop, policy: Policy, target: int, sampling: torch.Generator) -> int:
    """Roll out and train on the mixed groups; returns how many they were."""
    prompts: list[Prompt] = []
    answers: list[torch.Tensor] = []
    batches: list[list[Group]] = []
    wanted = target
    while True:
        dealt = loop.deal(wanted)
        new = policy.answer([each.prompt for each in dealt], loop.rollouts, sampling)
        rewards = policy.rewards([each.prompt for each in dealt], new)
        for each, row in zip(dealt, rewards, strict=True):
            loop.report(each.group, row)
        prompts += [each.prompt for each in dealt]
        answers += list(new)
        batches.append(
            [Group(each.position, tuple(row)) for each, row in zip(dealt, rewards, strict=True)]
        )
        groups = [group for batch in batches for group in batch]
        train = list(range(len(groups)))
        if loop.filter is not None:
            verdict = loop.filter.judge(batches, target)
            if not verdict.settled:
                wanted = verdict.wanted
                continue
            train = verdict.train
        mixed = [i for i in train if groups[i].is_mixed(loop.threshold)]
        if mixed:
            policy.learn(
                [prompts[i] for i in mixed],
                torch.stack([answers[i] for i in mixed]),
                torch.tensor([groups[i].rewards for i in mixed]),
            )
        return len(mixed)


def _evaluated(policy: Policy, held_out: Sequence[Prompt]) -> dict[str, float]:
    """Held-out success rates, of all kinds alike and of each: exact, without sampling."""
    kinds: dict[str, list[float]] = defaultdict(list)
    for prompt, rate in zip(held_out, policy.success_rates(held_out).tolist(), strict=True):
        kinds[str(prompt.meta["kind"])].append(rate)
    means = {name: sum(rates) / len(rates) for name, rates in kinds.items()}
    each = {f"{Metric.ACCURACY}/{name}": mean for name, mean in means.items()}
    return {Metric.ACCURACY: sum(means.values()) / len(means), **each}


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="benchmarks.evidence", description=__doc__)
    parser.add_argument("--task", choices=TASKS, default="arithmetic")
    parser.add_argument("--arms", default=";".join(ARMS), help="some of them, separated by ;")
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--folder", type=Path, default=Path("runs/evidence"))
    parser.add_argument("--threads", type=int, default=1, help="results depend on it (1)")
    for name, value in SETTINGS.items():
        parser.add_argument(f"--{name}", type=type(value), default=value)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    settings = {name: getattr(options, name) for name in SETTINGS} | {"threads": options.threads}
    try:
        model = prepare(options.folder / "model")
        for seed in map(int, options.seeds.split(",")):
            for arm in options.arms.split(";"):
                folder = options.folder / options.task / f"{arm}-seed{seed}"
                run(folder, model, options.task, arm, seed, settings)
    except InsightError as error:
        print(f"benchmarks.evidence: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; what is finished is kept, and the same command goes on", file=sys.stderr)
        return STOPPED
    return 0


if __name__ == "__main__":
    end_program(main())
