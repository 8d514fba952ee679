"""Reading a trainer's checkpoint without a trainer: what it keeps of the selection."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from insight_ext.atomic_file import write_atomically
from insight_ext.distributed.ranks import digest
from insight_ext.errors import CheckpointError

FORMAT = 8
"""Of `SelectionLoop.state_dict`: `Stateful`'s sections, and format, pool, told and digest."""
ARCHIVE = b"PK\x03\x04"  # what a file of torch begins with
NAMES = {"format", "pool", "parts"}


def write_file(path: str | Path, state: Mapping[str, Any]) -> None:
    """Write a loop's state to a file of its own, whole or not at all.

    Raises:
        CheckpointError: the file cannot be written; the one before it is as it was.
    """

    def write(beside: Path) -> None:
        with beside.open("wb") as file:  # by its name, torch writes none without an ending
            torch.save(dict(state), file)

    try:
        write_atomically(path, write)
    except (OSError, RuntimeError) as error:
        kept = "the one before it is whole" if Path(path).exists() else "there is none yet"
        raise CheckpointError(
            f"{path}: cannot write the loop's state: {error}; {kept}; make room and resume"
        ) from error


def read_file(path: str | Path) -> dict[str, Any]:
    """What `write_file` wrote.

    Raises:
        CheckpointError: a file that is missing, truncated or of another kind.
    """
    content = _loaded(path)
    if not content.keys() >= NAMES:
        raise CheckpointError(f"{path}: expected the state of a SelectionLoop, got something else")
    return content


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The content of a Lightning trainer's checkpoint; tensors stay on the disk until used.

    Raises:
        CheckpointError: a file that is missing, truncated or of another kind.
    """
    content = _loaded(path)
    if "pytorch-lightning_version" not in content:
        raise CheckpointError(f"{path}: expected a checkpoint written by a Lightning trainer")
    return content


def read_selection(path: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a file keeps of a selection: one that `write_file` wrote, or a Lightning checkpoint.

    Returns:
        What there is to know of the trainer (nothing of a loop's own file), and the loop's state.

    Raises:
        CheckpointError: a file that is missing, truncated, of another kind or format.
    """
    content = _loaded(path)
    found: list[tuple[dict[str, Any], dict[str, Any]]] = []
    if content.keys() >= {"format", "pool"}:
        found.append(({}, content))
    for saved in content.get("callbacks", {}).values():
        state = saved.get("loop", saved) if isinstance(saved, dict) else {}
        if isinstance(state, dict) and state.keys() >= {"format", "pool"}:
            found.append(({**content, "train_seconds": saved.get("train_seconds")}, state))
    if not found:
        raise CheckpointError(
            f"{path}: the checkpoint holds no beliefs: expected one written with "
            "PromptSelectionCallback or SelectionLoop.save"
        )
    trainer, state = found[0]
    check_saved(state, f"{path}: ")
    return trainer, state


def check_saved(state: Any, where: str = "") -> None:
    """See that this is a loop's state, of this format, in full and undamaged.

    Args:
        state: what was saved.
        where: the message begins with this.

    Raises:
        CheckpointError: it is not.
    """
    if not isinstance(state, Mapping) or "format" not in state:
        raise CheckpointError(
            f"{where}the checkpoint holds no beliefs: expected one written with a SelectionLoop; "
            "to start from its weights alone, load them into the model and train without it"
        )
    if type(state["format"]) is not int or state["format"] != FORMAT:
        raise CheckpointError(
            f"{where}the checkpoint's beliefs have format {state['format']}: expected {FORMAT}; "
            "read it, or resume, with the version that wrote it"
        )
    _check_form(state, where)
    found = digest({name: part for name, part in state.items() if name != "digest"})
    if found != state.get("digest"):
        raise CheckpointError(
            f"{where}the checkpoint's beliefs are damaged: expected the digest "
            f"{state.get('digest')}, got {found}; take another checkpoint"
        )


def _check_form(state: Mapping[str, Any], where: str) -> None:
    """See that a state has its parts, and that its tensors are what they seem.

    A file of a few bytes may hold a tensor of any size whose elements share one place.
    """
    pool = state.get("pool")
    if not isinstance(pool, Mapping) or not isinstance(state.get("told"), Mapping):
        raise CheckpointError(
            f"{where}expected pool and told in the loop's state, found others; it is damaged"
        )
    waiting: list[Any] = [state]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            waiting += value.values()
        elif isinstance(value, (list, tuple)):
            waiting += value
        elif isinstance(value, Tensor) and not (
            value.layout == torch.strided
            and value.device.type == "cpu"
            and value.nbytes <= value.untyped_storage().nbytes()
        ):
            raise CheckpointError(
                f"{where}expected tensors that are stored in full on the CPU, got one of shape "
                f"{tuple(value.shape)} that is not; the file is damaged"
            )


def _loaded(path: str | Path) -> dict[str, Any]:
    if Path(path).is_dir():
        raise CheckpointError(
            f"{path}: expected a checkpoint's file, got a folder; that of a run has "
            "checkpoints/last.ckpt"
        )
    if not Path(path).exists():
        raise CheckpointError(f"{path}: expected a checkpoint's file, found none")
    is_archive = False
    try:
        with Path(path).open("rb") as file:
            is_archive = file.read(len(ARCHIVE)) == ARCHIVE
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch's reader raises what it likes
        got = "one that is damaged" if is_archive else "another kind of file"
        raise CheckpointError(
            f"{path}: expected a checkpoint, got {got}; take another checkpoint"
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: expected a checkpoint, got a {type(content).__name__}")
    return content
