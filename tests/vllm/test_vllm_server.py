"""A real server on this machine; `vllm serve` starts the same program."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from copy import deepcopy

import pytest
import torch

pytest.importorskip("vllm", reason="needs vLLM: make test-vllm sets it up")

from insight_ext import EngineError
from lightning_integration.rollouts import Sampling, TransformersEngine, VLLMServer
from lightning_integration.rollouts.weight_sync import save_checkpoint

PROMPTS = ["12+3=", "1=", "123+123="]
READY = "Application startup complete"


@pytest.fixture(scope="module")
def served(policies, tmp_path_factory):
    """Model, tokenizer, URL and folder of a running server."""
    model, tokenizer = policies["tied"]
    folder = tmp_path_factory.mktemp("served")
    save_checkpoint(model, tokenizer, folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {
        "model": str(folder),
        "host": "127.0.0.1",
        "port": str(port),
        "dtype": "float32",
        "max-model-len": "128",
        "logprobs-mode": "processed_logprobs",
        "hf-overrides": '{"tie_word_embeddings": false}',
    }
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--enforce-eager"]
    command += [part for name, value in options.items() for part in (f"--{name}", value)]
    environment = {**os.environ, "VLLM_SERVER_DEV_MODE": "1", "VLLM_LOGGING_LEVEL": "INFO"}
    server = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    said = []
    try:
        for line in server.stdout:
            said.append(line)
            if READY in line:
                break
        assert server.poll() is None, "".join(said[-30:])
        yield model, tokenizer, f"http://127.0.0.1:{port}", folder
    finally:
        server.terminate()
        server.communicate()


def test_the_server_answers_as_transformers_before_and_after_an_update(served):
    model, tokenizer, url, folder = served
    engine = VLLMServer(model, tokenizer, url=url, folder=folder)
    after = deepcopy(model)
    with torch.no_grad():
        for weight in after.parameters():
            weight *= 1.2
    greedy = Sampling(16, temperature=0.0)
    texts = []
    for present in (model, after):
        assert engine.sync(present)["logprob_difference"] < 1e-4
        got = engine.generate(PROMPTS, 2, greedy)
        expected = TransformersEngine(present, tokenizer).generate(PROMPTS, 2, greedy)
        assert torch.equal(got.completion_ids, expected.completion_ids)
        assert torch.equal(got.prompt_ids, expected.prompt_ids)
        assert (got.texts, got.stop_reasons) == (expected.texts, expected.stop_reasons)
        torch.testing.assert_close(got.logprobs, expected.logprobs, atol=1e-4, rtol=1e-4)
        texts.append(got.texts)
    assert texts[0] != texts[1]
    sampled = [engine.generate(["1=", "1="], 4, Sampling(8, seed=s)).texts for s in (1, 1, 2)]
    assert sampled[0] == sampled[1] != sampled[2]
    assert sampled[0][:4] != sampled[0][4:]


def test_a_server_with_other_weights_is_found_out(served, tmp_path):
    model, tokenizer, url, _ = served
    engine = VLLMServer(model, tokenizer, url=url, folder=tmp_path)
    engine.sync(model)
    after = deepcopy(model)
    with torch.no_grad():
        after.lm_head.weight *= 2
    engine._http.post = lambda path, body, post=engine._http.post: (
        {} if path == "/collective_rpc" else post(path, body)
    )
    with pytest.raises(EngineError, match="holds other weights than the trainer"):
        engine.sync(after)
