"""Rollouts by a running `vllm serve`, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from insight_ext import ArgumentError, EngineError
from lightning_integration.rollouts.completions import TokenEngine
from lightning_integration.rollouts.engine import Completion
from lightning_integration.rollouts.http_client import MEBIBYTE, HttpClient
from lightning_integration.rollouts.prompts import PromptFormat
from lightning_integration.rollouts.vllm_routes import http_transfer
from lightning_integration.rollouts.weight_sync import save_checkpoint

ROUTES = ("path", "nccl", "ipc")
BYTES_OF_TOKEN = 1024  # at most, in an answer: its text, its id, its log-probability


class VLLMServer(TokenEngine):
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
        seconds: longest wait for all completions of a call of `generate`; see `HttpClient`.
        retries: how often a request is tried again.
        connections: requests at once, at least 1.
        prompt_format: how prompts become tokens: a `PromptFormat`, or its options by name.

    Raises:
        ArgumentError: an unknown route, dtype or option of `prompt_format`, the path route without
            a folder, or an argument that `HttpClient` refuses.

    Equal calls give equal rollouts as far as the server's arithmetic does not depend on which
    requests it happens to run together.
    """

    _missing = "a server in sync, got none"

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
        seconds: float = 1800.0,
        retries: int = 4,
        connections: int = 64,
        prompt_format: PromptFormat | Mapping[str, Any] | None = None,
    ) -> None:
        if route not in ROUTES:
            raise ArgumentError(f"route: expected one of {', '.join(ROUTES)}, got {route!r}")
        if route == "path" and folder is None:
            raise ArgumentError(
                "folder: expected the folder that the server reloads from, got none"
            )
        self._set_up(model, tokenizer, tolerance, transfer_options, prompt_format)
        self._http = HttpClient(url, seconds, retries, connections)
        self.url = self._program = self._http.url
        self._name = f"vllm_server at {self.url}"
        self.folder = Path(folder or "").absolute()
        self.route = route
        own = model.dtype if dtype is None else getattr(torch, dtype, None)
        if not isinstance(own, torch.dtype):
            raise ArgumentError(f"dtype: expected a name such as 'bfloat16', got {dtype!r}")
        self._dtype = own

    def _send(self, model: PreTrainedModel, told: str) -> None:
        if self.route == "path":
            save_checkpoint(model, self.tokenizer, self.folder)
            call = {"method": "reload_weights", "kwargs": {"weights_path": str(self.folder)}}
            self._http.post("/collective_rpc", call)
        else:
            self._transfer = self._transfer or http_transfer(
                self.url, self.route, self._transfer_options, model
            )
            self._transfer.send_weights()
        if not self._http.post("/reset_prefix_cache", {}).get("success", True):
            raise EngineError(f"{self.url}: expected an idle server, got one that answers others")

    def _start(self, model: PreTrainedModel) -> int:
        """See that the server has the route; find its model, and return its room."""
        needed = "/collective_rpc" if self.route == "path" else "/update_weights"
        with self._understood("/openapi.json", "the paths of a vLLM server"):
            found = self._http.get("/openapi.json")["paths"]
            missing = [path for path in (needed, "/reset_prefix_cache") if path not in found]
        if missing:
            raise EngineError(
                f"{self.url}: expected a server with {needed} and /reset_prefix_cache to take new "
                f"weights, got one without {' and '.join(missing)}; start vLLM 0.16 or later with "
                "VLLM_SERVER_DEV_MODE=1 in its environment"
            )
        with self._understood("/v1/models", "a model with id and max_model_len"):
            served = self._http.get("/v1/models")["data"][0]
            self._served, room = str(served["id"]), int(served["max_model_len"])
        return room

    def _ask(
        self, prompts: list[list[int]], parameters: list[dict[str, Any]]
    ) -> list[list[Completion]]:
        bodies = [
            {"model": self._served, "prompt": prompt, "return_token_ids": True, **each}
            for prompt, each in zip(prompts, parameters, strict=True)
        ]
        tokens = max(each["n"] * (each["max_tokens"] + len(each["prompt"])) for each in bodies)
        answers = self._http.post_all("/v1/completions", bodies, MEBIBYTE + BYTES_OF_TOKEN * tokens)
        expected = "choices with index, token_ids, logprobs and finish_reason"
        with self._understood("/v1/completions", expected):
            return [[_completion(choice) for choice in answer["choices"]] for answer in answers]

    @contextmanager
    def _understood(self, path: str, expected: str) -> Iterator[None]:
        """What is missing in an answer, as an EngineError."""
        try:
            yield
        except (LookupError, TypeError, ValueError, ArithmeticError) as error:
            raise EngineError(
                f"{self.url}{path}: expected {expected}, got an answer of another form "
                f"({type(error).__name__}: {error}); is this vLLM 0.16 or later?"
            ) from error


def _completion(choice: dict[str, Any]) -> Completion:
    return Completion(
        choice["token_ids"],
        choice["logprobs"]["token_logprobs"],
        choice["finish_reason"],
        choice["index"],
    )
