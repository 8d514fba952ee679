"""Packages that only some commands need, asked for before they are imported."""

from __future__ import annotations

from importlib.util import find_spec

from insight_ext.errors import InsightError


def need(what: str, *modules: str) -> None:
    """See that these are installed.

    Args:
        what: the message begins with this.
        modules: their import names.

    Raises:
        InsightError: some are missing; all of those are named.

    Example:
        >>> need("report", "json", "no_such_module")
        Traceback (most recent call last):
        ...
        insight_ext.errors.InsightError: report: expected no_such_module to be installed; run: ...
    """
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise InsightError(
            f"{what}: expected {' and '.join(missing)} to be installed; "
            "run: pip install 'insight-ext[lightning]'"
        )
