"""How every chart looks: one figure for light and dark pages, one colour per arm.

The ground is transparent, and each colour has a contrast of at least 3.8 to white and to the dark
grounds that browsers and GitHub use, so a file reads on both.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.textpath import TextPath
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from insight_ext.visible_text import visible_text

FONT = "DejaVu Sans"  # comes with matplotlib, so texts have one width everywhere
WIDTH, HEIGHT = 4.8, 3.3  # inches
TITLE = 0.32  # room of the title, inches
EDGE, GAP, LINE = 0.08, 0.15, 0.2  # around texts, between two of them, and to the next line, inches
DPI = 160

INK = "#767b82"
GRID = to_rgba(INK, 0.25)
BASELINE = INK
ARMS = ("#2b7fbf", "#cf5c00", "#0a8f6a", "#c0559a", "#7f6bc9", "#9a7500", "#1f8a9e")
# From nothing to a full colour: it stands out more against light and dark alike.
HEAT = LinearSegmentedColormap.from_list("heat", [to_rgba(ARMS[0], 0.0), to_rgba(ARMS[0], 1.0)])
DOTTED = (0, (2, 2))
DASHED, DASHES = (0, (3, 1.5)), "--"  # a line, and what stands for it before a name
PERCENT = FuncFormatter(lambda share, _: f"{100 * share:.6g}%")
COUNTS = FuncFormatter(lambda count, _: f"{count:,.10g}")
POINTS = FuncFormatter(lambda points, _: f"{points:+g}" if points else "0")


class Chart(NamedTuple):
    """One figure: its file's name, its title, how to read it (said once in a section)."""

    name: str
    title: str
    caption: str
    figure: Figure


class Omission(NamedTuple):
    """A figure that could not be drawn, and why."""

    title: str
    reason: str


def colours_of(arms: Iterable[str], baseline: str | None) -> dict[str, str]:
    """One colour per arm, the same in every chart of a report; the baseline is grey."""
    others = [arm for arm in arms if arm != baseline]
    colours = {arm: ARMS[i % len(ARMS)] for i, arm in enumerate(others)}
    return colours if baseline is None else {baseline: BASELINE, **colours}


def dashed(colours: Mapping[str, str]) -> set[str]:
    """The arms whose colour an earlier one has.

    Examples:
        >>> sorted(dashed(colours_of("abcdefghi", None)))
        ['h', 'i']
    """
    first: dict[str, str] = {}
    return {arm for arm, colour in colours.items() if first.setdefault(colour, arm) != arm}


def new_figure(
    title: str, height: float = HEIGHT, names: Mapping[str, str] | None = None
) -> Figure:
    """An empty figure under its title and, where there are several, the arms' names.

    Args:
        title: shortened if the figure is not as wide.
        height: inches, without the line or lines of names, which come on top.
        names: colour of each; those that are `dashed` have two dashes before them.
    """
    names = names if names and len(names) > 1 else {}
    again = dashed(names)
    places, x, lines = [], EDGE, 1
    for name, colour in names.items():
        text = fitted(f"{DASHES} {name}" if name in again else name, WIDTH - 2 * EDGE, 9.5)
        width = text_width(text, 9.5)
        if x + width > WIDTH - EDGE:
            x, lines = EDGE, lines + 1
        places.append((x, lines, text, colour))
        x += width + GAP
    room = LINE * lines * bool(places)
    height += room
    below = (0, 0, 1, 1 - (TITLE + room) / height)
    engine = ConstrainedLayoutEngine(rect=below, w_pad=EDGE, h_pad=EDGE)
    figure = Figure(figsize=(WIDTH, height), facecolor="none", layout=engine)

    def write(x: float, y: float, text: str, colour: str, size: float) -> None:
        figure.text(
            x / WIDTH, 1 - y / height, text, color=colour, size=size, va="top", family=FONT,
            weight="bold",
        )  # fmt: skip

    write(EDGE, EDGE, fitted(title, WIDTH - 2 * EDGE, 11), INK, 11)
    for x, line, text, colour in places:
        write(x, 0.12 + LINE * line, text, colour, 9.5)
    return figure


def style_axes(axes: Axes, x: str = "", y: str = "") -> None:
    """Quiet axes: two spines and a faint horizontal grid."""
    axes.set_facecolor("none")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    axes.tick_params(colors=INK, labelsize=9, length=3, labelfontfamily=FONT)
    axes.tick_params(which="minor", colors=INK, length=2)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel(x, color=INK, size=9.5, family=FONT)
    axes.set_ylabel(y, color=INK, size=9.5, family=FONT)


def percent_axis(axes: Axes, *, which: str = "y") -> None:
    """Show an axis of shares as percentages, none of them below 0 or above 100."""
    axis = axes.yaxis if which == "y" else axes.xaxis
    low, high = axis.get_view_interval()
    ticks = [round(float(tick), 9) for tick in axis.get_majorticklocs()]  # 1, not a little more
    axis.set_major_locator(FixedLocator([t for t in ticks if max(low, 0) <= t <= min(high, 1)]))
    axis.set_major_formatter(PERCENT)


def counts_axis(axes: Axes, most: int = 5, *, which: str = "x") -> None:
    """Write large numbers of an axis with separators, and few of them."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(COUNTS)


def text_width(text: str, size: float) -> float:
    """Inches of a bold text, `size` in points."""
    if not text.strip():
        return 0.0
    font = FontProperties(family=FONT, weight="bold")
    return float(TextPath((0, 0), text, size=size, prop=font, usetex=False).get_extents().x1) / 72


def fitted(text: str, inches: float, size: float) -> str:
    """The text, or as much of its beginning as fits, and three dots."""
    text = visible_text(text).replace("$", r"\$")  # no formula
    shown = text
    while text_width(shown, size) > inches:
        text = text[:-1]
        shown = text + "..."
    return shown


def png(figure: Figure) -> bytes:
    """The figure as a PNG file with a transparent ground."""
    buffer = io.BytesIO()
    with mpl.rc_context({"font.family": FONT}):
        figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()
