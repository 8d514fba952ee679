"""Starts a program whose imports take seconds, so that Ctrl-C is heard from the first moment."""

from __future__ import annotations

import sys
from importlib import import_module

from insight_ext.progress import STOPPED


def start(module: str) -> int:
    """Import a module and run its `main`; returns the exit status."""
    try:
        return int(import_module(module).main())
    except KeyboardInterrupt:
        print(f"\n{module}: stopped before it began; nothing was written", file=sys.stderr)
        return STOPPED
