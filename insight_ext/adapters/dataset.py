"""A trainer's data set as a pool of prompts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from insight_ext.beliefs.pool import PromptPool
from insight_ext.errors import ArgumentError


def pool_from_dataset(
    dataset: Any, fields: Mapping[str, str | None] | None = None, prompt: str | None = None
) -> PromptPool:
    """The prompts of a `datasets.Dataset` in its order: position i of the pool is row i.

    As `PromptPool.from_dataset`, but the answers may be missing, since the trainer's own reward
    functions have them: then they are empty texts.

    Args:
        dataset: one split, in memory or mapped into it.
        fields: see `PromptPool.from_file`.
        prompt: the trainer's own column of prompts, where `fields` names none.

    Raises:
        ArgumentError: fields that are not names by names.
        PoolError: see `PromptPool.from_dataset`.

    Examples:
        >>> import pyarrow
        >>> class Rows:  # stands for a datasets.Dataset
        ...     def with_format(self, name): return self
        ...     def __getitem__(self, rows): return pyarrow.table({"prompt": ["1+1=", "1+2="]})
        >>> pool = pool_from_dataset(Rows())
        >>> pool.ids, pool[1].answer
        (('477d64453f163442', 'f982bc51c1585df3'), '')
    """
    from insight_ext.data.arrow_file import InMemory
    from insight_ext.data.fields import ANSWER, find
    from insight_ext.data.files import POOL
    from insight_ext.data.prompts import table_of

    if not isinstance(fields, Mapping | None):
        raise ArgumentError(
            "fields: expected columns by what they hold, such as {id: task}, got "
            f"{fields!r:.80}; write them so"
        )
    fields = {**({"prompt": prompt} if prompt else {}), **(fields or {})}
    table = table_of(dataset)
    answer = find(InMemory("the data set", table, POOL), ANSWER)
    return PromptPool.from_dataset(table, fields={"answer": answer, **fields})
