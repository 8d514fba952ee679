from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from insight_ext import ArgumentError
from insight_ext.filters import entropy
from lightning_integration.demo.model import make_model, make_tokenizer
from lightning_integration.grpo.loss import completion_logprobs
from lightning_integration.rollouts import Sampling, TransformersEngine
from lightning_integration.rollouts.engine import joined

PROMPTS = ["12+3=", "1=", "123+123="]


@pytest.fixture(scope="module")
def policy():
    tokenizer = make_tokenizer("0123456789+=")
    return make_model(tokenizer, layers=2, heads=1), tokenizer


@pytest.fixture(scope="module")
def engine(policy):
    return TransformersEngine(*policy)


def test_rows_are_prompt_major_and_padded(engine, policy):
    rollouts = engine.generate(PROMPTS, 4, Sampling(6))
    tokenizer = policy[1]
    assert len(rollouts.texts) == len(rollouts.stop_reasons) == 12
    assert rollouts.prompt_mask.sum(dim=1).tolist() == [5] * 4 + [2] * 4 + [8] * 4
    assert not rollouts.prompt_mask[4, 0]
    for row in range(12):
        length = int(rollouts.completion_mask[row].sum())
        assert rollouts.completion_mask[row, :length].all()
        ended = rollouts.completion_ids[row, length - 1] == tokenizer.eos_token_id
        assert rollouts.stop_reasons[row] == ("stop" if ended else "length")
        ids = rollouts.completion_ids[row, :length].tolist()
        assert rollouts.texts[row] == tokenizer.decode(ids, skip_special_tokens=True)


@pytest.mark.parametrize(("temperature", "samples"), [(1.0, 1), (0.5, 1), (1.0, 4)])
def test_log_probabilities_are_those_of_a_forward_pass(engine, policy, temperature, samples):
    rollouts = engine.generate(PROMPTS, 4, Sampling(6, temperature))
    with torch.no_grad():
        expected = completion_logprobs(
            policy[0],
            rollouts.prompt_ids,
            rollouts.prompt_mask,
            rollouts.completion_ids,
            rollouts.completion_mask,
            temperature,
            samples,
        )
    mask = rollouts.completion_mask
    torch.testing.assert_close(rollouts.logprobs[mask], expected[mask], atol=1e-4, rtol=1e-4)
    assert not rollouts.logprobs[~mask].any()


def test_the_entropy_is_that_of_what_tokens_were_drawn_from(engine, policy):
    sampling = Sampling(6, temperature=0.7, entropy=True)
    rollouts = engine.generate(PROMPTS, 4, sampling)
    model, width = policy[0], rollouts.prompt_ids.shape[1]
    ids = torch.cat((rollouts.prompt_ids, rollouts.completion_ids), dim=1)
    mask = torch.cat((rollouts.prompt_mask, rollouts.completion_mask), dim=1).long()
    places = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=mask, position_ids=places).logits
    expected = entropy(logits[:, width - 1 : -1] / 0.7, rollouts.completion_mask)
    torch.testing.assert_close(rollouts.entropy.double(), expected, atol=1e-4, rtol=1e-4)
    plain = engine.generate(PROMPTS, 4, replace(sampling, entropy=False))
    assert plain.entropy is None
    assert plain.texts == rollouts.texts
    assert torch.equal(joined([rollouts, rollouts]).entropy, rollouts.entropy.repeat(2))
    assert joined([rollouts, plain]).entropy is None


@pytest.mark.parametrize("share_prompts", [True, False])
def test_generation_settings_of_the_checkpoint_change_nothing(policy, share_prompts):
    model, tokenizer = policy
    expected = TransformersEngine(model, tokenizer).generate(PROMPTS, 4, Sampling(6))
    shipped = deepcopy(model)
    settings = {"repetition_penalty": 1.5, "top_k": 3, "min_length": 30, "suppress_tokens": [2, 3]}
    shipped.generation_config.update(**settings, do_sample=True)
    before = shipped.generation_config.to_dict()
    got = TransformersEngine(shipped, tokenizer, share_prompts).generate(PROMPTS, 4, Sampling(6))
    assert got.texts == expected.texts
    torch.testing.assert_close(got.logprobs, expected.logprobs, atol=1e-5, rtol=1e-4)
    assert shipped.generation_config.to_dict() == before


def test_padding_does_not_change_the_log_probabilities(policy):
    model, tokenizer = policy
    ids = tokenizer("1+2=34", return_tensors="pt").input_ids
    plain = model(input_ids=ids).logits[0, 3:5].log_softmax(-1)
    expected = plain.gather(-1, ids[0, 4:, None]).squeeze(-1)
    pad = torch.zeros(1, 3, dtype=torch.int64)
    padded = completion_logprobs(
        model,
        torch.cat((pad, ids[:, :4]), dim=1),
        torch.tensor([[False] * 3 + [True] * 4]),
        ids[:, 4:],
        torch.ones(1, 2, dtype=torch.bool),
    )
    torch.testing.assert_close(padded[0], expected, atol=1e-5, rtol=1e-4)


def test_reading_a_prompt_once_changes_nothing(policy, engine):
    alone = TransformersEngine(*policy, share_prompts=False)
    first, second = (e.generate(PROMPTS, 3, Sampling(6, seed=5)) for e in (engine, alone))
    assert first.texts == second.texts
    torch.testing.assert_close(first.logprobs, second.logprobs, atol=1e-5, rtol=1e-4)


def test_draws_follow_the_seed_and_leave_the_global_state_alone(engine):
    before = torch.random.get_rng_state()
    first, again, other = (engine.generate(PROMPTS, 8, Sampling(6, seed=s)) for s in (1, 1, 2))
    assert first.texts == again.texts
    assert first.texts != other.texts
    assert torch.equal(before, torch.random.get_rng_state())


def test_draws_follow_the_distribution(policy, engine):
    rollouts = engine.generate(["1="], 4000, Sampling(1))
    counts = torch.bincount(rollouts.completion_ids[:, 0], minlength=len(policy[1]))
    ids = policy[1](["1="], return_tensors="pt").input_ids
    expected = policy[0](input_ids=ids).logits[0, -1].softmax(-1)
    assert (counts / 4000 - expected).abs().max() < 0.04


def test_greedy_is_the_likeliest_token_every_time(engine):
    rollouts = engine.generate(PROMPTS, 2, Sampling(5, temperature=0.0))
    assert rollouts.texts[0::2] == rollouts.texts[1::2]
    assert engine.generate(PROMPTS, 2, Sampling(5, top_k=1)).texts == rollouts.texts


def test_truncated_sampling_draws_from_the_nucleus(policy, engine):
    rollouts = engine.generate(["1="], 500, Sampling(1, top_p=0.5))
    ids = policy[1](["1="], return_tensors="pt").input_ids
    probabilities = policy[0](input_ids=ids).logits[0, -1].softmax(-1).sort(descending=True)
    nucleus = probabilities.indices[: int((probabilities.values.cumsum(0) < 0.5).sum()) + 1]
    assert set(rollouts.completion_ids[:, 0].tolist()) == set(nucleus.tolist())


def test_the_mode_of_the_model_is_kept(policy, engine):
    policy[0].train()
    engine.generate(["1="], 1, Sampling(1))
    assert policy[0].training


def test_arguments_are_checked(engine):
    with pytest.raises(ArgumentError, match="0 prompts"):
        engine.generate([], 1, Sampling(1))
    for wrong in ({"temperature": -1.0}, {"top_p": 0.0}, {"top_k": -1}, {"max_new_tokens": 0}):
        with pytest.raises(ArgumentError, match=next(iter(wrong))):
            Sampling(**{"max_new_tokens": 1, **wrong})
