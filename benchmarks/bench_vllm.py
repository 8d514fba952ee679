"""`make bench-vllm`: how long weight sync and self-check take beside rollouts, as shares of a step.

Appends a line per model to results/vllm.jsonl. The models have random weights; rollouts have
their full length, so that the work of a step is known.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from statistics import median
from time import perf_counter
from typing import Any

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")

import torch

from benchmarks.timing import RESULTS, processor
from insight_ext import Prompt, PromptPool
from lightning_integration import PromptDataModule, PromptSelectionCallback
from lightning_integration.demo.model import make_model, make_tokenizer
from lightning_integration.grpo.module import GRPOModule
from lightning_integration.trainer import Callback, Trainer

STEPS, WARM_UP = 50, 5
PROMPTS, ROLLOUTS, TOKENS = 16, 8, 32
# width, layers
MODELS = [(128, 2), (512, 4)]


class Times(Callback):
    """The times that each step logs."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        names = ("selection/step_ms", "sync_ms", "check_ms", "logprob_difference")
        self.steps.append({name: float(trainer.callback_metrics[name]) for name in names})


def measure(width: int, layers: int, dtype: str) -> dict[str, Any]:
    """Train a fresh model for `STEPS` steps; medians, and shares of the steps' time in total."""
    tokenizer = make_tokenizer("0123456789+=")
    model = make_model(
        tokenizer, width=width, layers=layers, heads=width // 64, feed_forward=2 * width
    )
    options = {"enforce_eager": True, "max_model_len": 128, "dtype": dtype}
    module = GRPOModule(
        model,
        tokenizer,
        engine="vllm",
        engine_options=options,
        reward=lambda prompt, completion: float(completion[:1] in tuple("01234")),
        rollouts=ROLLOUTS,
        max_new_tokens=TOKENS,
    )
    pool = PromptPool(Prompt(f"p{i}", f"{i}+{i}=", str(2 * i)) for i in range(1000))
    times = Times()
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        callbacks=[PromptSelectionCallback(), times],
    )
    trainer.fit(module, datamodule=PromptDataModule(pool, "insight", None, PROMPTS, STEPS))
    steps = times.steps[WARM_UP:]
    medians = {name: median(step[name] for step in steps) for name in steps[0]}
    total = sum(step["selection/step_ms"] for step in steps)
    shares = {
        name.replace("_ms", "_share"): sum(step[name] for step in steps) / total
        for name in ("sync_ms", "check_ms")
    }
    parameters = sum(weight.numel() for weight in model.parameters())
    return {
        "parameters": parameters,
        "dtype": dtype,
        **medians,
        **shares,
        "steps": len(steps),
        "prompts": PROMPTS,
        "rollouts": ROLLOUTS,
        "tokens": TOKENS,
    }


def main() -> None:
    started = perf_counter()
    with (RESULTS / "vllm.jsonl").open("a") as file:
        for width, layers in MODELS:
            for dtype in ("float32", "bfloat16"):
                figures = measure(width, layers, dtype)
                about = {
                    "at": datetime.now(UTC).isoformat(timespec="seconds"),
                    "processor": processor(),
                    "threads": torch.get_num_threads(),
                }
                file.write(json.dumps(about | figures) + "\n")
                size = figures["parameters"] / 1e6
                print(
                    f"{size:5.1f} M {dtype:9} step {figures['step_ms']:7.1f} ms, "
                    f"sync {figures['sync_ms']:6.1f} ms ({figures['sync_share']:.1%}), "
                    f"check {figures['check_ms']:6.1f} ms ({figures['check_share']:.1%}), "
                    f"difference {figures['logprob_difference']:.1e} nats",
                    flush=True,
                )
    print(f"{perf_counter() - started:.0f} s; recorded in {RESULTS / 'vllm.jsonl'}")


if __name__ == "__main__":
    main()
