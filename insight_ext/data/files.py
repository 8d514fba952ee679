"""Which files a path stands for, and how their contents are called in messages."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path
from typing import Any

from insight_ext.errors import ArgumentError, InsightError, ObservationError, PoolError

# Of the files in a folder; a .json file is read where it is named.
IN_FOLDERS = (".csv", ".jsonl", ".parquet", ".arrow")
ENDINGS = (*IN_FOLDERS, ".json")
COMPRESSED = (".gz", ".zst")
SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})$")
SPLIT = re.compile(r"(train|test|val|valid|validation|dev|eval|held_out)(?![a-zA-Z])")
ON_THE_HUB = re.compile(r"[\w-][\w.-]*/[\w.-]+")

Paths = str | Path | Iterable[str | Path]


@dataclass(frozen=True)
class Purpose:
    """What files are read as: the word for it, and the exceptions."""

    word: str
    not_found: type[InsightError]
    malformed: type[InsightError]


POOL = Purpose("prompts", PoolError, PoolError)
LOG = Purpose("a log", ArgumentError, ObservationError)


def ending(path: Path) -> str:
    """The path's format: its ending, without that of a compression.

    Examples:
        >>> ending(Path("pool.jsonl.gz"))
        '.jsonl'
    """
    return Path(path.stem).suffix if path.suffix in COMPRESSED else path.suffix


def find_files(paths: Paths, purpose: Purpose) -> list[Path]:
    """The files that a path, a pattern, a folder or a list of these stands for.

    A folder stands for its files, by name; numbers in names count as numbers. A folder that
    `datasets` saved stands for what it lists, a downloaded repository for its `data` folder.

    Raises:
        Purpose.not_found: nothing there, another ending, several splits, a name on the Hub.

    Warns:
        UserWarning: shards such as `train-00000-of-00002` of which some are not among the files.
    """
    listed: list[Any] = [paths]
    if isinstance(paths, Iterable) and not isinstance(paths, str):
        listed = list(paths)
    if not all(isinstance(path, str | Path) for path in listed):
        raise purpose.not_found(f"expected a path or a list of paths, got {paths!r:.80}")
    files = [file for path in listed for file in _expanded(path, purpose)]
    for file in files:
        if ending(file) not in ENDINGS:
            raise purpose.not_found(f"{file}: expected a file ending in {', '.join(ENDINGS)}")
    if not files:
        raise purpose.not_found(f"expected {purpose.word}, got an empty list of files")
    _warn_of_missing_shards(files)
    return files


def _expanded(path: str | Path, purpose: Purpose) -> list[Path]:
    given, path = str(path), Path(path)
    if path.is_dir():
        return _in_folder(path, purpose)
    if path.exists():
        return [path]
    if has_magic(given):
        found = sorted(map(Path, glob(given, recursive=True)), key=_natural)  # noqa: PTH207
        files = [file for file in found if file.is_file()]
        if files:
            return files
    elif ON_THE_HUB.fullmatch(given) and ending(path) not in ENDINGS:
        raise purpose.not_found(
            f"{given}: no such file or folder; if it is a data set on the Hugging Face Hub, "
            f"download it (hf download {given} --repo-type dataset --local-dir {path.name}) and "
            f"give the folder {path.name}"
        )
    raise _none_found(path, purpose)


def _none_found(path: Path, purpose: Purpose, more: str = "") -> InsightError:
    return purpose.not_found(
        f"{path}: expected {purpose.word}, a file or a folder of files ending in "
        f"{', '.join(IN_FOLDERS)}, found none{more}"
    )


def _in_folder(folder: Path, purpose: Purpose) -> list[Path]:
    if (folder / "dataset_dict.json").exists():
        splits = [path for path in sorted(folder.iterdir()) if (path / "state.json").exists()]
        if len(splits) == 1:
            return _in_folder(splits[0], purpose)
        raise _several_splits(folder, [path.name for path in splits], str(folder / "{}"), purpose)
    if (folder / "state.json").exists():
        return _saved_by_datasets(folder, purpose)
    files = [
        file
        for file in sorted(folder.iterdir(), key=_natural)
        if ending(file) in IN_FOLDERS and file.name[0] != "." and file.is_file()
    ]
    if not files:
        below = [sub for sub in sorted(folder.iterdir()) if sub.is_dir() and sub.name[0] != "."]
        if folder / "data" in below:
            return _in_folder(folder / "data", purpose)
        names = ", ".join(sub.name for sub in below)
        raise _none_found(folder, purpose, f"; it holds the folders {names}" if names else "")
    named = list(dict.fromkeys(found[1] for file in files if (found := SPLIT.match(file.name))))
    if len(named) > 1:
        raise _several_splits(folder, named, f"'{folder}/{{}}*{files[0].suffix}'", purpose)
    return files


def _several_splits(
    folder: Path, splits: list[str], pattern: str, purpose: Purpose
) -> InsightError:
    example = pattern.format(splits[0]) if splits else "one"
    return purpose.not_found(
        f"{folder}: expected one split, found {', '.join(splits) or 'none'}; give one of them, "
        f"such as {example}"
    )


def _saved_by_datasets(folder: Path, purpose: Purpose) -> list[Path]:
    try:
        listed = json.loads((folder / "state.json").read_text())["_data_files"]
        files = [folder / entry["filename"] for entry in listed]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise purpose.malformed(
            f"{folder / 'state.json'}: expected the list of files that datasets saves, "
            f"got {error!r}"
        ) from error
    for file in files:
        if not file.exists():
            raise purpose.malformed(f"{file}: the file is missing; state.json lists it")
    return files


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sorts 2.jsonl before 10.jsonl."""
    parts = re.split(r"(\d+)", path.as_posix())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _warn_of_missing_shards(files: list[Path]) -> None:
    shards: dict[tuple[Path, str, int, str], set[int]] = {}
    for file in files:
        stem, dot, rest = file.name.partition(".")
        found = SHARD.fullmatch(stem)
        if found:
            key = file.parent, found[1], int(found[3]), dot + rest
            shards.setdefault(key, set()).add(int(found[2]))
    for (folder, stem, total, rest), given in shards.items():
        missing = [number for number in range(total) if number not in given]
        if missing:
            name = f"{stem}-{missing[0]:05d}-of-{total:05d}{rest}"
            warnings.warn(
                f"{folder}: {len(given)} of {total} shards are read, {name} is not among them; "
                f"give all of them ('{folder / stem}-*{rest}') unless a part is meant",
                stacklevel=2,
            )
