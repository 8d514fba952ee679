"""A small model's first skill, from demonstrations.

Supervised steps on partly wrong demonstrations, since reinforcement learning sharpens a skill that
a model shows now and then. Demonstrations that are right about some kinds and seldom right about
others leave such a model: sure of the easy kinds, sometimes right on the middle ones, lost on the
rest.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import math
import random
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import yaml
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from insight_ext import ArgumentError, InsightError
from lightning_integration.demo.model import make_model, make_tokenizer
from lightning_integration.demo.tasks import Task, make_task


@dataclass(frozen=True)
class WarmStart:
    """How a model is made and taught.

    Args:
        task: a name in `tasks.TASKS`.
        mastery: per kind, the probability that a demonstration is right by intent.
        shares: per kind, its weight among the demonstrations; 1 where a kind is not named.
        model: options of `make_model`.
        steps, batch_size, learning_rate: of the supervised steps (AdamW, cosine).
    """

    task: str
    mastery: Mapping[str, float]
    shares: Mapping[str, float] = field(default_factory=dict)
    model: Mapping[str, int] = field(default_factory=dict)
    steps: int = 1000
    batch_size: int = 64
    learning_rate: float = 6e-3

    def __post_init__(self) -> None:
        unknown = sorted({*self.mastery, *self.shares} - set(make_task(self.task).kinds))
        if unknown:
            raise ArgumentError(f"warm start: {self.task} has no kinds {', '.join(unknown)}")


def model_folder(settings: WarmStart, seed: int, cache: Path) -> Path:
    """Where in `cache` the model of these settings and this seed is kept."""
    text = json.dumps([asdict(settings), seed], sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return cache / f"{settings.task}-{seed}-{digest}"


def warm_started_model(
    settings: WarmStart,
    seed: int,
    cache: Path,
    on_step: Callable[[float], None] = lambda loss: None,
) -> Path:
    """The folder of a warm-started model; made if no run has made it before.

    Of several runs that make it at once, the first that is done gives the folder its name.

    Args:
        settings, seed: what the model depends on.
        cache: folder of such folders.
        on_step: called after each supervised step with its loss, in nats.

    Determinism: a function of settings and seed on one machine with one thread count.
    """
    folder = model_folder(settings, seed, cache)
    if folder.exists():
        return folder
    task = make_task(settings.task)
    tokenizer = make_tokenizer(task.alphabet)
    model = make_model(tokenizer, seed=seed, **settings.model)
    teach(model, tokenizer, task, settings, seed, on_step)
    cache.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{folder.name}-", dir=cache) as place:
        unfinished = Path(place, "model")
        model.save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
        try:
            unfinished.rename(folder)
        except OSError:
            if not folder.exists():  # else another run was first, with the same model
                raise
    return folder


def teach(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    settings: WarmStart,
    seed: int,
    on_step: Callable[[float], None] = lambda loss: None,
) -> None:
    """Train the model in place on flawed demonstrations."""
    rng = random.Random(seed)
    optimizer = torch.optim.AdamW(
        model.parameters(), settings.learning_rate, betas=(0.9, 0.98), weight_decay=0.01
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(1, (step + 1) / 50) * (1 + math.cos(math.pi * step / settings.steps)) / 2,
    )
    model.train()
    for _ in range(settings.steps):
        tokens, labels = _demonstrations(tokenizer, task, settings, rng)
        logits = model(input_ids=tokens, attention_mask=tokens != tokenizer.pad_token_id).logits
        loss = functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        on_step(loss.item())


def _demonstrations(
    tokenizer: PreTrainedTokenizerBase, task: Task, settings: WarmStart, rng: random.Random
) -> tuple[Tensor, Tensor]:
    """A batch of tokens, prompts padded on the left, and the labels of their completions."""
    kinds = list(settings.mastery)
    weights = [settings.shares.get(kind, 1.0) for kind in kinds]
    drawn = rng.choices(kinds, weights, k=settings.batch_size)
    pairs = [task.demonstration(kind, settings.mastery[kind], rng) for kind in drawn]
    prompts = tokenizer([prompt for prompt, _ in pairs], padding=True, return_tensors="pt")
    answers = tokenizer(
        [answer + tokenizer.eos_token for _, answer in pairs],
        padding=True,
        padding_side="right",
        return_tensors="pt",
    )
    tokens = torch.cat((prompts.input_ids, answers.input_ids), dim=1)
    known = torch.cat((torch.zeros_like(prompts.attention_mask), answers.attention_mask), dim=1)
    return tokens, tokens.masked_fill(known == 0, -100)


def main(arguments: list[str] | None = None) -> int:
    """The command; an InsightError becomes one line on standard error and exit status 2."""
    parser = argparse.ArgumentParser("lightning_integration.demo.warm_start", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="the experiment's YAML file")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--models", type=Path, default=Path("runs/models"), help="where it goes")
    parser.add_argument(
        "--metrics", type=Path, default=Path("metrics.csv"), help="steps and losses"
    )
    asked = parser.parse_args(arguments)
    try:
        settings = WarmStart(**yaml.safe_load(asked.config.read_text())["warm_start"])
        with asked.metrics.open("w", newline="", buffering=1) as file:
            rows = csv.writer(file)
            rows.writerow(["step", "loss"])
            steps = iter(range(settings.steps))
            folder = warm_started_model(
                settings, asked.seed, asked.models, lambda loss: rows.writerow([next(steps), loss])
            )
    except InsightError as error:
        print(f"warm start: {error}", file=sys.stderr)
        return 2
    print(folder)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
