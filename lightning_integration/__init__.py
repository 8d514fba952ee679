"""Prompt selection inside Lightning: data module, callback and GRPO."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_integration.callback import PromptSelectionCallback
    from lightning_integration.datamodule import PromptDataModule
    from lightning_integration.grpo.module import GRPOModule
    from lightning_integration.loaders import PromptBatch, PromptLoader

__all__ = [
    "GRPOModule",
    "PromptBatch",
    "PromptDataModule",
    "PromptLoader",
    "PromptSelectionCallback",
]

# Where the names are. They are imported when they are asked for: Lightning and transformers take
# seconds, and your own LightningModule needs no transformers.
_PLACE_OF = {
    "GRPOModule": "grpo.module",
    "PromptBatch": "loaders",
    "PromptDataModule": "datamodule",
    "PromptLoader": "loaders",
    "PromptSelectionCallback": "callback",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"lightning_integration.{_PLACE_OF[name]}"), name)
