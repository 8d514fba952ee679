"""Text from files and models as a terminal or a spreadsheet may show it."""

from __future__ import annotations

import re

# Control characters, and those that turn the order of what follows around.
CONTROL = "\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069"
ANY_CONTROL = re.compile(f"[{CONTROL}\ud800-\udfff]")
BUT_LINES = re.compile(f"(?![\t\n\r])[{CONTROL}\ud800-\udfff]")


def visible_text(text: str, *, keep_lines: bool = False) -> str:
    r"""The text with escapes in place of control characters, so that none of them acts.

    Args:
        text: anything.
        keep_lines: leave tabs and the ends of lines as they are.

    Examples:
        >>> print(visible_text("a\x1b[31mb\n"), visible_text("[/INST] Grüße 😀"))
        a\x1b[31mb\n [/INST] Grüße 😀
    """
    pattern = BUT_LINES if keep_lines else ANY_CONTROL
    return pattern.sub(lambda found: ascii(found[0])[1:-1], text)


def reason(error: Exception) -> str:
    """Why a file could not be read or written, without the number and the path of an OSError.

    Examples:
        >>> reason(FileNotFoundError(2, "No such file or directory", "nope.yaml"))
        'No such file or directory'
    """
    if not isinstance(error, OSError):
        return str(error)
    return (error.strerror or str(error)).partition("\n")[0]
