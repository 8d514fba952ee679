"""The checkpoint of a sharded pool: one file for each rank that wrote it, and a manifest.

    FOLDER/manifest.json                     settings, and which version of the shards it is
    FOLDER/000007-5c1f09ab/shard-00002.pt    rank 2's part of version 7: tensors and primitives

A version is complete before the manifest, replaced as a whole, names it; the one before is removed
after that. A kill at any moment leaves the old checkpoint or the new one.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from insight_ext.errors import CheckpointError

FORMAT = 1
COLUMNS = {
    "alpha": torch.float32,
    "beta": torch.float32,
    "visits": torch.int32,
    "latest": torch.int32,
}
VERSION = re.compile(r"\d{6,}-[0-9a-f]{8}")
BLOCK = 1 << 22  # beliefs looked at together


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint says about itself.

    Attributes:
        settings: of the pool.
        step: of the beliefs.
        version: the folder of the shards.
        starts: the first prompt of each shard, ascending.
    """

    settings: dict[str, Any]
    step: int
    version: str
    starts: list[int]
    format: int = FORMAT

    def shards(self) -> Iterator[tuple[Path, int, int]]:
        """(file in the folder, first prompt, prompt after the last) of each shard."""
        ends = [*self.starts[1:], self.settings["size"]]
        for rank, (start, end) in enumerate(zip(self.starts, ends, strict=True)):
            yield shard_file(self.version, rank), start, end


def shard_file(version: str, rank: int) -> Path:
    return Path(version) / f"shard-{rank:05d}.pt"


def versions(folder: Path) -> list[str]:
    """The folders of shards there are, complete or not, the latest last."""
    names = [path.name for path in folder.glob("*") if VERSION.fullmatch(path.name)]
    return sorted(names, key=_number)


def next_version(folder: Path) -> str:
    """A name that no version has, of this run or of another."""
    number = 1 + max((_number(version) for version in versions(folder)), default=0)
    return f"{number:06d}-{secrets.token_hex(4)}"


def _number(version: str) -> int:
    return int(version.partition("-")[0])


def write_shard(
    folder: Path,
    version: str,
    rank: int,
    settings: dict[str, Any],
    first: int,
    columns: dict[str, Tensor],
) -> None:
    """Writes one rank's part of a version that no manifest names yet."""
    said = {"format": FORMAT, "version": version, "settings": settings, "first": first}
    content = said | columns
    path = folder / shard_file(version, rank)
    _replace(path, lambda beside: torch.save(content, beside))


def commit(folder: Path, manifest: Manifest) -> None:
    """Makes a version, complete by now, the checkpoint, and removes the others."""
    for file, _, _ in manifest.shards():
        if not (folder / file).exists():
            raise CheckpointError(
                f"{folder / file}: expected here what that rank has written; "
                "save to a folder that all ranks share"
            )
    text = json.dumps(asdict(manifest), indent=1)
    _replace(folder / "manifest.json", lambda beside: beside.write_text(text))
    for version in versions(folder):
        if version != manifest.version:
            remove(folder, version)


def is_checkpoint(folder: Path, version: str) -> bool:
    """Whether the manifest names this version."""
    path = folder / "manifest.json"
    return path.exists() and f'"{version}"' in path.read_text()


def remove(folder: Path, version: str, rank: int | None = None) -> None:
    """Removes a version's shards, or one rank's of them; nothing else that may lie there."""
    pattern = "shard-*" if rank is None else f"{shard_file(version, rank).stem}.*"
    for path in (folder / version).glob(pattern):
        path.unlink(missing_ok=True)
    if (folder / version).exists() and not any((folder / version).iterdir()):
        (folder / version).rmdir()


def read_manifest(folder: Path) -> Manifest:
    """CheckpointError unless there is a manifest of this format."""
    path = folder / "manifest.json"
    foreign = f"{path}: not the manifest of a sharded pool"
    try:
        said = json.loads(path.read_text())
    except OSError as error:
        raise CheckpointError(f"{path}: cannot read: {error.strerror}") from error
    except ValueError as error:
        raise CheckpointError(foreign) from error
    if not isinstance(said, dict) or "format" not in said:
        raise CheckpointError(foreign)
    if said["format"] != FORMAT:
        raise CheckpointError(f"{path}: expected format {FORMAT}, got {said['format']}")
    try:
        manifest = Manifest(**said | {"step": int(said["step"])})
        shards = list(manifest.shards())
        whole = shards[0][1] == 0 and all(start < end for _, start, end in shards)
    except (TypeError, KeyError, IndexError, ValueError) as error:
        raise CheckpointError(foreign) from error
    if not whole:
        raise CheckpointError(
            f"{path}: expected shards from prompt 0 to the last, got starts {manifest.starts}"
        )
    return manifest


def read_parts(
    folder: Path, manifest: Manifest, first: int, end: int
) -> list[tuple[int, dict[str, Tensor]]]:
    """The saved prompts in [first, end): (place of the part's first prompt, its columns).

    Tensors of mapped files: only what is looked at is read.

    Raises:
        CheckpointError: a shard is missing, truncated, not of this checkpoint, or holds a belief
            that is none.
    """
    parts = []
    for file, start, stop in manifest.shards():
        low, high = max(start, first), min(stop, end)
        if low >= high:
            continue
        path = folder / file
        content = _read_shard(path)
        expected = {
            "format": FORMAT,
            "version": manifest.version,
            "settings": manifest.settings,
            "first": start,
        }
        for key, value in expected.items():
            if content.get(key) != value:
                raise CheckpointError(
                    f"{path}: expected {key} {value} as the manifest has it, "
                    f"got {content.get(key)!r:.80}"
                )
        for name, dtype in COLUMNS.items():
            column = content.get(name)
            shape = (stop - start,)
            if not isinstance(column, Tensor):
                raise CheckpointError(f"{path}: expected {name}, got {column!r:.80}")
            if (column.dtype, column.shape) != (dtype, shape):
                raise CheckpointError(
                    f"{path}: expected {name} {dtype} {shape}, "
                    f"got {column.dtype} {tuple(column.shape)}"
                )
        columns = {name: content[name][low - start : high - start] for name in COLUMNS}
        for name in ("alpha", "beta"):
            _check_beliefs(path, name, columns[name], low)
        parts.append((low, columns))
    return parts


def _read_shard(path: Path) -> dict[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).partition("\n")[0]
        raise CheckpointError(f"{path}: cannot read this shard: {reason}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: expected a shard, got {type(content).__name__}")
    return content


def _check_beliefs(path: Path, name: str, values: Tensor, first: int) -> None:
    for start in range(0, len(values), BLOCK):
        block = values[start : start + BLOCK]
        bad = ~(torch.isfinite(block) & (block > 0))
        if bad.any():
            at = int(bad.nonzero()[0])
            raise CheckpointError(
                f"{path}: expected finite and positive {name}, got {float(block[at])} "
                f"for prompt {first + start + at}"
            )


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    """Writes a file beside, brings it to the disk and gives it its name, or leaves no trace."""
    beside = path.with_suffix(".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(beside)
        _to_disk(beside)
        beside.replace(path)
        _to_disk(path.parent)
        _to_disk(path.parent.parent)
    except (OSError, RuntimeError) as error:
        beside.unlink(missing_ok=True)
        reason = str(error).partition("\n")[0]
        raise CheckpointError(f"{path}: cannot write: {reason}") from error


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
