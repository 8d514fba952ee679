"""What can be seen in the figures: no text over another, none cut off, no empty axes."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import AutoLocator

from insight_ext.report.charts import SECTIONS
from insight_ext.report.charts.accuracy import kind_charts
from insight_ext.report.charts.beliefs import belief_charts
from insight_ext.report.charts.groups import outcome_charts
from insight_ext.report.charts.lines import line_figure
from insight_ext.report.charts.style import (
    ARMS,
    BASELINE,
    INK,
    Chart,
    new_figure,
    percent_axis,
    png,
)
from insight_ext.report.curves import Curve
from insight_ext.report.experiment import Experiment, read_experiment
from insight_ext.runs.layout import Metric
from insight_ext.runs.reader import Beliefs, Run, Series

FIGURES = Path(__file__).parents[3] / "docs/figures"
GROUNDS = ("#ffffff", "#15181c", "#0d1117")  # of the report light and dark, of GitHub dark
MANY = tuple(f"arm-{i}-of-eleven" for i in range(11))
LONG = "qwen2.5-7b-deepscaler-insight-with-a-very-long-name-indeed-of-a-run-1234567890"


def texts(figure: Figure) -> Iterator[tuple[str, object]]:
    """Every text that is drawn, with its box in pixels."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    ticks = {
        label
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks())
        for label in (tick.label1, tick.label2)
    }
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis) if axes.get_visible() else ():
            ticks -= {tick.label1 for tick in axis._update_ticks()}  # those inside the limits
    for text in figure.findobj(Text):
        hidden = text.axes is not None and not text.axes.get_visible()
        if text.get_text() and text.get_visible() and text not in ticks and not hidden:
            yield text.get_text(), text.get_window_extent(renderer)


def faults(figure: Figure) -> list[str]:
    """Texts that overlap or leave the figure, and axes without anything drawn."""
    found = list(texts(figure))
    edge = figure.bbox
    overlaps = [
        f"{a!r} over {b!r}"
        for (a, one), (b, other) in combinations(found, 2)
        if one.overlaps(other)
    ]
    cut = [
        f"{text!r} leaves the figure"
        for text, box in found
        if box.x0 < edge.x0 or box.y0 < edge.y0 or box.x1 > edge.x1 or box.y1 > edge.y1
    ]
    empty = [f"axes {at} are empty" for at, axes in enumerate(figure.axes) if not drawn(axes)]
    return overlaps + cut + empty


def drawn(axes: Axes) -> bool:
    """Whether there is a line, a point, a bar or an image inside the axes."""
    if not axes.get_visible() or axes.collections or axes.patches or axes.images:
        return True
    low, high = sorted(axes.get_xlim())
    for line in axes.lines:
        x, y = np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)
        seen = (x >= low) & (x <= high) & np.isfinite(y)
        if len(np.unique(x[seen])) > 1 or (seen.any() and line.get_marker() not in ("", "None")):
            return True
    return False


def charts(folder: Path) -> list[Chart]:
    experiment = read_experiment(folder)
    made = [chart for charts_of in SECTIONS.values() for chart in charts_of(experiment)]
    return [chart for chart in made if isinstance(chart, Chart)]


@pytest.mark.parametrize(
    ("arms", "seeds", "steps"),
    [
        (("random", "insight"), 2, 60),
        (("uniform", "insight", "insight-paper", "gps", "mopps", "dps", "bots", "greso"), 1, 25),
        (("insight", LONG), 1, 11),
        (("random", *MANY), 2, 25),
    ],
)
def test_no_text_of_a_comparison_overlaps_and_no_axes_are_empty(
    experiment_folder: Callable[..., Path], arms: tuple[str, ...], seeds: int, steps: int
) -> None:
    for chart in charts(experiment_folder(arms, seeds, steps)):
        assert not faults(chart.figure), chart.name


@pytest.mark.parametrize("steps", [2, 11, 60, 1200])
def test_no_text_of_a_single_run_overlaps_and_no_axes_are_empty(
    experiment_folder: Callable[..., Path], steps: int
) -> None:
    for chart in charts(experiment_folder(("insight",), 1, steps) / "insight-seed0"):
        assert not faults(chart.figure), chart.name


def test_an_overlap_a_cut_and_an_empty_axes_are_seen() -> None:
    figure = new_figure("Title")
    figure.text(0.1, 0.97, "over the title")
    figure.text(0.95, 0.5, "beyond the edge")
    figure.add_subplot()
    assert len(faults(figure)) == 3


def test_beliefs_are_drawn_up_to_the_last_step(experiment_folder: Callable[..., Path]) -> None:
    run = experiment_folder(("insight",), 1, 60) / "insight-seed0"
    (chart,) = (chart for chart in charts(run) if chart.name == "beliefs_insight")
    for axes in chart.figure.axes[:2]:
        assert axes.get_xlim() == (0, 56)  # the last look is that after step 56


def test_between_looks_that_are_far_apart_nothing_is_drawn() -> None:
    means = np.full((3, 20), 5)
    beliefs = Beliefs(np.array([0, 49, 99]), np.array([60, 40, 20]), means)
    figure = belief_charts(Experiment({"a": (Run("a", beliefs=beliefs),)}))[0].figure
    shares = figure.axes[1].collections[0].get_array()
    assert [bool(np.ma.getmaskarray(column).all()) for column in shares.T] == [0, 1, 0, 1, 0]
    assert all(bar.get_width() <= 100 / 12 for bar in figure.axes[0].patches)


@pytest.mark.parametrize("top", [0.4, 1.0, 1.04])
def test_shares_are_written_from_0_to_100_percent(top: float) -> None:
    curves = {"a": [Curve(np.array([0.0, 1.0]), np.array([0.9, top]))]}
    figure = line_figure("t", curves, Experiment({"a": (Run("a"),)}), "x", "y", from_zero=False)
    assert max(figure.axes[0].get_yticks()) <= 1.0


def test_an_axis_of_all_shares_ends_at_100_percent_and_fine_ticks_are_written_in_full() -> None:
    axes = new_figure("t").subplots()
    axes.set_ylim(-0.03, 1.03)
    percent_axis(axes)
    assert axes.yaxis.get_major_formatter().format_ticks(axes.get_yticks())[-1] == "100%"
    axes.yaxis.set_major_locator(AutoLocator())
    axes.set_ylim(0.168, 0.182)
    percent_axis(axes)
    assert "17.25%" in axes.yaxis.get_major_formatter().format_ticks([0.1725])


@pytest.mark.parametrize("most", [0.5, 1.0, 3.0, 2e6])
def test_counts_are_written_so_that_they_differ(most: float) -> None:
    curves = {"a": [Curve(np.array([0.0, most]), np.array([0.0, most]))]}
    experiment = Experiment({"a": (Run("a"),)})
    figure = line_figure("t", curves, experiment, "x", "y", unit="counts")
    for axis in (figure.axes[0].xaxis, figure.axes[0].yaxis):
        written = axis.get_major_formatter().format_ticks(axis.get_majorticklocs())
        assert len(set(written)) == len(written) > 1


def test_graded_rewards_have_a_chart_of_equal_ones_and_no_word_of_the_only_gradient() -> None:
    def told(flat: float) -> dict[str, str]:
        logged = {Metric.FLAT: flat, Metric.SOLVED: 0.25, Metric.FAILED: 0.25, Metric.MIXED: 0.5}
        steps = np.arange(3)
        metrics = {name: Series(steps, np.full(3, share)) for name, share in logged.items()}
        found = outcome_charts(Experiment({"a": (Run("a", metrics),)}))
        return {chart.name: chart.caption for chart in found if isinstance(chart, Chart)}

    binary, graded = told(0.5), told(0.125)
    assert "rewards of 0 and 1 only these groups have a gradient" in binary["groups_mixed"]
    assert "groups_flat" not in binary
    assert "only" not in graded["groups_mixed"]
    assert "Rewards are graded here" in graded["groups_flat"]


def test_every_line_of_many_arms_can_be_told_from_the_others() -> None:
    runs = {arm: (Run(arm),) for arm in ("random", *MANY)}
    curves = {arm: [Curve(np.array([0.0, 1.0]), np.array([0.0, 1.0]))] for arm in runs}
    figure = line_figure("t", curves, Experiment(runs), "x", "y")
    looks = [(line.get_color(), line.get_linestyle() != "-") for line in figure.axes[0].lines]
    assert len(set(looks)) == len(looks) == len(runs)
    dashes = [text for text, _ in texts(figure) if text.startswith("--")]
    assert len(dashes) == sum(dashed for _, dashed in looks)


def test_a_gain_is_written_in_points() -> None:
    curves = {"insight": [Curve(np.array([0.0, 1.0]), np.array([-2.0, 4.0]))]}
    experiment = Experiment({"insight": (Run("insight"),)})
    figure = line_figure("t", curves, experiment, "x", "y", unit="points", from_zero=False)
    words = [text for text, _ in texts(figure)]
    assert "+4" in words
    assert "0" in words
    assert not any("%" in word for word in words)


def luminance(colour: object) -> float:
    """Relative luminance as WCAG 2 defines it."""
    parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return float(np.dot((0.2126, 0.7152, 0.0722), parts))


@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize("colour", [INK, BASELINE, *ARMS])
def test_every_colour_reads_on_light_and_on_dark(colour: str, ground: str) -> None:
    darker, lighter = sorted((luminance(colour), luminance(ground)))
    assert (lighter + 0.05) / (darker + 0.05) >= 3.8


def test_a_figure_has_no_ground_of_its_own() -> None:
    pixels = image.imread(io.BytesIO(png(new_figure("t"))))
    assert pixels[-1, -1, 3] == 0


def test_times_are_written_without_powers_of_ten(experiment_folder: Callable[..., Path]) -> None:
    run = experiment_folder(("insight",), 1, 60) / "insight-seed0"
    rows = "".join(f"{step},1812,1.2,0.3\n" for step in range(9))
    (run / "metrics.csv").write_text(f"step,step_ms,selection_ms,observation_ms\n{rows}")
    (chart,) = (chart for chart in charts(run) if chart.name == "milliseconds")
    assert {"1,812 ms", "1,000"} <= {text for text, _ in texts(chart.figure)}
    assert not any("e+" in text for text, _ in texts(chart.figure))


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_calibration_of_several_seeds_says_that_they_are_counted_together(
    experiment_folder: Callable[..., Path], seeds: int
) -> None:
    told = " ".join(chart.caption for chart in charts(experiment_folder(seeds=seeds)))
    assert ("The groups of all seeds count together." in told) == (seeds > 1)


def test_a_long_caption_stands_once(experiment_folder: Callable[..., Path]) -> None:
    captions = [chart.caption for chart in charts(experiment_folder(("random", *MANY[:2]), 2, 25))]
    told = [sentence for caption in captions for sentence in caption.split(". ") if sentence]
    repeated = {sentence for sentence in told if told.count(sentence) > 1}
    assert all(len(sentence) < 40 for sentence in repeated)


@pytest.mark.parametrize("figure", sorted(FIGURES.glob("*.png")), ids=lambda path: path.stem)
def test_a_figure_of_the_documents_has_our_style(figure: Path) -> None:
    pixels = image.imread(figure)
    assert pixels[-1, -1, 3] == 0
    opaque = pixels[pixels[..., 3] > 0.99][:, :3]
    assert not (opaque < 0.05).all(axis=1).any(), "black text is not seen on a dark page"


def test_a_kind_never_or_always_solved_is_not_drawn_over_the_axis(
    experiment_folder: Callable[..., Path],
) -> None:
    (chart,) = kind_charts(read_experiment(experiment_folder(seeds=1)))
    assert isinstance(chart, Chart)
    for axes in chart.figure.axes:
        low, high = axes.get_ylim()
        assert low < 0 < 1 < high


@pytest.mark.parametrize("name", ["$x^", r"$\frac{$", "\x1b[31m", "k" * 300])
def test_a_kind_of_any_name_is_drawn(experiment_folder: Callable[..., Path], name: str) -> None:
    folder = experiment_folder(seeds=1)
    for metrics in folder.glob("*/metrics.csv"):
        metrics.write_text(metrics.read_text().replace("/easy", f"/{name}"))
    (chart,) = kind_charts(read_experiment(folder))
    assert isinstance(chart, Chart)
    assert png(chart.figure)
