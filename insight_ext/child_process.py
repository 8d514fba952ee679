"""Processes that end with the one that started them."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # of Linux


def end_with(parent: int, how: int = signal.SIGKILL) -> None:
    """In a new process: have Linux end it when its parent ends, however that ends.

    Args:
        parent: the process that started this one.
        how: the signal that it gets.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, how)
    if os.getppid() != parent:  # it has ended already
        os._exit(1)
