"""`python -m lightning_integration export`: a checkpoint's model as a Hugging Face folder."""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from insight_ext import ArgumentError, CheckpointError
from insight_ext.loop.checkpoint import read_checkpoint

MODEL_FILES = "model_files"
"""Where a checkpoint of `GRPOModule` keeps all of a model's folder but the weights."""
WEIGHTS = "model."  # what the names of the policy's weights begin with


def model_files(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> dict[str, Tensor]:
    """The files of configuration and tokenizer by name, as bytes (uint8), which checkpoints hold.

    Examples:
        >>> from lightning_integration.demo.model import make_model, make_tokenizer
        >>> tokenizer = make_tokenizer("01+=")
        >>> sorted(model_files(make_model(tokenizer, layers=1), tokenizer))
        ['config.json', 'generation_config.json', 'tokenizer.json', 'tokenizer_config.json']
    """
    with TemporaryDirectory() as folder:
        model.config.save_pretrained(folder)
        if model.generation_config is not None:
            model.generation_config.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        for adapters in getattr(model, "peft_config", {}).values():
            adapters.save_pretrained(folder)
        return {
            path.name: torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8)
            for path in sorted(Path(folder).iterdir())
            if path.is_file()
        }


def export(checkpoint: str | Path, folder: str | Path) -> Path:
    """Write the model that a checkpoint of `GRPOModule` holds as a folder for transformers.

    Args:
        checkpoint: such as `checkpoints/last.ckpt` in a run's folder.
        folder: a new one, or an empty one. It gets weights, configuration and tokenizer, and is
            there whole or not at all.

    Returns:
        The folder.

    Raises:
        CheckpointError: a file that is missing, damaged, or of another module.
        ArgumentError: a folder that holds something.
    """
    checkpoint, folder = Path(checkpoint), Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ArgumentError(f"{folder}: expected a new or an empty folder, got one in use")
    content = read_checkpoint(checkpoint)
    files = content.get(MODEL_FILES)
    if not files:
        raise CheckpointError(
            f"{checkpoint}: expected a checkpoint of GRPOModule with the model's configuration and "
            "tokenizer, got one without; save your own module's model with save_pretrained(...)"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        beside.mkdir()
        for name, content_of in files.items():
            (beside / Path(name).name).write_bytes(content_of.numpy().tobytes())
        _model(beside, content["state_dict"]).save_pretrained(beside)
        if folder.exists():
            folder.rmdir()
        beside.rename(folder)
    except OSError as error:
        raise ArgumentError(
            f"{folder}: cannot write the model: {error.strerror or error}"
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


def _model(folder: Path, state: dict[str, Tensor]) -> Any:
    """The model of the configuration there, with the policy's weights."""
    weights = {
        name.removeprefix(WEIGHTS): value.clone()
        for name, value in state.items()
        if name.startswith(WEIGHTS)
    }
    dtype = next(value.dtype for value in weights.values() if value.is_floating_point())
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    adapters = folder / "adapter_config.json"
    if not adapters.exists():
        model.load_state_dict(weights)
        return model
    from peft import PeftConfig, get_peft_model

    adapted = get_peft_model(model, PeftConfig.from_pretrained(str(folder)))
    adapted.load_state_dict(weights)
    adapters.unlink()  # what is written next has them inside
    return adapted.merge_and_unload()


def run(arguments: list[str]) -> None:
    """The command."""
    parser = argparse.ArgumentParser("lightning_integration export", description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="of a run, such as last.ckpt")
    parser.add_argument("folder", type=Path, help="a new folder for the model")
    asked = parser.parse_args(arguments)
    print(export(asked.checkpoint, asked.folder))
