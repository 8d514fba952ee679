"""Engines that turn prompts into sampled completions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from inspect import signature
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from insight_ext import ArgumentError
from insight_ext.plugins import find
from lightning_integration.rollouts.checks import Asked, check_rollouts
from lightning_integration.rollouts.engine import RolloutEngine, Rollouts, Sampling
from lightning_integration.rollouts.prompts import Messages, PromptFormat
from lightning_integration.rollouts.transformers import TransformersEngine
from lightning_integration.rollouts.vllm import VLLMEngine
from lightning_integration.rollouts.vllm_server import VLLMServer

__all__ = [
    "ENGINES",
    "Asked",
    "Messages",
    "PromptFormat",
    "RolloutEngine",
    "Rollouts",
    "Sampling",
    "TransformersEngine",
    "VLLMEngine",
    "VLLMServer",
    "check_rollouts",
    "find_engine",
    "make_engine",
]

ENGINES: dict[str, Callable[..., RolloutEngine]] = {
    "transformers": TransformersEngine,
    "vllm": VLLMEngine,
    "vllm_server": VLLMServer,
}


def make_engine(
    name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, **options: Any
) -> RolloutEngine:
    """The engine with this name in `ENGINES`, or made by what is at this import path.

    Args:
        name: a name, or `package.module:callable`; called with model, tokenizer and options.
        model, tokenizer: the policy.
        options: of the engine.

    Raises:
        ArgumentError: an unknown name, path or option.

    Examples:
        >>> from lightning_integration.demo.model import make_model, make_tokenizer
        >>> tokenizer = make_tokenizer("0123456789+=")
        >>> engine = make_engine("transformers", make_model(tokenizer, layers=1), tokenizer)
        >>> type(engine).__name__
        'TransformersEngine'
    """
    maker = find_engine(name, options)
    try:
        signature(maker).bind(model, tokenizer, **options)
    except TypeError as error:
        raise ArgumentError(f"engine_options of {name!r}: {error}") from error
    return maker(model, tokenizer, **options)


def find_engine(name: str, options: Iterable[str] = ()) -> Callable[..., RolloutEngine]:
    """What makes the engine, if it takes options of these names; nothing is made, see `find`."""
    maker: Callable[..., RolloutEngine] = find(
        "engine",
        ENGINES,
        None,
        name,
        options,
        by_place=2,  # model and tokenizer
    )
    return maker
