"""The exceptions of insight_ext. Each says what was expected, what came, where, and what to do."""

from __future__ import annotations

from insight_ext.visible_text import visible_text


class InsightError(Exception):
    r"""Base of every error that insight_ext raises on purpose.

    A message is one line, and what it quotes from files and models cannot act on a terminal:

    Examples:
        >>> print(InsightError("no prompt named 'a\n\x1b[31m'"))
        no prompt named 'a\n\x1b[31m'
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(visible_text(message))


class ArgumentError(InsightError, ValueError):
    """An argument has the wrong value, shape, dtype or device."""


class BeliefError(InsightError, ValueError):
    """A belief is not finite or not positive; `index` is the first bad one."""

    def __init__(self, message: str, index: int | None = None) -> None:
        super().__init__(message)
        self.index = index


class ObservationError(InsightError, ValueError):
    """What came back from a rollout cannot be counted."""


class PoolError(InsightError, ValueError):
    """A set of prompts is empty, ambiguous or unreadable."""


class CheckpointError(InsightError, ValueError):
    """A saved state belongs to another pool, other settings or another format."""


class DeviceError(InsightError, RuntimeError):
    """A device is missing, too old, or failed."""


class EngineError(InsightError, RuntimeError):
    """A rollout engine is missing, cannot run the model, or holds weights of its own."""
