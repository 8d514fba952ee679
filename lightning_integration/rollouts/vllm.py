"""Rollouts by vLLM in the training process."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from insight_ext import ArgumentError, EngineError
from lightning_integration.rollouts.completions import TokenEngine
from lightning_integration.rollouts.engine import Completion, Sampling
from lightning_integration.rollouts.prompts import PromptFormat
from lightning_integration.rollouts.vllm_routes import (
    ROUTES,
    LocalClient,
    known_routes,
    open_transfer,
    vllm_version,
)
from lightning_integration.rollouts.weight_sync import (
    checkpoint_weights,
    save_checkpoint,
    save_description,
    untied,
)

DEFAULTS = {"logprobs_mode": "processed_logprobs", "gpu_memory_utilization": 0.3}
# As one engine is collected, vLLM takes the process groups away from all others of the process.
_STARTED: list[Any] = []


class VLLMEngine(TokenEngine):
    """Samples with a vLLM engine of this process, which takes over the trainer's weights.

    vLLM starts with the first `sync`, after the trainer has set up its devices: with the model's
    architecture, and random weights where the route allows, so that a weight that the sync leaves
    out cannot go unnoticed. Every sync ends with `LogprobCheck`. Every call of `generate` begins
    with an empty prefix cache: keys and values of old weights would change the outputs silently,
    and equal calls would not give equal rollouts.

    Weights go by one of three routes:
    * `iterator`: tensor by tensor inside the process; needs vLLM's workers in it, as they are with
      one device, or with `distributed_executor_backend: external_launcher`.
    * `path`: through a checkpoint file in the temporary folder (`TMPDIR`); for workers in processes
      of their own (`tensor_parallel_size` above 1).
    * `transfer`: vLLM's weight transfer API, where the options hold a `weight_transfer_config`.

    The weights of a model go by the names that its `state_dict` has.

    Args:
        model, tokenizer: the policy; the tokenizer names a token to pad with.
        route: "auto" for the first that is possible, transfer (if configured), iterator, path.
        sleep: give the GPU's memory back during the updates; needs a GPU.
        tolerance: of the check, see `LogprobCheck`.
        transfer_options: what the backend of the transfer wants to know on the trainer's side, such
            as `master_address`, `master_port` and `world_size` for nccl.
        prompt_format: how prompts become tokens: a `PromptFormat`, or its options by name.
        options: of `vllm.LLM`: `dtype` (the model's if not given), `max_model_len`,
            `tensor_parallel_size`, `gpu_memory_utilization` (0.3), `enforce_eager` and so on.

    Raises:
        ArgumentError: an unknown route or option of `prompt_format`.
        EngineError: vllm is not installed.

    vLLM seeds the global generators, draws from them and replaces `torch.set_num_threads`; all are
    put back. It also initialises torch.distributed, and stays in memory until the process ends.
    """

    _name = "vllm"

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        route: str = "auto",
        sleep: bool = False,
        tolerance: float | None = None,
        transfer_options: dict[str, Any] | None = None,
        prompt_format: PromptFormat | Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        if route not in ("auto", *ROUTES):
            raise ArgumentError(
                f"route: expected auto or one of {', '.join(ROUTES)}, got {route!r}"
            )
        if find_spec("vllm") is None:
            raise EngineError(
                "engine vllm: expected the package vllm, found none; pip install "
                "'insight-ext[vllm]' (a GPU), or choose engine: transformers or vllm_server"
            )
        self._set_up(model, tokenizer, tolerance, transfer_options, prompt_format)
        self.options = DEFAULTS | {"dtype": str(model.dtype).removeprefix("torch.")} | options
        self.route = route
        self._program = f"vLLM {vllm_version()}"
        self._sleeps = sleep
        self._llm: Any = None

    @property
    def _missing(self) -> str:
        return f"an engine with weights, got one {'asleep' if self._llm else 'that has none yet'}"

    def sleep(self) -> None:
        """Free weights and cache until the next `sync`; nothing without `sleep=True`."""
        if self._sleeps and self._ready:
            self._ready = False
            self._llm.sleep(level=2)

    def _start(self, model: PreTrainedModel) -> int:
        """Start vLLM with the model's architecture, and choose the route."""
        # In this process: the iterator's route and memory shared with the trainer need it.
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        self._folder = TemporaryDirectory(prefix="insight_ext-vllm-")
        folder = Path(self._folder.name)
        options = self.options | {
            "model": str(folder),
            "hf_overrides": untied(self.options.get("hf_overrides")),
            "enable_sleep_mode": self._sleeps,
        }
        self._runnable = _runnable(model, options["dtype"])
        with _host_state_kept(), _explained(*self._runnable):
            from vllm import LLM

            routes = known_routes(options)
            if self.route == "auto":
                self.route = routes[0]
            if self.route == "path":
                save_checkpoint(model, self.tokenizer, folder)
            else:
                save_description(model, self.tokenizer, folder)
                options["load_format"] = "dummy"
            llm = LLM(**options)
        # A line for every sync, about rotary embeddings, which have no weights.
        logging.getLogger("vllm.model_executor.model_loader.reload").setLevel(logging.ERROR)
        _STARTED.append(llm)
        self._llm = llm
        config = llm.llm_engine.vllm_config.model_config
        self._dtype = config.dtype
        return int(config.max_model_len)

    def _send(self, model: PreTrainedModel, told: str) -> None:
        expected = f"weight sync ({told}): expected vLLM to take the weights"
        with _explained(expected, f"try another route of {', '.join(ROUTES)}"):
            if self._sleeps:
                self._llm.wake_up(tags=["weights"])
            if self.route == "transfer":
                self._transfer = self._transfer or open_transfer(
                    self.options["weight_transfer_config"],
                    self._transfer_options,
                    LocalClient(self._llm),
                    model,
                )
                self._transfer.send_weights()
            elif self.route == "path":
                save_checkpoint(model, self.tokenizer, Path(self._folder.name))
                self._reload(weights_path=self._folder.name)
            else:
                self._reload(weights_iterator=checkpoint_weights(model))
            if self._sleeps:
                self._llm.wake_up(tags=["kv_cache"])

    def _reload(self, **weights: Any) -> None:
        self._llm.collective_rpc("reload_weights", kwargs=weights)

    def _probe(self, prompts: list[list[int]], sampling: Sampling) -> list[Completion]:
        with _explained(*self._runnable):
            return super()._probe(prompts, sampling)

    def _ask(
        self, prompts: list[list[int]], parameters: list[dict[str, Any]]
    ) -> list[list[Completion]]:
        from vllm import SamplingParams

        if not self._llm.reset_prefix_cache():
            raise EngineError("vLLM: expected no request under way, so that caches can be emptied")
        with _host_state_kept():
            outputs = self._llm.generate(
                [{"prompt_token_ids": ids} for ids in prompts],
                [SamplingParams(**each, detokenize=False) for each in parameters],
                use_tqdm=False,
            )
        return [[_completion(one) for one in output.outputs] for output in outputs]


def _completion(output: Any) -> Completion:
    pairs = zip(output.token_ids, output.logprobs or (), strict=False)
    logprobs = [at[token].logprob for token, at in pairs]
    return Completion(list(output.token_ids), logprobs, output.finish_reason, output.index)


def _runnable(model: PreTrainedModel, dtype: str) -> tuple[str, str]:
    """What is expected of vLLM and what to do if it fails, for the error."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_attention_heads", None)
    size = getattr(config, "head_dim", None) or (heads and config.hidden_size // heads)
    device = "GPU" if torch.cuda.is_available() else "CPU"
    return (
        f"engine vllm: expected a model that vLLM {vllm_version()} runs on this {device}: "
        f"{type(model).__name__} with head size {size} in {dtype}",
        "on a CPU take a model with heads of size 32, 64, 80, 96, 112, 128 or 256; otherwise look "
        "at engine_options and at vLLM's own log, or choose engine: transformers",
    )


@contextmanager
def _explained(expected: str, advice: str) -> Iterator[None]:
    """What vLLM raises inside, as an EngineError."""
    try:
        yield
    except EngineError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:500]
        raise EngineError(f"{expected}; got {type(error).__name__}: {text}; {advice}") from error


@contextmanager
def _host_state_kept() -> Iterator[None]:
    """Global generators and torch.set_num_threads as they were before."""
    python, numpy, set_threads = random.getstate(), np.random.get_state(), torch.set_num_threads
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
            torch.set_num_threads = set_threads
