"""The README's figure: time of a selection against the pool's size, with the memory's limit."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from benchmarks.timing import Figure

FIGURES = Path(__file__).parents[1] / "docs" / "figures"


def draw(figures: list[Figure]) -> Path:
    threads = max(f.threads for f in figures)
    fig, axes = plt.subplots(figsize=(7, 4.5))
    for pool, colour in (("settled", "C0"), ("unseen", "C1"), ("half unseen", "C2")):
        points = sorted(
            (f.n, f.median_seconds)
            for f in figures
            if (f.bench, f.pool, f.threads, f.rollouts) == ("select", pool, threads, 8)
            and f.k == min(256, f.n // 10)
        )
        axes.loglog(*zip(*points, strict=True), "o-", color=colour, label=f"select, {pool} pool")
    limit = sorted(
        (f.n, f.median_seconds)
        for f in figures
        if (f.bench, f.pool, f.threads, f.rollouts) == ("limit", "settled", threads, 8)
        and f.k == min(256, f.n // 10)
    )
    axes.loglog(*zip(*limit, strict=True), "k--", label="limit: sum of the same bytes")
    for marker, f in zip("sv^Dp*", [f for f in figures if f.bench == "peers"][2:], strict=False):
        axes.loglog([f.n], [f.median_seconds], marker, color="grey", label=f.what)
    axes.set_xlabel("prompts in the pool")
    axes.set_ylabel("seconds")
    axes.set_title(f"Selecting 256 prompts, {threads} threads")
    axes.grid(True, which="major", alpha=0.3)
    axes.legend(fontsize=8)
    FIGURES.mkdir(parents=True, exist_ok=True)
    path = FIGURES / "selection_time.png"
    fig.savefig(path, dpi=150, bbox_inches="tight")
    plt.close(fig)
    return path
