"""The log and the prompts that a command was given."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from insight_ext.beliefs.pool import PromptPool
from insight_ext.offline.logs import GroupLog, read_log
from insight_ext.plugins import parsed_options


def read_pool(path: Path, field: list[str]) -> PromptPool:
    """The prompts of a file by the fields that `--field` names."""
    return PromptPool.from_file(path, fields=parsed_options(field, "field"))


def logged(
    options: argparse.Namespace, read: Callable[..., GroupLog] = read_log, **more: Any
) -> tuple[GroupLog, PromptPool | None]:
    """Read them."""
    pool = read_pool(options.pool, options.field) if options.pool else None
    log = read(
        options.log,
        pool=pool,
        reward=options.reward,
        success_threshold=options.success_threshold,
        **more,
    )
    return log, pool
