"""Numbers as lines of text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

BLOCKS = " ▁▂▃▄▅▆▇█"
CELL = 3  # characters of a histogram's bin


def sparkline(values: Sequence[float], width: int) -> str:
    """The values from left to right between their least and largest; means where they crowd.

    Examples:
        >>> sparkline([0, 1, 2, 3], 4), sparkline([0, 0, 3, 3], 2), sparkline([5, 5], 4)
        ('▁▃▆█', '▁█', '▅▅')
    """
    finite = [value for value in values if math.isfinite(value)]
    cells = min(width, len(finite))
    edges = [len(finite) * at // cells for at in range(cells + 1)] if cells else [0]
    means = [sum(finite[a:b]) / (b - a) for a, b in pairwise(edges)]
    if not means:
        return ""
    least, largest = min(means), max(means)
    if least == largest:
        return BLOCKS[5] * cells
    places = ((mean - least) / (largest - least) for mean in means)
    return "".join(BLOCKS[1 + round(place * (len(BLOCKS) - 2))] for place in places)


def histogram(counts: Sequence[int], name: str = "", height: int = 4) -> list[str]:
    """Upright bars over equal bins of [0, 1], the scale at the left, the axis below.

    A count above 0 shows, however small.

    Examples:
        >>> print("\\n".join(histogram([4, 0, 1, 2], height=2)))
              4 │██
                │██    ▄▄ ██
              0 └────────────
                0.0       1.0
    """
    most = max([*counts, 1])
    eighths = [math.ceil(8 * height * count / most) for count in counts]
    edge = max(len(f"{most:,}"), 7)
    rows = []
    for level in reversed(range(height)):
        bars = (BLOCKS[min(max(filled - 8 * level, 0), 8)] * 2 for filled in eighths)
        scale = f"{most:,}" if level == height - 1 else ""
        rows.append(f"{scale:>{edge}} │{' '.join(bars)}".rstrip())
    width = CELL * len(counts)
    axis = f"0.0{name:^{width - 6}}1.0"
    return [*rows, f"{0:>{edge}} └{'─' * width}", " " * (edge + 1) + axis]


def beliefs_text(when: str, unseen: int, counts: Sequence[int]) -> str:
    """The pool's beliefs: how many prompts were visited, and those by expected success rate.

    Args:
        when: the heading says of when the beliefs are.
        unseen: prompts never visited.
        counts: visited prompts per equal bin of [0, 1].
    """
    seen = sum(counts)
    total = seen + unseen
    heading = f"beliefs {when}: {seen:,} of {total:,} prompts visited"
    return "\n".join(["", heading, *histogram(counts, "expected success rate")])
