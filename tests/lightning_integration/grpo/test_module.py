from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from insight_ext import ArgumentError, EngineError, ObservationError, Prompt, PromptPool
from lightning_integration import PromptDataModule, PromptSelectionCallback
from lightning_integration.demo.model import make_model, make_tokenizer
from lightning_integration.grpo.module import GRPOModule
from lightning_integration.rollouts import Sampling, TransformersEngine
from lightning_integration.trainer import Callback, Trainer

TOKENIZER = make_tokenizer("0123456789+=")


def starts_with_a_small_digit(prompt, completion):
    return float(completion[:1] in tuple("01234"))


def module(**options):
    settings = {
        "reward": starts_with_a_small_digit,
        "rollouts": 8,
        "max_new_tokens": 2,
        "learning_rate": 3e-3,
        "validation_temperature": 1.0,
    }
    model = make_model(TOKENIZER, layers=1, heads=1, feed_forward=64)
    return GRPOModule(model, TOKENIZER, **settings | options)


def prompts(count, name):
    return PromptPool(
        Prompt(f"{name}{i}", f"{i}+1=", str(i + 1), {"kind": "odd" if i % 2 else "even"})
        for i in range(count)
    )


def fit(module, steps, tmp_path, callbacks=(), **options):
    data = PromptDataModule(
        prompts(12, "train"), "uniform", None, 4, steps, validation=prompts(6, "test")
    )
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=tmp_path,
        callbacks=[PromptSelectionCallback(), *callbacks],
        **{"log_every_n_steps": 1, **options},
    )
    trainer.fit(module, datamodule=data)
    return trainer


class Rewards(Callback):
    def __init__(self):
        self.means = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.means.append(float(outputs["rewards"].mean()))


def test_training_raises_the_reward(tmp_path):
    rewards = Rewards()
    fit(module(), 30, tmp_path, [rewards])
    assert sum(rewards.means[-5:]) / 5 > rewards.means[0] + 0.3


def test_leaving_out_groups_without_signal_changes_nothing(tmp_path):
    class Everything(GRPOModule):
        """Groups without signal take part in the backward pass."""

        def _update(self, rollouts, advantages, weights):
            everywhere = torch.where(advantages == 0, 1e-30, advantages)
            return super()._update(rollouts, everywhere, weights)

    def half_of_the_groups(prompt, completion):
        return starts_with_a_small_digit(prompt, completion) * (prompt.meta["kind"] == "odd")

    lean = module(reward=half_of_the_groups)
    full = deepcopy(lean)
    full.engine.model = full.model
    full.__class__ = Everything
    for one in (lean, full):
        fit(one, 3, tmp_path)
    for name, value in lean.model.named_parameters():
        torch.testing.assert_close(value, full.model.get_parameter(name), atol=1e-5, rtol=1e-4)


def test_equal_seeds_give_equal_weights(tmp_path):
    first, again, other = module(seed=1), module(seed=1), module(seed=2)
    for one in (first, again, other):
        fit(one, 2, tmp_path)
    weights = [one.model.lm_head.weight for one in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_several_updates_move_further_and_clip(tmp_path):
    one, several = module(), module(updates_per_batch=4, clip_low=0.01, clip_high=0.01)
    start = one.model.lm_head.weight.detach().clone()
    fit(one, 2, tmp_path)
    trainer = fit(several, 2, tmp_path)
    assert trainer.callback_metrics["clip_fraction"] > 0
    assert trainer.global_step == 8
    moved = [(each.model.lm_head.weight - start).norm() for each in (one, several)]
    assert moved[1] > 1.2 * moved[0]


def test_frozen_parameters_stay_as_they_are(tmp_path):
    partly = module(weight_decay=0.5)
    frozen = partly.model.model.layers[0].mlp.requires_grad_(False).up_proj.weight
    start = frozen.detach().clone()
    head = partly.model.lm_head.weight.detach().clone()
    fit(partly, 2, tmp_path)
    assert torch.equal(frozen, start)
    assert frozen.grad is None
    assert not torch.equal(partly.model.lm_head.weight, head)


def test_the_first_update_of_a_batch_clips_nothing(tmp_path):
    trainer = fit(module(), 1, tmp_path)
    assert trainer.callback_metrics["clip_fraction"] == 0


def test_small_passes_add_up_to_the_large_one(tmp_path):
    whole, parts = module(), module(groups_per_pass=1, share_prompts=False)
    for one in (whole, parts):
        fit(one, 1, tmp_path)
    torch.testing.assert_close(
        whole.model.lm_head.weight, parts.model.lm_head.weight, atol=1e-4, rtol=1e-3
    )


def test_the_reference_stays_and_holds_the_policy_back(tmp_path):
    free, held = module(), module(kl_coefficient=10.0)
    start = deepcopy(held.reference.state_dict())
    for one in (free, held):
        fit(one, 10, tmp_path)
    after = held.reference.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in start.items())

    def moved(one):
        return (one.model.lm_head.weight - start["lm_head.weight"]).norm()

    assert moved(held) < 0.8 * moved(free)


def test_what_no_logger_takes_is_not_logged(tmp_path, monkeypatch):
    logged = []
    monkeypatch.setattr(GRPOModule, "log_dict", lambda self, values, **_: logged.extend(values))
    fit(module(), 7, tmp_path, log_every_n_steps=3)
    assert logged.count("loss") == logged.count("clip_fraction") == 2


def test_validation_logs_every_kind(tmp_path):
    metrics = fit(module(), 1, tmp_path).callback_metrics
    kinds = [metrics["val_accuracy/even"], metrics["val_accuracy/odd"]]
    assert metrics["val_accuracy"] == pytest.approx(sum(map(float, kinds)) / 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rollouts": 1}, "rollouts: expected a whole number of at least 2, got 1"),
        ({"rollouts": "8"}, "rollouts: expected a whole number of at least 2, got '8'"),
        ({"reward_workers": 1.5}, "reward_workers: expected a whole number of at least 1, got 1.5"),
        ({"seed": math.nan}, "seed: expected a whole number of at least 0, got nan"),
        ({"updates_per_batch": 0}, "updates_per_batch: expected a whole number of at least 1"),
        ({"temperature": 0.0}, "temperature: expected more than 0"),
        ({"max_new_tokens": 0}, "max_new_tokens: expected a whole number of at least 1, got 0"),
        ({"validation_temperature": -1.0}, "validation_temperature: expected at least 0"),
        ({"gradient_clip": 0.0}, "gradient_clip: expected more than 0"),
        ({"clip_low": 0.0}, "clip_low: expected more than 0"),
        ({"clip_low": 1.5}, "clip_low: expected at most 1, got 1.5"),
        ({"clip_high": math.nan}, "clip_high: expected more than 0"),
        ({"kl_coefficient": -0.1}, "kl_coefficient: expected at least 0"),
        ({"learning_rate": math.nan}, "learning_rate: expected at least 0, got nan"),
        ({"betas": (2, 2)}, r"betas: expected two numbers in \[0, 1\), got \(2, 2\)"),
        ({"reward": "vibes"}, "unknown reward 'vibes': expected one of"),
    ],
)
def test_bad_settings_are_named(options, message):
    with pytest.raises(ArgumentError, match=message):
        module(**options)


def test_settings_of_numpy_are_plain_numbers(tmp_path):
    settings = {"rollouts": np.int64(4), "max_new_tokens": np.int32(2), "seed": np.int64(3)}
    fit(module(**settings), 1, tmp_path)


def test_a_model_object_needs_its_tokenizer():
    with pytest.raises(ArgumentError, match="tokenizer: expected one"):
        GRPOModule(make_model(TOKENIZER, layers=1))


def test_an_answer_that_cannot_be_scored_is_worth_nan():
    chosen = module(reward=lambda prompt, completion: None)
    assert chosen._scores([Prompt("a", "?", "1")], ["2"]).isnan().all()


def test_a_reward_that_is_no_number_is_named():
    chosen = module(reward=lambda prompt, completion: "much", max_failed=0.0)
    with pytest.raises(ObservationError, match="for prompt 'a'.*expected a number or None"):
        chosen._scores([Prompt("a", "?", "1")], ["2"])


class Tampering(TransformersEngine):
    """An engine whose rollouts somebody changes on the way."""

    def __init__(self, model, change):
        super().__init__(model, TOKENIZER)
        self.change = change

    def generate(self, prompts, n, sampling):
        return self.change(super().generate(prompts, n, sampling))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: replace(r, logprobs=r.logprobs * math.nan), "finite log-probabilities"),
        (lambda r: replace(r, logprobs=None), "logprobs as a tensor, got None"),
        (lambda r: replace(r, texts=None), "texts as a list of texts, got None"),
        (lambda r: replace(r, texts=[7] * len(r.texts)), "texts as a list of texts, got .7"),
        (lambda r: replace(r, completion_ids=r.completion_ids + 99), "token ids from 0 to 13"),
        (lambda r: r.rows(torch.arange(len(r) // 2)), "32 texts, 8 for each of 4 prompts, got 16"),
    ],
)
def test_what_an_engine_returns_is_refused_before_the_update(change, message, tmp_path):
    hit = module()
    hit.engine = Tampering(hit.model, change)
    start = deepcopy(hit.model.state_dict())
    with pytest.raises(EngineError, match=f"engine Tampering: expected {message}"):
        fit(hit, 1, tmp_path)
    assert all(torch.equal(start[name], value) for name, value in hit.model.state_dict().items())


def test_messages_go_through_the_chat_template():
    tokenizer = make_tokenizer("0123456789+=")
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}={% endfor %}"
    model = make_model(tokenizer, layers=1)
    chat = GRPOModule(model, tokenizer, max_new_tokens=2, reward=lambda prompt, text: 0.0)
    prompt = Prompt("a", "1+2", "3", messages=({"role": "user", "content": "1+2"},))
    rollouts = chat._generate([prompt], 2, Sampling(max_new_tokens=2))
    assert tokenizer.batch_decode(rollouts.prompt_ids) == ["1+2=", "1+2="]
    with pytest.raises(ArgumentError, match="chat_template: expected apply or none"):
        chat._generate([Prompt("a", "1+2", "3")], 2, Sampling(max_new_tokens=2))


@pytest.mark.parametrize(
    "options",
    [
        {"loss_mean": "longest", "standardize": False},
        {"mask_truncated": True},
        {"old_logprobs": "recomputed", "importance_cap": 2.0},
        {"schedule": "cosine", "warmup": 1},
        {"gradient_checkpointing": True, "share_prompts": False},
        {"lora": {"r": 2}, "learning_rate": 0.03},
    ],
    ids=lambda options: next(iter(options)),
)
def test_an_option_of_the_update_trains(tmp_path, options):
    trained = module(**options)
    before = {name: value.clone() for name, value in trained.model.state_dict().items()}
    fit(trained, 3, tmp_path)
    moved = {n for n, v in trained.model.state_dict().items() if not torch.equal(v, before[n])}
    assert moved
    if "lora" in options:
        assert all("lora_" in name for name in moved)


def test_a_schedule_ends_at_zero(tmp_path):
    trained = module(schedule="linear", updates_per_batch=2)
    trainer = fit(trained, 3, tmp_path)
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.0)


def test_the_sum_over_the_longest_answers_is_a_smaller_loss(tmp_path):
    losses = {}
    for mean in ("tokens", "longest"):
        trained = module(loss_mean=mean, max_new_tokens=4, old_logprobs="recomputed")
        ends = []
        trained.on_train_batch_end = lambda outputs, *_, ends=ends: ends.append(outputs["loss"])
        fit(trained, 1, tmp_path)
        losses[mean] = float(ends[0])
    assert abs(losses["longest"]) <= abs(losses["tokens"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"importance_cap": 2.0}, "importance_cap: expected more than 0 and old_logprobs recom"),
        ({"gradient_checkpointing": True}, "expected share_prompts false"),
        ({"schedule": "steps"}, "schedule: expected constant or linear or cosine, got 'steps'"),
        ({"loss_mean": "all"}, "loss_mean: expected tokens or longest, got 'all'"),
        ({"lora": {"rank": 2}}, "lora: .*rank"),
        ({"lora": {}, "engine": "vllm"}, "lora: expected the engine transformers, got 'vllm'"),
    ],
)
def test_a_wrong_option_of_the_update_is_refused(options, message):
    with pytest.raises(ArgumentError, match=message):
        module(**options)


def test_rewards_that_leave_no_finite_gradient_change_no_weight(tmp_path):
    chosen = module(reward=lambda prompt, completion: 3e38 if completion[:1] == "1" else -3e38)
    before = deepcopy(dict(chosen.model.named_parameters()))
    with pytest.raises(ObservationError, match="expected a finite loss and gradient.* no weight"):
        fit(chosen, 4, tmp_path)
    for name, weight in chosen.model.named_parameters():
        assert torch.equal(weight, before[name])
