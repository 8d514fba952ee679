"""The log and the prompts that a command was given."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from insight_ext.beliefs.pool import PromptPool
from insight_ext.offline.logs import GroupLog, read_log


def logged(
    options: argparse.Namespace, read: Callable[..., GroupLog] = read_log, **more: Any
) -> tuple[GroupLog, PromptPool | None]:
    """Read them."""
    pool = PromptPool.from_file(options.pool) if options.pool else None
    log = read(
        options.log,
        pool=pool,
        reward=options.reward,
        success_threshold=options.success_threshold,
        **more,
    )
    return log, pool
