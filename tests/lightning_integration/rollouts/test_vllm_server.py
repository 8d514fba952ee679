"""What the client of a vLLM server says when there is no such server, without vLLM."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from insight_ext import ArgumentError, EngineError
from lightning_integration.demo.model import make_model, make_tokenizer
from lightning_integration.rollouts import Sampling, VLLMServer, make_engine


@pytest.fixture(scope="module")
def policy():
    tokenizer = make_tokenizer("0123456789+=")
    return make_model(tokenizer, layers=1, heads=1), tokenizer


class Plain(BaseHTTPRequestHandler):
    """A server without development mode: completions alone."""

    def do_GET(self):
        body = json.dumps({"paths": {"/v1/completions": {}, "/v1/models": {}}}).encode()
        self.send_response(200 if self.path == "/openapi.json" else 404)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_a_server_without_a_route_for_weights_is_named(policy, tmp_path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Plain)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        engine = make_engine("vllm_server", *policy, url=url, folder=tmp_path)
        with pytest.raises(EngineError, match="without /collective_rpc and /reset_prefix_cache"):
            engine.sync(policy[0])
        with pytest.raises(EngineError, match="v1/models: expected an answer, got HTTP Error 404"):
            engine._call("/v1/models")
    finally:
        server.shutdown()
        server.server_close()


def test_a_server_that_does_not_run_is_named(policy, tmp_path):
    engine = VLLMServer(*policy, "http://127.0.0.1:9", tmp_path)
    with pytest.raises(EngineError, match="127.0.0.1:9.*expected a running `vllm serve`"):
        engine.sync(policy[0])
    with pytest.raises(EngineError, match="call sync"):
        engine.generate(["1="], 1, Sampling(1))


def test_arguments_are_checked(policy):
    with pytest.raises(ArgumentError, match="route: expected one of path, nccl, ipc, got 'mail'"):
        VLLMServer(*policy, "http://127.0.0.1", "x", route="mail")
    with pytest.raises(ArgumentError, match="folder: expected the folder"):
        VLLMServer(*policy, "http://127.0.0.1")
    with pytest.raises(ArgumentError, match="dtype: expected a name"):
        VLLMServer(*policy, "http://127.0.0.1", "x", dtype="float31")
