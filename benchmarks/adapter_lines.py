"""`python -m benchmarks.adapter_lines`: how long each trainer's adapter is.

Lines that hold code: without docstrings, comments and blank lines.
"""

from __future__ import annotations

import ast
import io
import tokenize
from pathlib import Path

import insight_ext

ADAPTERS = Path(insight_ext.__file__).parent / "adapters"
NO_CODE = {
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT),
    tokenize.ENDMARKER,
}


def code_lines(source: str) -> int:
    """How many lines of a module hold code."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NO_CODE:
            lines |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        holds = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if holds and ast.get_docstring(node) is not None:
            first = node.body[0]
            lines -= set(range(first.lineno, (first.end_lineno or 0) + 1))
    return len(lines)


def main() -> None:
    print("| file | lines |")
    print("| --- | --- |")
    for path in sorted(ADAPTERS.glob("[!_]*.py")):
        print(f"| `{path.name}` | {code_lines(path.read_text())} |")


if __name__ == "__main__":
    main()
