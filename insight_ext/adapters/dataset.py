"""A data set of the Hugging Face kind as a pool of prompts."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from insight_ext.beliefs.pool import PromptPool
from insight_ext.data.prompt import Prompt
from insight_ext.errors import PoolError

BATCH = 10_000  # rows read at once


def pool_from_dataset(
    dataset: Any, id_column: str | None = None, *, prompt_column: str = "prompt"
) -> PromptPool:
    """The prompts of a `datasets.Dataset` in its order: position i of the pool is row i.

    Args:
        dataset: with random access (`column_names`, `select_columns`, `iter`).
        id_column: the column with each prompt's stable id, distinct strings or integers. None:
            the first 16 hexadecimal digits of the SHA-256 of the prompt, and for a prompt that
            occurs again `-2`, `-3`, ... after it. Beliefs are saved by id, so a prompt whose
            text is edited starts anew unless it has an id of its own.
        prompt_column: the column with the prompt, a text or a list of chat messages.

    Raises:
        PoolError: no rows, no such column, an id that is missing or occurs twice.

    Cost: one pass over these columns; the others are not read.

    Example:
        >>> rows = [{"prompt": "1+1=", "answer": "2"}, {"prompt": "1+2=", "answer": "3"}]
        >>> class Rows:  # stands for datasets.Dataset.from_list(rows)
        ...     column_names = ["prompt", "answer"]
        ...     def select_columns(self, names): return self
        ...     def iter(self, batch_size): yield {"prompt": [row["prompt"] for row in rows]}
        >>> pool_from_dataset(Rows()).ids
        ('477d64453f163442', 'f982bc51c1585df3')
    """
    columns = [prompt_column] if id_column is None else [prompt_column, id_column]
    missing = [name for name in columns if name not in dataset.column_names]
    if missing:
        raise PoolError(
            f"data set: expected a column {' and '.join(missing)}, its columns are "
            f"{', '.join(dataset.column_names)}"
        )
    return PromptPool(_prompts(dataset.select_columns(columns), prompt_column, id_column))


def _prompts(dataset: Any, prompt_column: str, id_column: str | None) -> Iterator[Prompt]:
    seen: Counter[str] = Counter()
    row = 0
    for batch in dataset.iter(batch_size=BATCH):
        for at, prompt in enumerate(batch[prompt_column]):
            text = prompt if isinstance(prompt, str) else json.dumps(prompt, ensure_ascii=False)
            if id_column is None:
                derived = hashlib.sha256(text.encode()).hexdigest()[:16]
                seen[derived] += 1
                times = seen[derived]
                yield Prompt(derived if times == 1 else f"{derived}-{times}", text, "")
            else:
                value = batch[id_column][at]
                if type(value) not in (str, int) or value == "":
                    raise PoolError(
                        f"data set, row {row}: expected {id_column} to be a string or an integer, "
                        f"got {value!r}; give every prompt an id, or leave id_column out"
                    )
                yield Prompt(str(value), text, "")
            row += 1
