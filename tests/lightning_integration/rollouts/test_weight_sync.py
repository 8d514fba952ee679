from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from safetensors.torch import load_file

from insight_ext import ArgumentError, EngineError
from lightning_integration.demo.model import load_model, make_model, make_tokenizer
from lightning_integration.rollouts import PromptFormat, Sampling
from lightning_integration.rollouts.completions import asked_of_vllm, collate, requests, tokenized
from lightning_integration.rollouts.engine import Completion
from lightning_integration.rollouts.weight_sync import (
    PROBE_SAMPLING,
    LogprobCheck,
    checkpoint_weights,
    save_checkpoint,
)

TOKENIZER = make_tokenizer("0123456789+=")


def test_a_tolerance_below_nothing_is_refused():
    with pytest.raises(ArgumentError, match="tolerance: expected 0 nats or more, got -1"):
        LogprobCheck(-1.0, [[1]])


def test_a_tolerance_of_nothing_is_one():
    model, other = (make_model(TOKENIZER, layers=1, seed=seed) for seed in (0, 1))
    check = LogprobCheck.of(model, TOKENIZER, 64, tolerance=0.0)
    with pytest.raises(EngineError, match="within 0 nats"):
        check.run(model, torch.float32, answer_of(other), "by hand")


def answer_of(model, temperature=PROBE_SAMPLING.temperature):
    """Greedy continuations, and what the model says of them at this temperature."""

    @torch.no_grad()
    def answer(prompts, sampling):
        completions = []
        for ids in prompts:
            drawn, logprobs = [], []
            for _ in range(sampling.max_new_tokens):
                logits = model(input_ids=torch.tensor([[*ids, *drawn]])).logits[0, -1]
                drawn.append(int(logits.argmax()))
                logprobs.append(float((logits / temperature).log_softmax(-1)[drawn[-1]]))
            completions.append(Completion(drawn, logprobs, "length"))
        return completions

    return answer


def check(model, answer, dtype=torch.float32, tolerance=None):
    return LogprobCheck.of(model, TOKENIZER, 128, tolerance).run(model, dtype, answer, "a test")


def test_equal_weights_pass_and_others_do_not():
    model, other = make_model(TOKENIZER), make_model(TOKENIZER, seed=1)
    model.train()
    assert check(model, answer_of(model))["logprob_difference"] < 1e-5
    assert model.training
    with pytest.raises(EngineError, match=r"\(a test\): expected the engine's.*within 0.001"):
        check(model, answer_of(other))


def test_log_probabilities_at_another_temperature_do_not_pass():
    model = make_model(TOKENIZER)
    with pytest.raises(EngineError, match="reports other log-probabilities"):
        check(model, answer_of(model, temperature=1.0))


def test_the_coarser_format_sets_the_tolerance_unless_it_is_given():
    model = make_model(TOKENIZER)

    def a_little_off(prompts, sampling):
        return [
            Completion(c.ids, [value + 0.05 for value in c.logprobs], "length")
            for c in answer_of(model)(prompts, sampling)
        ]

    assert check(model, a_little_off, torch.bfloat16)["logprob_difference"] > 0.04
    for dtype, tolerance in ((torch.float32, None), (torch.bfloat16, 0.01), (torch.float16, None)):
        with pytest.raises(EngineError):
            check(model, a_little_off, dtype, tolerance)


def test_what_is_no_number_does_not_pass():
    model = make_model(TOKENIZER)
    nan = [Completion([1] * 8, [float("nan")] * 8, "length")] * 4
    with pytest.raises(EngineError, match="got nan"):
        check(model, lambda prompts, sampling: nan, torch.bfloat16)


@pytest.mark.parametrize("tied", [True, False])
def test_a_checkpoint_names_every_weight_and_its_own_head(tmp_path, tied):
    model = make_model(TOKENIZER, tied=tied)
    save_checkpoint(model, TOKENIZER, tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    sent = dict(checkpoint_weights(model))
    assert saved.keys() == sent.keys() == model.state_dict().keys()
    assert "lm_head.weight" in saved
    assert all(torch.equal(saved[name], value) for name, value in sent.items())
    loaded, _ = load_model(tmp_path)
    assert torch.equal(loaded.lm_head.weight, model.lm_head.weight)
    assert {path.suffix for path in tmp_path.iterdir()} <= {".json", ".safetensors", ".jinja"}


def test_requests_of_a_call_have_seeds_far_from_each_other():
    def of(sampling, prompts, stop=(1,)):
        return requests(asked_of_vllm("vllm", prompts, 8, sampling, 14, stop), sampling)

    asked = of(Sampling(4, seed=3), 100)
    seeds = sorted(each["seed"] for each in asked)
    assert asked == of(Sampling(4, seed=3), 100)
    assert min(b - a for a, b in pairwise(seeds)) > 8
    assert max(seeds) + 8 < 2**63
    assert of(Sampling(4, temperature=0.0), 1)[0]["n"] == 1
    assert not asked[0]["ignore_eos"]
    assert of(Sampling(4), 1, stop=())[0]["ignore_eos"]


def test_greedy_answers_are_repeated_and_rows_padded():
    answer = Completion([5, 1], [-1.0, -2.0], "stop")
    rollouts = collate([[2], [3, 4]], [[answer]] * 2, 2, TOKENIZER)
    assert rollouts.prompt_ids.tolist() == [[0, 2], [0, 2], [3, 4], [3, 4]]
    assert rollouts.prompt_mask.tolist() == [[False, True]] * 2 + [[True, True]] * 2
    assert rollouts.logprobs.tolist() == [[-1.0, -2.0]] * 4
    assert rollouts.stop_reasons == ["stop"] * 4


def test_prompts_that_leave_no_room_are_refused():
    assert tokenized(["12"], 1, Sampling(2), TOKENIZER, PromptFormat(), 4) == [[3, 4]]
    with pytest.raises(ArgumentError, match="expected room for a prompt of 3 tokens"):
        tokenized(["12", "123"], 1, Sampling(2), TOKENIZER, PromptFormat(), 4)
