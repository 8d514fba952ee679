"""What a configuration names instead of a tensor: fields of the prompts, files, features."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from insight_ext.beliefs.pool import PromptPool
from insight_ext.errors import ArgumentError
from insight_ext.offline.logs import read_log
from insight_ext.plugins import as_number
from insight_ext.predictors.features import features_of
from insight_ext.selectors.adarft import HARDEST
from insight_ext.selectors.base import STRENGTH, prior_around
from insight_ext.selectors.quota import Quota

EMPIRICAL = "empirical"


def worked_out(
    selector: str, options: Mapping[str, Any], pool: PromptPool | None
) -> dict[str, Any]:
    """The options of a selector, those that name something of the pool as what they name.

    Args:
        selector: for messages.
        options: `features`, see `features_of`; `prior`: `"meta:FIELD"` of success rates,
            `"difficulty:FIELD"` of numbers in [0, 100] (100 less the success rate in percent), or
            `"log:FILE"`, with `prior_strength`; `difficulty`: `"meta:FIELD"` of such numbers;
            `references`: `"meta:WEAKER,STRONGER"`, two fields of success rates; `quota`: `{"meta":
            FIELD, "shares": {...}}`. Others, and those that are tensors already, are as they were.
        pool: the prompts.

    Raises:
        ArgumentError: no pool, a field that a prompt lacks, or a value outside its domain: prompt
            and row are named.
    """
    found = dict(options)
    for name, value in options.items():
        work = WORK.get(name)
        named = (str, Mapping) if name == "quota" else str
        if work is None or not isinstance(value, named) or value == EMPIRICAL:
            continue
        if pool is None:
            raise ArgumentError(
                f"selector {selector!r}: {name} {value!r} can only be worked out from a pool; pass "
                "pool=... (--pool), or a tensor"
            )
        found[name] = work(pool, value, options)
    return found


def _field(pool: PromptPool, option: str, name: str, reads: Callable[[Any], Any]) -> list[Any]:
    """A field of every prompt, as `reads` makes it; None means that it is not what it should be."""
    values = []
    for row, prompt in enumerate(pool):
        if name not in prompt.meta:
            raise ArgumentError(
                f"{option}: expected every prompt to have a field {name!r}, prompt {prompt.id!r} "
                f"(row {row}) has {', '.join(prompt.meta) or 'none'}"
            )
        value = reads(prompt.meta[name])
        if value is None:
            raise ArgumentError(
                f"{option}: expected {reads.__doc__} in the field {name!r}, got "
                f"{prompt.meta[name]!r} of prompt {prompt.id!r} (row {row})"
            )
        values.append(value)
    return values


def _rate(value: Any) -> float | None:
    """a success rate in [0, 1], or a text such as '3/8',"""
    won, of, tried = value.partition("/") if isinstance(value, str) else ("", "", "")
    if of:
        if not (won.strip().isdecimal() and tried.strip().isdecimal() and int(tried)):
            return None
        value = int(won) / int(tried)
    number = as_number(value)
    return number if number is not None and 0.0 <= number <= 1.0 else None


def _difficulty(value: Any) -> float | None:
    """a difficulty in [0, 100]"""
    number = as_number(value)
    return number if number is not None and 0.0 <= number <= HARDEST else None


def _name(value: Any) -> str | None:
    """a text or a number"""
    is_finite = not isinstance(value, float) or math.isfinite(value)
    return str(value) if isinstance(value, (str, int, float)) and is_finite else None


def _named(option: str, source: str, expected: str) -> str:
    """What follows `meta:`."""
    kind, _, rest = source.partition(":")
    if kind != "meta" or not rest:
        raise ArgumentError(f"{option}: expected {expected}, got {source!r}")
    return rest


def _prior(pool: PromptPool, source: str, options: Mapping[str, Any]) -> Any:
    kind, _, path = source.partition(":")
    if kind == "difficulty" and path:
        return 1.0 - torch.tensor(_field(pool, "prior", path, _difficulty)) / HARDEST
    if kind != "log" or not path:
        expected = "meta:FIELD, difficulty:FIELD, log:FILE or empirical"
        return torch.tensor(_field(pool, "prior", _named("prior", source, expected), _rate))
    log = read_log(path, pool=pool)
    wins, tries = (torch.from_numpy(counts).double() for counts in log.totals()[1:])
    strength = as_number(options.get("prior_strength", STRENGTH))
    if strength is None or strength < 0.0:
        raise ArgumentError(
            f"prior_strength: expected 0 or more answers, got {options['prior_strength']!r:.80}"
        )
    return prior_around(wins / tries.clamp(min=1.0), tries.clamp(max=strength).float())


def _difficulties(pool: PromptPool, source: str, options: Mapping[str, Any]) -> Tensor:
    field = _named("difficulty", source, "meta:FIELD")
    return torch.tensor(_field(pool, "difficulty", field, _difficulty))


def _references(pool: PromptPool, source: str, options: Mapping[str, Any]) -> Tensor:
    fields = _named("references", source, "meta:WEAKER,STRONGER").split(",")
    if len(fields) != 2:
        raise ArgumentError(f"references: expected two fields, got {source!r}")
    rates = [_field(pool, "references", field, _rate) for field in fields]
    return torch.tensor(rates).T.contiguous()


def _quota(pool: PromptPool, given: Mapping[str, Any], options: Mapping[str, Any]) -> Quota:
    match given:
        case {"meta": str(field), "shares": Mapping() as shares} if len(given) == 2:
            names = {str(name): share for name, share in shares.items()}
            return Quota(_field(pool, "quota", field, _name), names)
    raise ArgumentError(
        f"quota: expected {{meta: FIELD, shares: {{VALUE: SHARE, ...}}}}, got {given!r:.120}"
    )


WORK: dict[str, Callable[[PromptPool, Any, Mapping[str, Any]], Any]] = {
    "features": lambda pool, source, options: features_of(pool, source),
    "prior": _prior,
    "difficulty": _difficulties,
    "references": _references,
    "quota": _quota,
}
