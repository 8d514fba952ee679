"""Prompt selection inside Lightning: data module, callback and GRPO."""

from __future__ import annotations

from typing import Any

from lightning_integration.callback import PromptSelectionCallback
from lightning_integration.datamodule import PromptDataModule
from lightning_integration.loaders import PromptBatch, PromptLoader

__all__ = [
    "GRPOModule",
    "PromptBatch",
    "PromptDataModule",
    "PromptLoader",
    "PromptSelectionCallback",
]


def __getattr__(name: str) -> Any:
    # transformers takes seconds to import, and your own LightningModule does not need it.
    if name == "GRPOModule":
        from lightning_integration.grpo.module import GRPOModule

        return GRPOModule
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
