"""Starts a program whose imports take seconds, so that Ctrl-C is heard from the first moment."""

from __future__ import annotations

import sys
from importlib import import_module

STOPPED = 130  # as a shell says of a command that Ctrl-C ended


def start(module: str) -> int:
    """Import a module and run its `main`; returns the exit status."""
    try:
        return int(import_module(module).main())
    except KeyboardInterrupt:
        print(f"\n{module}: stopped before it began; nothing was written", file=sys.stderr)
        return STOPPED
