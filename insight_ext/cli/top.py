"""`insight-ext top`: a run in the terminal, while it goes on."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from insight_ext.cli.drawing import beliefs_text, sparkline
from insight_ext.errors import ArgumentError
from insight_ext.runs.layout import Metric
from insight_ext.runs.reader import RECENT, Recent, RunFolder
from insight_ext.visible_text import visible_text

SPARK = 28  # characters


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _milliseconds(value: float) -> str:
    return f"{value:.3g} ms" if value < 1000 else f"{value:,.0f} ms"


NUMBER, STEPS, COUNT = "{:.3f}".format, "{:.1f} steps".format, "{:,.0f}".format
ROWS: dict[Metric, tuple[str, Callable[[float], str]]] = {
    Metric.REWARD: ("reward", NUMBER),
    Metric.MIXED: ("mixed groups", _percent),
    Metric.SOLVED: ("all solved", _percent),
    Metric.FAILED: ("all failed", _percent),
    Metric.UNSEEN: ("prompts never seen", _percent),
    Metric.ACCURACY: ("held-out accuracy", _percent),
    Metric.CALIBRATION: ("error of predictions", NUMBER),
    Metric.STALENESS_MEAN: ("staleness, mean", STEPS),
    Metric.STALENESS_MAX: ("staleness, most", STEPS),
    Metric.IN_FLIGHT: ("groups in flight", COUNT),
    Metric.SELECTION_MS: ("selection", _milliseconds),
    Metric.OBSERVATION_MS: ("observation", _milliseconds),
    Metric.STEP_MS: ("step", _milliseconds),
}


def run(options: argparse.Namespace) -> None:
    """Watch the run."""
    top(options.folder, options.every, options.once)


def top(
    folder: Path, every: float = 1.0, once: bool = False, console: Console | None = None
) -> None:
    """Show a run, drawn anew every so many seconds until Ctrl-C; the last view stays.

    Args:
        folder: the run's.
        every: seconds, above 0.
        once: show it once and return, as is done where the output is no terminal.
        console: where to.

    Raises:
        ArgumentError: `every` outside its domain, or not the folder of one run.
    """
    if not every > 0:
        raise ArgumentError(f"every: expected seconds above 0, got {every}")
    run = RunFolder(folder)
    console = console or Console()
    if not once and console.is_terminal:
        try:
            with Live(console=console, screen=True, auto_refresh=False) as live:
                while True:
                    live.update(view(run, time.time()), refresh=True)
                    time.sleep(every)
                    run.refresh()
        except KeyboardInterrupt:
            pass  # how a reader ends it
    console.print(view(run, time.time()))


def view(run: RunFolder, now: float) -> Group:
    """One frame of at most 80 columns; `now` in seconds since the epoch."""
    parts: list[Text | Table] = [
        Text(visible_text(str(run.path)), style="bold", overflow="ellipsis")
    ]
    if run.written is None:
        waits = "nothing logged yet: waiting for the first of log_every_n_steps steps"
        return Group(*parts, Text(waits))
    parts.append(Text(_status(run, now)))
    if run.series:
        parts.append(_table(run.series))
    if run.beliefs is not None:
        when = f"after {run.beliefs.step[-1] + 1:,} steps"
        counts = run.beliefs.means[-1].tolist()
        parts.append(Text(beliefs_text(when, int(run.beliefs.unseen[-1]), counts)))
    return Group(*parts)


def _status(run: RunFolder, now: float) -> str:
    assert run.written is not None
    series = run.series
    parts = [] if run.step is None else [f"{run.step + 1:,} steps"]
    if pace := _pace(series.get(Metric.TRAIN_SECONDS)):
        parts.append(pace)
    if Metric.ROLLOUTS in series:
        parts.append(f"{series[Metric.ROLLOUTS][-1][1]:,.0f} rollouts")
    if Metric.TRAIN_SECONDS in series:
        parts.append(f"{_duration(series[Metric.TRAIN_SECONDS][-1][1])} of training")
    parts.append(f"written {_duration(max(now - run.written, 0.0))} ago")
    return ", ".join(parts)


def _pace(seconds: Recent | None) -> str:
    """Steps per second of training over the values kept; empty with fewer than two."""
    if not seconds or seconds[-1][1] <= seconds[0][1]:
        return ""
    (first, start), (last, end) = seconds[0], seconds[-1]
    return f"{(last - first) / (end - start):.3g} steps/s"


def _duration(seconds: float) -> str:
    whole = int(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if whole >= 60 else f"{whole} s"


def _table(series: dict[str, Recent]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("")
    table.add_column("latest", justify="right")
    table.add_column("mean", justify="right")
    table.add_column(f"the last {RECENT} logged", no_wrap=True)
    for name, (label, form) in ROWS.items():
        if name in series:
            values = [value for _, value in series[name]]
            mean = form(sum(values) / len(values))
            table.add_row(label, form(values[-1]), mean, sparkline(values, SPARK))
    return table
