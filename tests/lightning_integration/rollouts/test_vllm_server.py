"""The client of a vLLM server against servers that lack or change something, without vLLM."""

from __future__ import annotations

import json

import pytest
import torch

from insight_ext import ArgumentError, EngineError
from lightning_integration.demo.model import make_model, make_tokenizer
from lightning_integration.rollouts import Sampling, VLLMServer, make_engine


@pytest.fixture(scope="module")
def policy():
    tokenizer = make_tokenizer("0123456789+=")
    return make_model(tokenizer, layers=1, heads=1), tokenizer


class Server:
    """Answers as vLLM does, by the model itself; `spoil` may change the completions of a prompt."""

    PATHS = ("/v1/completions", "/v1/models", "/collective_rpc", "/reset_prefix_cache")

    def __init__(self, model):
        self.model = model
        self.answers = {
            "/openapi.json": {"paths": {path: {} for path in self.PATHS}},
            "/v1/models": {"data": [{"id": "served", "max_model_len": 64}]},
            "/collective_rpc": {"results": [None]},
            "/reset_prefix_cache": {},
        }
        self.prompts = []
        self.spoil = lambda choices: choices

    def __call__(self, handler):
        answer = self.answers.get(handler.path)
        if handler.path == "/v1/completions":
            answer = {"choices": self.spoil(self.choices(handler.body))}
        text = answer if isinstance(answer, str) else json.dumps(answer)
        handler.send_response(404 if answer is None else 200)
        handler.end_headers()
        handler.wfile.write(text.encode())

    def choices(self, body):
        self.prompts.append(body["prompt"])
        return [self.choice(body, index) for index in range(body["n"])]

    @torch.no_grad()
    def choice(self, body, index):
        drawn, logprobs = [], []
        generator = torch.Generator().manual_seed(body["seed"] + index)
        while len(drawn) < body["max_tokens"]:
            logits = self.model(input_ids=torch.tensor([body["prompt"] + drawn])).logits[0, -1]
            row = (logits / (body["temperature"] or 1)).log_softmax(-1)
            token = int(row.exp().multinomial(1, generator=generator))
            drawn.append(token)
            logprobs.append(float(row[token]))
            if token in body["stop_token_ids"] and not body["ignore_eos"]:
                break
        ended = drawn[-1] in body["stop_token_ids"]
        return {
            "index": index,
            "token_ids": drawn,
            "logprobs": {"token_logprobs": logprobs},
            "finish_reason": "stop" if ended else "length",
        }


@pytest.fixture
def served(serving, policy, tmp_path):
    """An engine in sync with its server, and the server."""
    server = Server(policy[0])
    with serving(server) as (url, _):
        engine = VLLMServer(*policy, url=url, folder=tmp_path, seconds=60, retries=0)
        engine.sync(policy[0])
        yield engine, server


def test_completions_of_a_server_become_rollouts(served):
    engine, server = served
    expected = engine.generate(["1=", "12="], 4, Sampling(5))
    assert len(expected) == 8
    server.spoil = lambda choices: choices[::-1]
    assert engine.generate(["1=", "12="], 4, Sampling(5)).texts == expected.texts


def of_first(**changes):
    return lambda choices: [{**choices[0], **changes}, *choices[1:]]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda choices: choices[:1], "expected 4 completions of prompt 0, each once, got 1 with"),
        (lambda choices: choices[:2], "got 2 with the indices 0, 1"),
        (lambda choices: choices * 2, "got 8 with the indices"),
        (lambda choices: [], "got 0 with the indices none"),
        (lambda choices: [choices[0]] * 4, "got 4 with the indices 0, 0, 0, 0"),
        (lambda choices: {}, "expected 4 completions of prompt 0, each once, got 0"),
        (lambda choices: None, "completions: expected choices with index, token_ids"),
        (lambda choices: "many", "completions: expected choices with index, token_ids"),
        (lambda choices: [{}] * 4, "expected choices with index, token_ids.*KeyError"),
        (of_first(logprobs=None), "expected choices with index, token_ids.*TypeError"),
        (of_first(token_ids=None), "expected token ids from 0 to 13, got None"),
        (of_first(token_ids=[3, 99]), "expected token ids from 0 to 13, got 99"),
        (of_first(token_ids=[]), "expected at least one token"),
        (of_first(token_ids=[3] * 6), "expected at most 5 tokens, got 6"),
        (of_first(logprobs={"token_logprobs": [-1.0]}), "expected a log-probability of each of"),
        (of_first(logprobs={"token_logprobs": [float("nan")] * 5}), "expected .*log-prob"),
        (of_first(finish_reason="abort"), "expected the stop reason stop or length, got 'abort'"),
    ],
)
def test_completions_that_were_not_asked_for_are_refused(served, spoil, message):
    engine, server = served
    server.spoil = spoil
    with pytest.raises(EngineError, match=message) as caught:
        engine.generate(["1=", "12="], 4, Sampling(5, seed=2))
    assert "http://127.0.0.1" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "answer", "message"),
    [
        ("/openapi.json", {"paths": None}, "the paths of a vLLM server, got an answer of another"),
        ("/openapi.json", {"paths": {"/v1/models": {}}}, "without /collective_rpc and /reset_pre"),
        ("/openapi.json", "<html>", "expected JSON, got <html>"),
        ("/v1/models", {"data": []}, "a model with id and max_model_len"),
        ("/v1/models", {"data": [{"id": "a"}]}, "a model with id and max_model_len"),
        ("/v1/models", '{"data": [{"id": "a", "max_model_len": Infinity}]}', "a model with id"),
        ("/v1/models", None, "v1/models: expected an answer, got 404"),
        ("/collective_rpc", None, "collective_rpc: expected an answer, got 404"),
        ("/reset_prefix_cache", {"success": False}, "expected an idle server"),
    ],
)
def test_a_server_that_cannot_take_weights_is_named(
    serving, policy, tmp_path, path, answer, message
):
    server = Server(policy[0])
    server.answers[path] = answer
    with serving(server) as (url, _):
        engine = VLLMServer(*policy, url=url, folder=tmp_path, seconds=60, retries=0)
        with pytest.raises(EngineError, match=message):
            engine.sync(policy[0])


def test_a_probe_is_held_against_what_was_asked_too(serving, policy, tmp_path):
    server = Server(policy[0])
    server.spoil = of_first(token_ids=[3], logprobs={"token_logprobs": [-1.0]})
    with serving(server) as (url, _):
        engine = VLLMServer(*policy, url=url, folder=tmp_path, seconds=60, retries=0)
        with pytest.raises(EngineError, match="8 tokens before the stop reason length, got only 1"):
            engine.sync(policy[0])


def test_a_server_gets_the_tokens_of_the_template(serving, tmp_path):
    tokenizer = make_tokenizer("0123456789+=^")
    tokenizer.bos_token = "^"
    tokenizer.chat_template = "{{ bos_token }}{{ messages[-1]['content'] }}="
    model = make_model(tokenizer, layers=1, heads=1)
    server = Server(model)
    with serving(server) as (url, _):
        options = {"url": url, "folder": tmp_path, "prompt_format": {"chat_template": "apply"}}
        engine = make_engine("vllm_server", model, tokenizer, **options)
        engine.sync(model)
        server.prompts.clear()
        engine.generate([[{"role": "user", "content": "1"}]], 1, Sampling(2))
        engine.generate(["2"], 1, Sampling(2))
    assert tokenizer.batch_decode(server.prompts) == ["^1=", "^2="]


def test_a_server_that_does_not_run_is_named(policy, tmp_path):
    engine = VLLMServer(*policy, url="http://127.0.0.1:9", folder=tmp_path, retries=0)
    with pytest.raises(EngineError, match="127.0.0.1:9.*expected a running `vllm serve`"):
        engine.sync(policy[0])
    with pytest.raises(EngineError, match="call sync"):
        engine.generate(["1="], 1, Sampling(1))


def test_arguments_are_checked(policy):
    with pytest.raises(ArgumentError, match="route: expected one of path, nccl, ipc, got 'mail'"):
        VLLMServer(*policy, url="http://127.0.0.1", folder="x", route="mail")
    with pytest.raises(ArgumentError, match="folder: expected the folder"):
        VLLMServer(*policy, url="http://127.0.0.1")
    with pytest.raises(ArgumentError, match="dtype: expected a name"):
        VLLMServer(*policy, url="http://127.0.0.1", folder="x", dtype="float31")
