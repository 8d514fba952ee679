"""How GRPO works with its engine: by name, in time, asleep, and whose log-probabilities count."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from insight_ext import ArgumentError, EngineError, Prompt, PromptPool
from lightning_integration import PromptDataModule, PromptSelectionCallback
from lightning_integration.demo.model import make_model, make_tokenizer
from lightning_integration.grpo.module import GRPOModule
from lightning_integration.rollouts import (
    ENGINES,
    TransformersEngine,
    VLLMEngine,
    make_engine,
)
from lightning_integration.trainer import Callback, Trainer

TOKENIZER = make_tokenizer("0123456789+=")


class Copy(TransformersEngine):
    """Rolls out with its own copy of the weights, as an engine in another process does.

    `offset` is added to the log-probabilities that it reports.
    """

    def __init__(self, model, tokenizer, offset=0.0):
        super().__init__(make_model(tokenizer, layers=1, heads=1, seed=7), tokenizer)
        self.offset = offset
        self.calls = []

    def generate(self, prompts, n, sampling):
        self.calls.append("generate")
        rollouts = super().generate(prompts, n, sampling)
        return replace(
            rollouts, logprobs=rollouts.logprobs + self.offset * rollouts.completion_mask
        )

    def sync(self, model):
        self.calls.append("sync")
        self.model.load_state_dict(model.state_dict())
        return {"sync_ms": 1.5}

    def sleep(self):
        self.calls.append("sleep")


class Metrics(Callback):
    def __init__(self):
        self.steps = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.steps.append({name: float(v) for name, v in trainer.callback_metrics.items()})


def small_digit(prompt, completion):
    return float(completion[:1] in tuple("01234"))


def module(engine=None, **options):
    model = make_model(TOKENIZER, layers=1, heads=1)
    if engine is not None:
        engine = engine(model, TOKENIZER)
    settings = {"reward": small_digit, "max_new_tokens": 2, "learning_rate": 3e-3}
    return GRPOModule(model, TOKENIZER, **{"engine": engine, **settings, **options})


def fit(module, steps, ckpt_path=None, validate=False, save=None):
    pool = PromptPool(Prompt(f"p{i}", f"{i}+1=", str(i + 1)) for i in range(12))
    data = PromptDataModule(pool, "uniform", None, 4, steps, validation=pool)
    metrics = Metrics()
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=int(validate),
        limit_val_batches=int(validate),
        log_every_n_steps=1,
        callbacks=[PromptSelectionCallback(history_every=0), metrics],
    )
    trainer.fit(module, datamodule=data, ckpt_path=ckpt_path)
    if save:
        trainer.save_checkpoint(save)
    return metrics.steps


def test_the_engine_has_the_weights_before_the_first_rollout_and_after_each_update():
    own = module(Copy)
    steps = fit(own, 2)
    assert own.engine.calls == ["sync", *["generate", "sleep", "sync"] * 2]
    assert torch.equal(own.engine.model.lm_head.weight, own.model.lm_head.weight)
    assert steps[-1]["sync_ms"] == 1.5


def test_an_own_copy_of_the_weights_trains_like_the_model_itself():
    itself, copy = module(), module(Copy)
    for each in (itself, copy):
        fit(each, 3)
    torch.testing.assert_close(itself.model.lm_head.weight, copy.model.lm_head.weight)


def test_a_validation_needs_no_second_sync():
    own = module(Copy)
    fit(own, 1, validate=True)
    assert own.engine.calls == ["sync", "generate", "generate", "sleep", "sync", "generate"]


def test_an_engine_takes_over_what_a_checkpoint_restores(tmp_path):
    first = module(Copy)
    fit(first, 2, save=tmp_path / "saved.ckpt")
    resumed = module(Copy)
    fit(resumed, 2, ckpt_path=tmp_path / "saved.ckpt", validate=True)
    assert resumed.engine.calls[0] == "sync"
    assert torch.equal(resumed.engine.model.lm_head.weight, first.model.lm_head.weight)


def test_the_engines_log_probabilities_or_recomputed_ones_make_the_ratios():
    def wrong(model, tokenizer):
        return Copy(model, tokenizer, offset=1.0)

    reported = fit(module(wrong), 1)[0]
    assert reported["clip_fraction"] == 1  # every ratio is 1 / e
    assert "rollout_logprob_difference" not in reported
    recomputed = fit(module(wrong, old_logprobs="recomputed"), 1)[0]
    assert recomputed["clip_fraction"] == 0
    assert recomputed["rollout_logprob_difference"] == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("options", [{}, {"groups_per_pass": 1, "share_prompts": False}])
def test_recomputed_ratios_train_like_exact_ones(options):
    exact = module(updates_per_batch=2)
    recomputed = module(Copy, old_logprobs="recomputed", updates_per_batch=2, **options)
    steps = [fit(each, 2)[-1] for each in (exact, recomputed)]
    assert steps[1]["rollout_logprob_difference"] < 1e-5
    torch.testing.assert_close(
        exact.model.lm_head.weight, recomputed.model.lm_head.weight, atol=1e-4, rtol=1e-3
    )


def test_an_engine_by_name_or_import_path():
    model = make_model(TOKENIZER, layers=1)
    named = GRPOModule(model, TOKENIZER, engine="transformers", share_prompts=False)
    assert not named.engine.share_prompts
    path = "lightning_integration.rollouts.transformers:TransformersEngine"
    given = {"share_prompts": False}
    assert not GRPOModule(model, TOKENIZER, path, engine_options=given).engine.share_prompts


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "steam"}, "engine 'steam': expected one of transformers, vllm, vllm_server"),
        ({"engine": "nowhere:Engine"}, "engine 'nowhere:Engine': cannot import it"),
        (
            {"engine": "transformers", "engine_options": {"cylinders": 8}},
            "engine 'transformers': expected options among .*, got 'cylinders'",
        ),
        ({"engine": "vllm_server"}, "engine_options of 'vllm_server': missing.*'url'"),
        ({"old_logprobs": "guessed"}, "old_logprobs: expected engine or recomputed"),
    ],
)
def test_wrong_engines_are_named(options, message):
    with pytest.raises(ArgumentError, match=message):
        GRPOModule(make_model(TOKENIZER, layers=1), TOKENIZER, **options)


def test_options_need_an_engine_by_name():
    model = make_model(TOKENIZER, layers=1)
    with pytest.raises(ArgumentError, match="engine_options: expected none"):
        GRPOModule(model, TOKENIZER, Copy(model, TOKENIZER), engine_options={"offset": 1.0})


def test_without_vllm_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr("lightning_integration.rollouts.vllm.find_spec", lambda name: None)
    with pytest.raises(EngineError, match=r"pip install 'insight-ext\[vllm\]'"):
        make_engine("vllm", make_model(TOKENIZER, layers=1), TOKENIZER)


class Recorder:
    """Stands for `vllm.LLM` on a GPU: notes the calls, in order."""

    def __init__(self):
        self.calls = []

    def sleep(self, level):
        self.calls.append(f"sleep {level}")

    def wake_up(self, tags):
        self.calls.append(f"wake {tags[0]}")

    def collective_rpc(self, method, kwargs):
        self.calls.append(method)
        assert dict(kwargs["weights_iterator"]).keys() >= {"lm_head.weight", "model.norm.weight"}


def test_a_sleeping_engine_gets_its_weights_before_its_cache(monkeypatch):
    monkeypatch.setattr("lightning_integration.rollouts.vllm.find_spec", lambda name: True)
    model = make_model(TOKENIZER, layers=1)
    engine = VLLMEngine(model, TOKENIZER, "iterator", sleep=True)
    engine._llm = Recorder()
    engine._dtype, engine._check = model.dtype, type("Content", (), {"run": lambda *_: {}})
    engine._ready = True
    engine.sleep()
    engine.sleep()
    with pytest.raises(EngineError, match="asleep; call sync"):
        engine.generate(["1="], 1, None)
    engine.sync(model)
    assert engine._llm.calls == ["sleep 2", "wake weights", "reload_weights", "wake kv_cache"]
    assert engine._ready


def test_one_server_cannot_serve_several_trainers():
    model = make_model(TOKENIZER, layers=1, heads=1)
    options = {"url": "http://127.0.0.1:1", "folder": "unused"}
    trained = GRPOModule(model, TOKENIZER, engine="vllm_server", engine_options=options)
    trainer = Several(2)  # which the module refers to weakly
    trained.trainer = trainer
    with pytest.raises(ArgumentError, match="one process beside vllm_server, .* got 2"):
        trained.setup("fit")


class Several:
    """What `setup` asks of a trainer with several processes."""

    def __init__(self, world_size):
        self.world_size = world_size
        self.strategy = SimpleNamespace()


def test_an_engine_may_need_an_option():
    class Served(TransformersEngine):
        def __init__(self, model, tokenizer, host):
            super().__init__(model, tokenizer)
            self.host = host

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ENGINES, "served", Served)
        model = make_model(TOKENIZER, layers=1)
        assert make_engine("served", model, TOKENIZER, host="here").host == "here"
