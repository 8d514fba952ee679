"""`python -m benchmarks --table`: the recorded runs as the tables of docs/kernel.md."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

Line = dict[str, Any]
LIKE = ("processor", "instruction_set", "torch", "openmp_waits", "kernel")
KEY = ("bench", "what", "n", "k", "rollouts", "pool", "threads")
OTHERS = ("incremental", "step", "deal", "memory")


def recorded(path: Path) -> list[Line]:
    """Each measurement of the runs like the latest one: medians over the runs."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    same: dict[tuple[Any, ...], list[Line]] = {}
    for line in lines:
        if all(line.get(name) == lines[-1].get(name) for name in LIKE):
            same.setdefault(tuple(line[name] for name in KEY), []).append(line)
    return [_median(repeats) for repeats in same.values()]


def _median(repeats: list[Line]) -> Line:
    middle = {
        name: statistics.median(line[name] for line in repeats)
        for name in ("median_seconds", "ratio_to_sum", "extra_bytes")
        if repeats[0][name] is not None
    }
    return repeats[-1] | middle | {"runs": len(repeats)}


def tables(lines: list[Line]) -> str:
    """Markdown: selection against the limit, peers, the rest."""
    first = lines[0]
    parts = [
        f"{first['processor']}, {first['instruction_set']}, {first['compiler']}, "
        f"torch {first['torch']}, {first['when'][:10]}; medians of {first['runs']} runs.",
        _against_the_limit([line for line in lines if line["bench"] == "select"]),
        _peers([line for line in lines if line["bench"] == "peers"]),
        _others([line for line in lines if line["bench"] in OTHERS]),
    ]
    return "\n\n".join(parts)


def _against_the_limit(lines: list[Line]) -> str:
    rows = ["| N | k | K | pool | threads | select | times the sum |", "| --- " * 7 + "|"]
    for line in lines:
        cells = (_count(line["n"]), line["k"], line["rollouts"], line["pool"], line["threads"])
        rows.append(_row(*cells, _time(line), f"{line['ratio_to_sum']:.2f}"))
    return "\n".join(rows)


def _peers(lines: list[Line]) -> str:
    own = lines[0]["median_seconds"]
    head = f"N = {_count(lines[0]['n'])}, k = {lines[0]['k']}, {lines[0]['threads']} threads"
    rows = [f"| {head} | time | times insight_ext's |", "| --- | --- | --- |"]
    rows += [_row(x["what"], _time(x), f"{x['median_seconds'] / own:,.0f}") for x in lines]
    return "\n".join(rows)


def _others(lines: list[Line]) -> str:
    rows = ["| what | N | k | time | extra memory |", "| --- " * 5 + "|"]
    for line in lines:
        extra = line["extra_bytes"]
        memory = "" if extra is None else f"{extra / 2**20:.1f} MiB"
        what = f"{line['bench']}: {line['what']}"
        rows.append(_row(what, _count(line["n"]), line["k"], _time(line), memory))
    return "\n".join(rows)


def _row(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def _count(n: int) -> str:
    return f"{n:,}"


def _time(line: Line) -> str:
    milliseconds = 1e3 * line["median_seconds"]
    return f"{milliseconds:.3g} ms" if milliseconds < 1000 else f"{milliseconds / 1e3:.3g} s"
