"""Files that are there whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path


def write_atomically(path: str | Path, write: Callable[[Path], object]) -> None:
    """Write a file beside, bring it to the disk, then give it its name.

    A reader finds the old file or the new one, also after a kill or a power cut. A link stays a
    link: what it points to is replaced. Permissions of an existing file are kept.

    Args:
        path: of the file; its folder is made if there is none.
        write: gets the path to write to, in the same folder and with the same ending.

    Raises:
        OSError: no room, no permission, a device or a pipe. What was there before is whole, and no
            trace is left; the same holds for whatever `write` raises.

    Cost: two fsyncs, of the file and of its folder.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_atomically(f"{folder}/note.txt", lambda beside: beside.write_text("done"))
        ...     Path(folder, "note.txt").read_text()
        'done'
    """
    path, beside = Path(path).resolve(), unfinished(path)
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "it is no regular file and stays", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        write(beside)
        if path.exists():
            shutil.copymode(path, beside)
        sync(beside)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync(path.parent)


def write_text(path: str | Path, text: str) -> None:
    """`write_atomically` a text in UTF-8; half of a surrogate pair becomes its escape.

    Raises:
        OSError: see there.
    """
    content = text.encode(errors="backslashreplace")
    write_atomically(path, lambda beside: beside.write_bytes(content))


def unfinished(path: str | Path) -> Path:
    """Where `write_atomically` lets a file be written."""
    path = Path(path).resolve()
    return path.with_name(f".unfinished-{path.name}")


def sync(path: Path) -> None:
    """Bring a file, or a folder's list of files, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
