"""`insight-ext demo`: what choosing prompts is and what it saves, in a minute, without a model."""

from __future__ import annotations

import argparse
import sys

import torch

from insight_ext.beliefs.pool import PromptPool
from insight_ext.cli.tables import aligned, check_folder
from insight_ext.data.prompt import Prompt
from insight_ext.loop import SelectionLoop
from insight_ext.progress import counter
from insight_ext.simulate.compare import Setting, compare, overview
from insight_ext.simulate.figures import write_figures
from insight_ext.simulate.learners import make_learner

LEARNER = "deepscaler"  # its prompts are as hard as those of a real data set were measured to be
POOLS = (2_000, 40_000)
SEEDS = 3
ROLLOUTS = 8

RECIPES = """\
In a loop of your own:

    loop = SelectionLoop(PromptPool.from_file("prompts.jsonl"), "insight", rollouts=8)
    for group, position, prompt in loop.deal(16):     # every step: the prompts to answer now
        loop.report(group, rewards_of(prompt))        # eight rewards
    metrics = loop.end_step()

In TRL, before trainer.train():

    from insight_ext.adapters.trl import select_prompts
    select_prompts(trainer, "insight")

In Lightning, with what your training_step returns as {"loss": ..., "rewards": ...}:

    data = PromptDataModule("prompts.jsonl", "insight", prompts_per_step=16)
    Trainer(callbacks=[PromptSelectionCallback()]).fit(module, datamodule=data)

In verl, from its dump of past answers (trainer.rollout_data_dir), the next prompts as a file:

    insight-ext rank --log rollouts --pool train.parquet --top 4096 --output next.parquet
"""


def run(options: argparse.Namespace) -> None:
    """Show a loop, compare it with random sampling, draw one figure, and say what to write."""
    check_folder(options.output)
    print(
        "A loop that learns which prompts a model can learn from now: 2,000 prompts, 16 a step.\n"
    )
    _watch_a_loop()
    print(
        f"\nWhat that saves: steps to the skill at which random sampling ends, as a share of its.\n"
        f"Learner {LEARNER}, 100 steps of 256 prompts, {SEEDS} seeds. oracle knows every true "
        "success rate.\n"
    )
    settings = [Setting(LEARNER, pool) for pool in POOLS]
    rows, trials = compare(settings, ["insight"], SEEDS, on_trial=counter("demo", "trials"))
    print(aligned(overview(rows)))
    print(
        "\nOf 40,000 prompts none is visited twice in 100 steps, so beliefs about single prompts "
        "tell\nnothing yet: there a prior or features of the texts help.\n"
    )
    options.output.mkdir(parents=True, exist_ok=True)
    small = settings[0]
    figures = write_figures(
        [row for row in rows if row.pool == small.pool],
        {key: value for key, value in trials.items() if key[0] == small},
        options.output,
    )
    print(f"The skill's climb, with {small.pool:,} prompts: {figures[-1]}\n")
    sys.stdout.write(RECIPES)


def _watch_a_loop() -> None:
    """A few steps of a loop, printed."""
    learner = make_learner(LEARNER, prompts=POOLS[0])
    pool = PromptPool(Prompt(f"prompt-{i}", f"{i}", "") for i in range(POOLS[0]))
    loop = SelectionLoop(pool, "insight", rollouts=ROLLOUTS)
    random = torch.Generator().manual_seed(0)
    lines = [
        "| step | mixed groups | at random | true success rate of the chosen | prompts visited |",
        "| --- | --- | --- | --- | --- |",
    ]
    mixed = 0.0
    for step in range(1, 401):
        dealt = loop.deal(16)
        chosen = torch.tensor([each.position for each in dealt])
        rate = float(learner.success_rate(chosen.numpy()).mean())
        successes = learner.train(chosen, ROLLOUTS).tolist()
        for each, right in zip(dealt, successes, strict=True):
            loop.report(each.group, [1.0] * right + [0.0] * (ROLLOUTS - right))
        metrics = loop.end_step()
        mixed += metrics["frac_mixed"] / 100
        if step % 100 == 0:
            drawn = torch.randint(len(pool), (1600,), generator=random).numpy()
            p = learner.success_rate(drawn)
            usual = float((1 - p**ROLLOUTS - (1 - p) ** ROLLOUTS).mean())
            visited = int((learner.visits > 0).sum())
            lines.append(f"| {step} | {mixed:.0%} | {usual:.0%} | {rate:.2f} | {visited:,} |")
            mixed = 0.0
    print(aligned("\n".join(lines)))
    print("\nat random: of groups of the same learner at the same step, drawn from the whole pool")
