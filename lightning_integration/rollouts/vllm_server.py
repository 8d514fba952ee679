"""Rollouts by a running `vllm serve`, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from insight_ext import ArgumentError, EngineError
from lightning_integration.rollouts.checks import check_completions
from lightning_integration.rollouts.completions import (
    asked_of_vllm,
    collate,
    requests,
    stop_tokens,
    tokenized,
    vocabulary,
)
from lightning_integration.rollouts.engine import Completion, Rollouts, Sampling
from lightning_integration.rollouts.http_client import MEBIBYTE, HttpClient
from lightning_integration.rollouts.prompts import Messages, PromptFormat
from lightning_integration.rollouts.vllm_routes import http_transfer
from lightning_integration.rollouts.weight_sync import LogprobCheck, save_checkpoint

ROUTES = ("path", "nccl", "ipc")
BYTES_OF_TOKEN = 1024  # at most, in an answer: its text, its id, its log-probability


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
        self.tokenizer = tokenizer
        self.prompt_format = PromptFormat.of(prompt_format)
        self._http = HttpClient(url, seconds, retries, connections)
        self.url = self._http.url
        self.folder = Path(folder or "").absolute()
        self.route = route
        self._tolerance = tolerance
        self._dtype = model.dtype if dtype is None else getattr(torch, dtype, None)
        if not isinstance(self._dtype, torch.dtype):
            raise ArgumentError(f"dtype: expected a name such as 'bfloat16', got {dtype!r}")
        self._transfer_options = transfer_options or {}
        self._transfer: Any = None
        self._stop = stop_tokens(model, tokenizer)
        self._vocabulary = vocabulary(model)
        self._device = model.device
        self._name: str | None = None
        self._ready = False

    def generate(self, prompts: Sequence[str | Messages], n: int, sampling: Sampling) -> Rollouts:
        """n completions of each prompt, in one request each; see `RolloutEngine`.

        Raises:
            ArgumentError: no prompt, n < 1, or a prompt too long for the server or refused by
                `prompt_format`.
            EngineError: the server cannot be reached, refuses, or answers with anything but what
                it was asked (`check_completions`); or it had no `sync` yet.
        """
        if not self._ready:
            raise EngineError(
                "generate: expected a server in sync, got none; call sync(model) first"
            )
        ids = tokenized(prompts, n, sampling, self.tokenizer, self.prompt_format, self._room)
        answers = self._answers(ids, n, sampling, self._stop)
        return collate(ids, answers, n, self.tokenizer, self._device)

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
            self._http.post("/collective_rpc", call)
        else:
            self._transfer = self._transfer or http_transfer(
                self.url, self.route, self._transfer_options, model
            )
            self._transfer.send_weights()
        if not self._http.post("/reset_prefix_cache", {}).get("success", True):
            raise EngineError(f"{self.url}: expected an idle server, got one that answers others")
        sync_ms = 1e3 * (perf_counter() - started)
        told = f"route {self.route}, {self.url}"
        metrics = self._check.run(model, self._dtype, self._probe, told)
        self._ready = True
        return {"sync_ms": sync_ms, **metrics}

    def _find(self, model: PreTrainedModel) -> None:
        """The server's model, its room, and whether it has the route."""
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
            name, room = str(served["id"]), int(served["max_model_len"])
        self._name, self._room = name, room
        self._check = LogprobCheck.of(model, self.tokenizer, room, self._tolerance)

    def _probe(self, prompts: list[list[int]], sampling: Sampling) -> list[Completion]:
        return [group[0] for group in self._answers(prompts, 1, sampling, stop=())]

    def _answers(
        self, prompts: list[list[int]], n: int, sampling: Sampling, stop: Sequence[int]
    ) -> list[list[Completion]]:
        asked = asked_of_vllm(self._told, len(prompts), n, sampling, self._vocabulary, stop)
        bodies = [
            {"model": self._name, "prompt": prompt, "return_token_ids": True, **parameters}
            for prompt, parameters in zip(prompts, requests(asked, sampling), strict=True)
        ]
        tokens = asked.n * (asked.max_new_tokens + max(map(len, prompts)))
        answers = self._http.post_all("/v1/completions", bodies, MEBIBYTE + BYTES_OF_TOKEN * tokens)
        expected = "choices with index, token_ids, logprobs and finish_reason"
        with self._understood("/v1/completions", expected):
            groups = [[_completion(choice) for choice in answer["choices"]] for answer in answers]
        check_completions(groups, asked)
        return groups

    @property
    def _told(self) -> str:
        return f"vllm_server at {self.url}"

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
