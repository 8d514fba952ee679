"""How every chart looks: two themes, one colour per arm, lines labelled where they end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure

WIDTH = 4.8
HEIGHT = 3.3
PERCENT = mpl.ticker.FuncFormatter(lambda share, _: f"{100 * share:.3g}%")


@dataclass(frozen=True)
class Theme:
    """Colours of one background; the arms' colours are Okabe and Ito's, the baseline is grey."""

    name: str
    background: str
    ink: str
    muted: str
    grid: str
    baseline: str
    arms: tuple[str, ...]
    heat: tuple[str, ...]

    def colours(self, arms: Iterable[str], baseline: str | None) -> dict[str, str]:
        """One colour per arm, the same in every chart of a report."""
        others = [arm for arm in arms if arm != baseline]
        colours = {arm: self.arms[i % len(self.arms)] for i, arm in enumerate(others)}
        return colours if baseline is None else {baseline: self.baseline, **colours}

    @property
    def heat_map(self) -> Colormap:
        """From the background to the ink, growing in lightness alone."""
        return LinearSegmentedColormap.from_list(f"heat-{self.name}", self.heat)


LIGHT = Theme(
    name="light",
    background="#ffffff",
    ink="#1b1f24",
    muted="#59636e",
    grid="#e3e7eb",
    baseline="#7a828b",
    arms=("#0072b2", "#d55e00", "#009e73", "#b0478a"),
    heat=("#ffffff", "#b9d9ee", "#5aa5d1", "#0b5c94", "#062a4a"),
)
DARK = Theme(
    name="dark",
    background="#15181c",
    ink="#e8eaed",
    muted="#9aa4af",
    grid="#2b3138",
    baseline="#a3abb5",
    arms=("#56b4e9", "#f08a3c", "#2fc79a", "#e39ac6"),
    heat=("#15181c", "#12466b", "#1f83bd", "#7cc7f0", "#f2faff"),
)
THEMES = (LIGHT, DARK)


class Chart(NamedTuple):
    """One figure: file name, one sentence that says how to read it, and how to draw it."""

    name: str
    caption: str
    draw: Callable[[Theme], Figure]


class Omission(NamedTuple):
    """A figure that could not be drawn, and why."""

    title: str
    reason: str


def new_figure(
    theme: Theme, title: str, height: float = HEIGHT, labels: Iterable[str] = ()
) -> Figure:
    """An empty figure with its title at the left and room at the right for `label_ends`."""
    figure = Figure(figsize=(WIDTH, height), facecolor=theme.background)
    inches = max((0.1 * len(label) + 0.1 for label in labels), default=0.15)
    figure.subplots_adjust(
        left=0.66 / WIDTH,
        right=1.0 - min(inches / WIDTH, 0.4),
        bottom=0.5 / height,
        top=1.0 - 0.42 / height,
    )
    figure.suptitle(
        title,
        x=0.08 / WIDTH,
        y=1.0 - 0.08 / height,
        ha="left",
        va="top",
        color=theme.ink,
        fontsize=11,
        fontweight="bold",
    )
    return figure


def style_axes(axes: Axes, theme: Theme, x: str = "", y: str = "") -> None:
    """Quiet axes: two spines, a faint horizontal grid, labels in the theme's colours."""
    axes.set_facecolor(theme.background)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(theme.muted)
    axes.tick_params(colors=theme.muted, labelsize=9, length=3)
    axes.grid(axis="y", color=theme.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel(x, color=theme.muted, fontsize=9.5)
    axes.set_ylabel(y, color=theme.muted, fontsize=9.5)


class EndLabel(NamedTuple):
    """A line's name, to be written beside its last point."""

    x: float
    y: float
    text: str
    colour: str


def label_ends(axes: Axes, labels: Sequence[EndLabel], gap: float = 0.075) -> None:
    """Write each label right of the axes at its line's height, `gap` of the height apart."""
    low, high = axes.get_ylim()
    ordered = sorted(labels, key=lambda label: label.y)
    heights = [(label.y - low) / (high - low) for label in ordered]
    for i in range(1, len(heights)):
        heights[i] = max(heights[i], heights[i - 1] + gap)
    ceiling = 1.0
    for i in reversed(range(len(heights))):
        heights[i] = min(heights[i], ceiling)
        ceiling = heights[i] - gap
    for label, height in zip(ordered, heights, strict=True):
        axes.annotate(
            label.text,
            xy=(1.02, height),
            xycoords="axes fraction",
            va="center",
            color=label.colour,
            fontsize=9.5,
            fontweight="bold",
            annotation_clip=False,
        )


def name_arms(figure: Figure, colours: Mapping[str, str]) -> float:
    """Write the arms' names in their colours below the title; returns the inches down to there."""
    x, y = 0.08, 0.34
    for arm, colour in colours.items():
        width = 0.088 * len(arm) + 0.15
        if x + width > WIDTH and x > 0.08:
            x, y = 0.08, y + 0.2
        figure.text(
            x / WIDTH,
            1.0 - y / figure.get_figheight(),
            arm,
            color=colour,
            fontsize=9.5,
            fontweight="bold",
            va="top",
        )
        x += width
    return y + 0.2


def percent_axis(axes: Axes, *, which: str = "y") -> None:
    """Show an axis of shares as percentages."""
    axis = axes.yaxis if which == "y" else axes.xaxis
    axis.set_major_formatter(PERCENT)


def thousands_axis(axes: Axes, most: int = 5) -> None:
    """Write large numbers of the horizontal axis with separators, and few of them."""
    axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(most, integer=True))
    axes.xaxis.set_major_formatter(mpl.ticker.StrMethodFormatter("{x:,.0f}"))
