"""GRPO with rollouts by the real vLLM."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("vllm", reason="needs vLLM: make test-vllm sets it up")

from lightning_integration import PromptDataModule, PromptSelectionCallback
from lightning_integration.demo.model import make_model, make_tokenizer
from lightning_integration.demo.tasks import make_pools, make_task
from lightning_integration.demo.warm_start import WarmStart, teach
from lightning_integration.grpo.module import GRPOModule
from lightning_integration.grpo.rewards import reasoning_gym_score
from lightning_integration.rollouts import Sampling
from lightning_integration.trainer import Callback, Trainer

STEPS = 50


class Watch(Callback):
    """The metrics of every step."""

    def __init__(self):
        self.steps = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        names = ("sync_ms", "check_ms", "selection/step_ms", "logprob_difference", "clip_fraction")
        self.steps.append({name: float(trainer.callback_metrics[name]) for name in names})
        self.steps[-1] |= {
            name: float(value)
            for name, value in trainer.callback_metrics.items()
            if name == "rollout_logprob_difference"
        }


@pytest.fixture(scope="module")
def started():
    """A model that copies numbers right about every third time, its tokenizer and the pools.

    Copying, one of the tasks of configs/addition.yaml, carries over to other numbers soonest.
    """
    task = make_task("arithmetic")
    tokenizer = make_tokenizer(task.alphabet)
    model = make_model(tokenizer, width=128, feed_forward=128)
    settings = WarmStart("arithmetic", mastery={"number": 1.0}, steps=65, learning_rate=4e-3)
    teach(model, tokenizer, task, settings, seed=0)
    return model, tokenizer, *make_pools("arithmetic", {"number": 2000}, {"number": 200}, seed=0)


def accuracy(module, pool):
    """Share of right answers in 16 draws for each prompt."""
    prompts = [pool[i] for i in range(len(pool))]
    rollouts = module._generate(prompts, 16, Sampling(8, seed=1))
    rewards = [
        reasoning_gym_score(prompts[row // 16], text) == 1
        for row, text in enumerate(rollouts.texts)
    ]
    return sum(rewards) / len(rewards)


def fit(module, pool, steps):
    watch = Watch()
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        callbacks=[PromptSelectionCallback(), watch],
    )
    trainer.fit(module, datamodule=PromptDataModule(pool, "insight", None, 32, steps))
    return watch.steps


def grpo(model, tokenizer, **options):
    return GRPOModule(
        model,
        tokenizer,
        engine="vllm",
        engine_options={"enforce_eager": True, "max_model_len": 128},
        reward="reasoning_gym",
        max_new_tokens=8,
        learning_rate=2e-4,
        **options,
    )


def test_fifty_steps_learn_what_carries_over_to_held_out_prompts(started):
    model, tokenizer, pool, held_out = started
    module = grpo(model, tokenizer)
    before = accuracy(module, held_out)
    steps = fit(module, pool, STEPS)
    after = accuracy(module, held_out)
    total = sum(step["selection/step_ms"] for step in steps[1:])
    shares = [sum(step[name] for step in steps[1:]) / total for name in ("sync_ms", "check_ms")]
    print(
        f"\nheld-out accuracy {before:.3f} -> {after:.3f} in {len(steps)} steps of "
        f"{total / (len(steps) - 1):.0f} ms; of a step, sync {shares[0]:.1%}, check {shares[1]:.1%}"
    )
    assert len(steps) == STEPS
    assert max(step["logprob_difference"] for step in steps) < 1e-4
    assert after > before + 0.1


def test_recomputed_log_probabilities_agree_with_the_engines(started):
    model, tokenizer, pool, _ = started
    module = grpo(model, tokenizer, old_logprobs="recomputed", updates_per_batch=2)
    head = model.lm_head.weight.detach().clone()
    steps = fit(module, pool, 2)
    assert 0 < max(step["rollout_logprob_difference"] for step in steps) < 1e-4
    assert not torch.equal(model.lm_head.weight, head)
