"""The loop: choose prompts, take in results, save. It knows no trainer."""

from __future__ import annotations

from insight_ext.loop.loop import Dealt, SelectionLoop
from insight_ext.loop.results import GroupResult

__all__ = ["Dealt", "GroupResult", "SelectionLoop"]
