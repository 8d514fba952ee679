"""Rollouts by a running `vllm serve`, over HTTP."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from insight_ext import ArgumentError, EngineError
from lightning_integration.rollouts.completions import (
    Completion,
    collate,
    requests,
    stop_tokens,
    tokenized,
)
from lightning_integration.rollouts.engine import Rollouts, Sampling
from lightning_integration.rollouts.vllm_routes import http_transfer
from lightning_integration.rollouts.weight_sync import LogprobCheck, save_checkpoint

ROUTES = ("path", "nccl", "ipc")


class VLLMServer:
    """Samples with a vLLM server, by its OpenAI-compatible completions and its weight routes.

    The server is started beside the trainer, with the same tokenizer:

        VLLM_SERVER_DEV_MODE=1 vllm serve FOLDER --dtype bfloat16 --max-model-len 2048 \\
            --logprobs-mode processed_logprobs --hf-overrides '{"tie_word_embeddings": false}'

    where FOLDER holds the model at the start and is the `folder` of the path route, on a disk that
    both see. A head tied to the embedding has no tensor of its own in most checkpoints, and the
    override needs one: `save_checkpoint` writes it.

    Weights go by one of three routes:
    * `path`: written to `folder`, then loaded by the server (`/collective_rpc`, development mode).
    * `nccl`, `ipc`: vLLM's weight transfer API (`/update_weights` and its sisters), for a server
      with `--weight-transfer-config`; needs vllm and a GPU on the trainer's side.

    Every sync ends with an emptied prefix cache and `LogprobCheck`. The server must answer no one
    else meanwhile.

    Args:
        model, tokenizer: the policy; the tokenizer names a token to pad with.
        url: of the server, such as "http://127.0.0.1:8000".
        folder: of the path route.
        route: one of `path`, `nccl`, `ipc`.
        tolerance: of the check, see `LogprobCheck`.
        transfer_options: of the trainer's side of nccl or ipc, such as `master_address`,
            `master_port` and `world_size`.
        dtype: of the server's weights; the model's if None.
        seconds: longest wait for an answer.
        connections: requests at once, at least 1.

    Raises:
        ArgumentError: an unknown route or dtype, or the path route without a folder.

    Equal calls give equal rollouts as far as the server's arithmetic does not depend on which
    requests it happens to run together.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        url: str,
        folder: str | Path | None = None,
        route: str = "path",
        tolerance: float | None = None,
        transfer_options: dict[str, Any] | None = None,
        dtype: str | None = None,
        seconds: float = 600.0,
        connections: int = 64,
    ) -> None:
        if route not in ROUTES:
            raise ArgumentError(f"route: expected one of {', '.join(ROUTES)}, got {route!r}")
        if route == "path" and folder is None:
            raise ArgumentError(
                "folder: expected the folder that the server reloads from, got none"
            )
        self.tokenizer = tokenizer
        self.url = url.rstrip("/")
        self.folder = Path(folder or "").absolute()
        self.route = route
        self._tolerance = tolerance
        self._dtype = model.dtype if dtype is None else getattr(torch, dtype, None)
        if not isinstance(self._dtype, torch.dtype):
            raise ArgumentError(f"dtype: expected a name such as 'bfloat16', got {dtype!r}")
        self._transfer_options = transfer_options or {}
        self._transfer: Any = None
        self._seconds = seconds
        self._pool = ThreadPoolExecutor(connections, thread_name_prefix="vllm-server")
        self._stop = stop_tokens(model, tokenizer)
        self._device = model.device
        self._name: str | None = None
        self._ready = False

    def generate(self, prompts: Sequence[str], n: int, sampling: Sampling) -> Rollouts:
        """n completions of each prompt, in one request each; see `RolloutEngine`.

        Raises:
            ArgumentError: no prompt, n < 1, or a prompt too long for the server.
            EngineError: the server cannot be reached or refuses, or had no `sync` yet.
        """
        if not self._ready:
            raise EngineError(
                "generate: expected a server in sync, got none; call sync(model) first"
            )
        ids = tokenized(prompts, n, sampling, self.tokenizer, self._room)
        asked = requests(n, sampling, len(ids), self._stop)
        return collate(ids, self._answers(ids, asked), n, self.tokenizer, self._device)

    def sync(self, model: PreTrainedModel) -> dict[str, float]:
        """Send the model's weights, empty the caches, and check; see `VLLMEngine.sync`.

        Raises:
            EngineError: the server cannot be reached, has no such route or fails; the check found
                other log-probabilities.
        """
        self._ready = False
        self._device = model.device
        if self._name is None:
            self._find(model)
        started = perf_counter()
        if self.route == "path":
            save_checkpoint(model, self.tokenizer, self.folder)
            call = {"method": "reload_weights", "kwargs": {"weights_path": str(self.folder)}}
            self._post("/collective_rpc", call)
        else:
            self._transfer = self._transfer or http_transfer(
                self.url, self.route, self._transfer_options, model
            )
            self._transfer.send_weights()
        if not self._post("/reset_prefix_cache", {}).get("success", True):
            raise EngineError(f"{self.url}: expected an idle server, got one that answers others")
        sync_ms = 1e3 * (perf_counter() - started)
        told = f"route {self.route}, {self.url}"
        metrics = self._check.run(model, self._dtype, self._probe, told)
        self._ready = True
        return {"sync_ms": sync_ms, **metrics}

    def _find(self, model: PreTrainedModel) -> None:
        """The server's model, its room, and whether it has the route."""
        needed = "/collective_rpc" if self.route == "path" else "/update_weights"
        found = self._call("/openapi.json")["paths"]
        missing = [path for path in (needed, "/reset_prefix_cache") if path not in found]
        if missing:
            raise EngineError(
                f"{self.url}: expected a server with {needed} and /reset_prefix_cache to take new "
                f"weights, got one without {' and '.join(missing)}; start vLLM 0.16 or later with "
                "VLLM_SERVER_DEV_MODE=1 in its environment"
            )
        served = self._call("/v1/models")["data"][0]
        self._name, self._room = served["id"], served["max_model_len"]
        self._check = LogprobCheck.of(model, self.tokenizer, self._room, self._tolerance)

    def _probe(self, prompts: list[list[int]], sampling: Sampling) -> list[Completion]:
        asked = requests(1, sampling, len(prompts), ())
        asked = [{**each, "ignore_eos": True} for each in asked]
        return [group[0] for group in self._answers(prompts, asked)]

    def _answers(
        self, prompts: list[list[int]], asked: list[dict[str, Any]]
    ) -> list[list[Completion]]:
        return list(self._pool.map(self._answer, prompts, asked))

    def _answer(self, prompt: list[int], asked: dict[str, Any]) -> list[Completion]:
        body = {"model": self._name, "prompt": prompt, "return_token_ids": True, **asked}
        choices = self._post("/v1/completions", body)["choices"]
        return [
            Completion(
                choice["token_ids"],
                choice["logprobs"]["token_logprobs"],
                choice["finish_reason"] == "stop",
            )
            for choice in sorted(choices, key=lambda choice: choice["index"])
        ]

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._call(path, json.dumps(body).encode())

    def _call(self, path: str, data: bytes | None = None) -> dict[str, Any]:
        request = Request(self.url + path, data, {"Content-Type": "application/json"})
        try:
            with urlopen(request, timeout=self._seconds) as answer:
                text = answer.read()
        except HTTPError as error:
            said = error.read().decode(errors="replace")[:500]
            raise EngineError(
                f"{self.url}{path}: expected an answer, got {error}: {said}"
            ) from error
        except (URLError, OSError) as error:
            raise EngineError(
                f"{self.url}{path}: expected a running `vllm serve`, got {error}; start it, or "
                "correct url in engine_options"
            ) from error
        return json.loads(text) if text else {}
