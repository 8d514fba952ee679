"""When and where a run began, and from which commit: what only the run itself can tell."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import torch

from insight_ext.atomic_file import write_text
from insight_ext.kernel.build_info import build_info
from insight_ext.runs.layout import FACTS_FILE


def write_facts(folder: Path, *, resumed: bool = False) -> None:
    """Write `run_facts` into a run's folder; a resumed run keeps those of its beginning."""
    path = folder / FACTS_FILE
    if not (resumed and path.exists()):
        write_text(path, json.dumps(run_facts(), indent=2) + "\n")


def run_facts() -> dict[str, str]:
    """What the report says at its top about this process.

    Returns:
        started: time in UTC, to the second. commit: of the Git repository of the working directory,
        with "-dirty" where files differ from it; missing outside of one. machine: processor, cores
        and CUDA devices. software: versions of Python, torch and this package.

    Examples:
        >>> sorted(run_facts().keys() - {"commit"})
        ['machine', 'software', 'started']
    """
    devices = [torch.cuda.get_device_name(at) for at in range(torch.cuda.device_count())]
    facts = {
        "started": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        "machine": ", ".join([_processor(), f"{os.cpu_count()} cores", *devices]),
        "software": (
            f"Python {platform.python_version()}, torch {torch.__version__}, "
            f"insight-ext {build_info()['version']}"
        ),
    }
    commit = _commit()
    return facts if commit is None else {**facts, "commit": commit}


def _processor() -> str:
    """Its name as Linux tells it; elsewhere what Python knows."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _commit() -> str | None:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None  # no Git here, or no repository
    return asked.stdout.strip()
