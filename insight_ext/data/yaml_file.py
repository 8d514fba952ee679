"""Configuration files, looked at before anything builds what they say. Needs PyYAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from insight_ext.errors import ArgumentError
from insight_ext.visible_text import reason

DEPTH = 64


def check_yaml(path: str | Path) -> None:
    """See that a file is YAML that takes no longer to build than to read.

    An alias (`*name`) repeats a part of the file: a few lines of them make a structure of any size,
    or one that holds itself.

    Raises:
        ArgumentError: no such file, not YAML, an alias, or a structure deeper than 64.

    Cost: one pass over the file, in its own size.
    """
    try:
        depth = 0
        for event in yaml.parse(Path(path).read_text(encoding="utf-8"), yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            line = event.start_mark.line + 1
            if isinstance(event, yaml.AliasEvent):
                raise ArgumentError(
                    f"{path}:{line}: expected no aliases, got *{event.anchor}; write the part out"
                )
            if depth > DEPTH:
                raise ArgumentError(f"{path}:{line}: expected at most {DEPTH} levels, got more")
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ArgumentError(f"{path}: expected a YAML file, got: {reason(error)}") from error


def read_yaml(path: str | Path) -> Any:
    """What a file says that `check_yaml` has looked at.

    Raises:
        ArgumentError: see `check_yaml`; a value that is none, such as a date in a thirteenth month.
    """
    check_yaml(path)
    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (ValueError, TypeError, yaml.YAMLError) as error:
        raise ArgumentError(f"{path}: expected a YAML file, got: {reason(error)}") from error
