"""The engine in this process, with the real vLLM."""

from __future__ import annotations

import random
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("vllm", reason="needs vLLM: make test-vllm sets it up")

from insight_ext import ArgumentError, EngineError
from lightning_integration.demo.model import make_model
from lightning_integration.grpo.loss import completion_logprobs
from lightning_integration.rollouts import Sampling, TransformersEngine, VLLMEngine
from lightning_integration.rollouts import vllm as module
from lightning_integration.rollouts.weight_sync import checkpoint_weights

# Prompts longer than a block of the cache, which begin alike: what a prefix cache keeps.
PREFIX = "".join(random.Random(0).choices("0123456789+", k=80))
PROMPTS = ["12+3=", "1=", "123+123=", PREFIX + "=", PREFIX + "1="]
OPTIONS = {"enforce_eager": True, "max_model_len": 128, "block_size": 32}


def moved(model, seed):
    """A copy of the model some way off, as after many updates."""
    other = deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in other.parameters():
            weight += 0.05 * torch.randn(weight.shape, generator=generator)
    return other


@pytest.fixture(scope="module")
def policy(policies):
    return policies["tied"]


@pytest.fixture(scope="module")
def engine(policy):
    return VLLMEngine(*policy, **OPTIONS)


def assert_greedy_outputs_equal(engine, model, tokenizer):
    greedy = Sampling(16, temperature=0.0)
    expected = TransformersEngine(model, tokenizer).generate(PROMPTS, 2, greedy)
    got = engine.generate(PROMPTS, 2, greedy)
    assert torch.equal(got.prompt_ids, expected.prompt_ids)
    assert torch.equal(got.prompt_mask, expected.prompt_mask)
    assert torch.equal(got.completion_ids, expected.completion_ids)
    assert torch.equal(got.completion_mask, expected.completion_mask)
    assert (got.texts, got.stop_reasons) == (expected.texts, expected.stop_reasons)
    torch.testing.assert_close(got.logprobs, expected.logprobs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("head", "route"), [("tied", "auto"), ("untied", "auto"), ("tied", "path")]
)
def test_greedy_outputs_are_those_of_transformers_before_and_after_updates(policies, head, route):
    model, tokenizer = policies[head]
    engine = VLLMEngine(model, tokenizer, route, **OPTIONS)
    for present in (model, moved(model, 1), moved(model, 2)):
        metrics = engine.sync(present)
        assert metrics["logprob_difference"] < 1e-4
        assert_greedy_outputs_equal(engine, present, tokenizer)
    assert engine.route == ("iterator" if route == "auto" else route)


def test_workers_in_another_process_load_the_weights_from_a_file(policy, monkeypatch):
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "1")
    model, tokenizer = policy
    engine = VLLMEngine(model, tokenizer, **OPTIONS)
    for present in (model, moved(model, 3)):
        engine.sync(present)
        assert_greedy_outputs_equal(engine, present, tokenizer)
    assert engine.route == "path"


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_log_probabilities_are_those_of_the_trainers_model(engine, policy, temperature):
    model = moved(policy[0], 4)
    engine.sync(model)
    rollouts = engine.generate(PROMPTS, 4, Sampling(12, temperature))
    mask = rollouts.completion_mask
    with torch.no_grad():
        expected = completion_logprobs(
            model,
            rollouts.prompt_ids,
            rollouts.prompt_mask,
            rollouts.completion_ids,
            mask,
            temperature,
        )
    torch.testing.assert_close(rollouts.logprobs[mask], expected[mask], atol=1e-4, rtol=1e-4)
    assert not rollouts.logprobs[~mask].any()


def test_log_probabilities_are_those_of_the_distribution_drawn_from(engine, policy):
    engine.sync(policy[0])
    rollouts = engine.generate(["1="], 64, Sampling(1, top_k=3))
    ids = policy[1](["1="], return_tensors="pt").input_ids
    likeliest = policy[0](input_ids=ids).logits[0, -1].topk(3)
    expected = dict(
        zip(likeliest.indices.tolist(), likeliest.values.log_softmax(-1).tolist(), strict=True)
    )
    for token, logprob in zip(rollouts.completion_ids[:, 0], rollouts.logprobs[:, 0], strict=True):
        assert float(logprob) == pytest.approx(expected[int(token)], abs=1e-4)
    assert len(set(rollouts.completion_ids[:, 0].tolist())) == 3


def test_draws_follow_the_seed_and_leave_global_states_alone(engine, policy):
    engine.sync(policy[0])
    before = torch.random.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    prompts = ["1=", "1=", PREFIX]
    first, again, other = (engine.generate(prompts, 8, Sampling(12, seed=s)) for s in (1, 1, 2))
    assert torch.equal(first.completion_ids, again.completion_ids)
    assert torch.equal(first.logprobs, again.logprobs)
    assert first.texts != other.texts
    assert first.texts[:8] != first.texts[8:16]
    assert len(set(first.texts[:8])) > 1
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert before[1:] == (random.getstate(), np.random.get_state()[1].tolist())


def test_messages_and_rendered_texts_are_read_as_transformers_reads_them(policy):
    tokenizer = deepcopy(policy[1])
    tokenizer.bos_token = "+"
    tokenizer.chat_template = "{{ bos_token }}{{ messages[-1]['content'] }}="
    rendered = ["+12+3=", "+1="]
    messages = [[{"role": "user", "content": text[1:-1]}] for text in rendered]
    engine = VLLMEngine(policy[0], tokenizer, **OPTIONS, prompt_format={"chat_template": "none"})
    engine.sync(policy[0])
    greedy = Sampling(16, temperature=0.0)
    got = engine.generate(rendered, 1, greedy)
    expected = TransformersEngine(policy[0], tokenizer).generate(messages, 1, greedy)
    assert torch.equal(got.prompt_ids, expected.prompt_ids)
    assert torch.equal(got.completion_ids, expected.completion_ids)


def test_completions_that_were_not_asked_for_are_refused(engine, policy, monkeypatch):
    engine.sync(policy[0])
    generate = engine._llm.generate

    def fewer(*arguments, **options):
        outputs = generate(*arguments, **options)
        outputs[1].outputs.pop()
        return outputs

    monkeypatch.setattr(engine._llm, "generate", fewer)
    with pytest.raises(EngineError, match="engine vllm: expected 4 completions of prompt 1, each"):
        engine.generate(PROMPTS, 4, Sampling(2))


def test_starting_leaves_the_host_process_as_it_was(policy):
    before = torch.random.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    set_threads = torch.set_num_threads
    VLLMEngine(*policy, **OPTIONS).sync(policy[0])
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert before[1:] == (random.getstate(), np.random.get_state()[1].tolist())
    assert torch.set_num_threads is set_threads


def test_a_tied_head_that_stays_as_it_was_is_found_out(policy, monkeypatch):
    # named_parameters names shared weights once, and a tied engine keeps the head it began with.
    monkeypatch.setattr(module, "untied", lambda overrides: dict(overrides or {}))
    monkeypatch.setattr(module, "checkpoint_weights", lambda model: model.named_parameters())
    engine = VLLMEngine(*policy, **OPTIONS)
    with pytest.raises(EngineError, match="expected the engine's log-probabilities within 0.001"):
        engine.sync(policy[0])
    with pytest.raises(EngineError, match="call sync"):
        engine.generate(["1="], 1, Sampling(1))


def test_a_weight_that_a_sync_leaves_out_is_found_out(policy, monkeypatch):
    def incomplete(model):
        return (pair for pair in checkpoint_weights(model) if pair[0] != "model.norm.weight")

    monkeypatch.setattr(module, "checkpoint_weights", incomplete)
    with pytest.raises(EngineError, match="weight sync"):
        VLLMEngine(*policy, **OPTIONS).sync(policy[0])


def test_an_update_that_does_not_arrive_is_found_out(engine, policy, monkeypatch):
    engine.sync(policy[0])
    monkeypatch.setattr(VLLMEngine, "_send", lambda self, model, told: None)
    with pytest.raises(EngineError, match="holds other weights than the trainer"):
        engine.sync(moved(policy[0], 5))


def test_probabilities_before_the_temperature_are_found_out(policy):
    engine = VLLMEngine(*policy, **OPTIONS, logprobs_mode="raw_logprobs")
    with pytest.raises(EngineError, match="logprobs_mode=processed_logprobs"):
        engine.sync(policy[0])


def test_bfloat16_is_held_to_its_own_tolerance(policy):
    engine = VLLMEngine(*policy, **OPTIONS, dtype="bfloat16")
    assert 1e-3 < engine.sync(policy[0])["logprob_difference"] < 0.1
    engine._check = replace(engine._check, tolerance=1e-3)
    with pytest.raises(EngineError, match="raise tolerance"):
        engine.sync(policy[0])


def test_a_version_that_takes_no_weights_is_named(policy, monkeypatch):
    from vllm.v1.worker.gpu_model_runner import GPUModelRunner

    monkeypatch.setattr(GPUModelRunner, "reload_weights", lambda self: None)
    with pytest.raises(EngineError, match=r"got vLLM \d.* with reload_weights\(self\); install"):
        VLLMEngine(*policy, **OPTIONS).sync(policy[0])


def test_a_head_size_that_this_build_cannot_run_is_named(policy):
    model = make_model(policy[1], width=128, head_size=16)
    with pytest.raises(EngineError, match="head size 16 in float32.*take a model with heads of"):
        VLLMEngine(model, policy[1], **OPTIONS).sync(model)


def test_sleeping_needs_a_gpu(policy):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(EngineError, match="(?i)sleep mode is not supported"):
        VLLMEngine(*policy, **OPTIONS, sleep=True).sync(policy[0])


def test_arguments_are_checked(engine, policy):
    engine.sync(policy[0])
    with pytest.raises(ArgumentError, match="0 prompts"):
        engine.generate([], 1, Sampling(1))
    with pytest.raises(ArgumentError, match="max_model_len: expected room for a prompt of 81"):
        engine.generate([PREFIX + "="], 1, Sampling(48))
    with pytest.raises(ArgumentError, match="route: expected auto or one of iterator, path"):
        VLLMEngine(*policy, route="pigeon")
    with pytest.raises(EngineError, match="call sync"):
        VLLMEngine(*policy).generate(["1="], 1, Sampling(1))
