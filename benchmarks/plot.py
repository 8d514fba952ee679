"""The README's figure: time of a selection against the pool's size, with the memory's limit."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.table import Line
from insight_ext.report.charts.style import ARMS, FONT, INK, new_figure, png, style_axes

FIGURES = Path(__file__).parents[1] / "docs" / "figures"
POOLS = ("settled", "half unseen", "unseen")
APART = 1.8  # a text above another begins at so many times its height
LIMIT = "limit: summing the same bytes"


def draw(lines: list[Line]) -> Path:
    """Draw what `table.recorded` gives; returns the path of the figure."""
    path = FIGURES / "selection_time.png"
    path.write_bytes(png(figure(lines)))
    return path


def figure(lines: list[Line]) -> Figure:
    """Lines for our selection in three kinds of pools, points for other programs."""
    threads = max(line["threads"] for line in lines)
    colours = {**dict(zip(POOLS, ARMS, strict=False)), LIMIT: INK}
    made = new_figure(f"Milliseconds to select 256 prompts, {threads} threads", 4.6, colours)
    axes = made.add_subplot()
    style_axes(axes, "prompts in the pool", "milliseconds")
    axes.set(xscale="log", yscale="log")
    for name, colour in colours.items():
        bench, pool = ("limit", "settled") if name == LIMIT else ("select", name)
        points = sorted(
            (line["n"], 1e3 * line["median_seconds"])
            for line in lines
            if (line["bench"], line["pool"]) == (bench, pool)
            and (line["threads"], line["rollouts"]) == (threads, 8)
            and line["k"] == min(256, line["n"] // 10)
        )
        style = {"linestyle": "--"} if name == LIMIT else {"marker": "o", "markersize": 4}
        axes.plot(*zip(*points, strict=True), color=colour, linewidth=1.6, **style)
    peers = [line for line in lines if line["bench"] == "peers"][2:]
    height = 0.0
    for line in sorted(peers, key=lambda line: line["median_seconds"]):
        place = (line["n"], 1e3 * line["median_seconds"])
        height = max(place[1], APART * height)
        axes.plot(*place, "D", color=INK, markersize=4)
        axes.annotate(
            line["what"],
            (line["n"] * 0.8, height),
            ha="right",
            va="center",
            color=INK,
            size=8,
            family=FONT,
        )
    axes.yaxis.set_major_formatter("{x:g}")
    return made
