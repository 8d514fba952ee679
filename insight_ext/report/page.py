"""The HTML page: one file that needs no network, readable on a phone and in the dark."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from html import escape
from itertools import groupby
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from insight_ext.report.charts.style import Chart, Omission
from insight_ext.report.page_text import DEFINITIONS, LIMITS, STYLE
from insight_ext.runs.rows import SummaryRow

DPI = 160


def png(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    buffer = io.BytesIO()
    with rc_context({"font.family": "DejaVu Sans"}):
        figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()


def figure_html(chart: Chart, light: bytes, dark: bytes) -> str:
    """A figure in both themes with its caption."""
    return (
        "<figure><picture>"
        f'<source media="(prefers-color-scheme: dark)" srcset="{_data_url(dark)}">'
        f'<img src="{_data_url(light)}" alt="{escape(chart.caption)}">'
        f"</picture><figcaption>{escape(chart.caption)}</figcaption></figure>"
    )


def omission_html(omission: Omission) -> str:
    """Says which figure is missing and why."""
    return (
        f'<p class="omitted"><strong>{escape(omission.title)}</strong> is not shown: '
        f"{escape(omission.reason)}.</p>"
    )


def compared_html(rows: Sequence[SummaryRow]) -> str:
    """The table of arms against the baseline; a question that several answer is written once."""
    lines = []
    for question, answers in groupby(rows, key=lambda row: row.question):
        same = list(answers)
        head = f'<th rowspan="{len(same)}">{escape(question)}</th>'
        for row in same:
            verdict = ""
            if row.verdict:
                style = row.verdict.replace(" ", "-")
                verdict = f'<span class="verdict {style}">{row.verdict}</span> '
            lines.append(
                f'<tr class="{"first" if head else "more"}">{head}'
                f"<td>{escape(row.arm)}</td><td>{escape(row.result)}</td>"
                f"<td>{verdict}{escape(row.target)}</td></tr>"
            )
            head = ""
    if not lines:
        return "<p>One arm alone: there is nothing to compare.</p>"
    return (
        '<table class="compared"><thead><tr><th>Question</th><th>Arm</th><th>Result</th>'
        f"<th>Target</th></tr></thead><tbody>{''.join(lines)}</tbody></table>"
    )


def measured_html(rows: Sequence[SummaryRow]) -> str:
    """The table with a column per arm."""
    arms = list(dict.fromkeys(row.arm for row in rows))
    results = {(row.question, row.arm): row.result for row in rows}
    lines = []
    for question in dict.fromkeys(row.question for row in rows):
        cells = (f"<td>{escape(results.get((question, arm), '-'))}</td>" for arm in arms)
        lines.append(f'<tr class="first"><th>{escape(question)}</th>{"".join(cells)}</tr>')
    heads = "".join(f"<th>{escape(arm)}</th>" for arm in arms)
    return (
        '<div class="scroll"><table><thead><tr><th>Mean over seeds, ± one standard deviation</th>'
        f"{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def page_html(
    title: str,
    lead: str,
    notes: Sequence[str],
    sections: Sequence[tuple[str, str]],
    settings: dict[str, Any],
) -> str:
    """The whole page."""
    noted = "".join(f"<li>{escape(note)}</li>" for note in notes)
    shown = "".join(
        f"<section><h2>{escape(heading)}</h2>{body}</section>" for heading, body in sections
    )
    written = escape(json.dumps(settings, indent=2)) if settings else ""
    details = (
        f"<section><h2>Settings</h2><details><summary>experiment.json</summary>"
        f"<pre>{written}</pre></details></section>"
        if written
        else ""
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>"
        f"<h1>{escape(title)}</h1><p>{escape(lead)}</p>"
        + (f'<ul class="notes">{noted}</ul>' if noted else "")
        + shown
        + f"<section><h2>What this shows and what it does not</h2>{LIMITS}</section>"
        + f"<section><h2>How the numbers are defined</h2>{DEFINITIONS}</section>"
        + details
        + "</main></body></html>\n"
    )


def _data_url(image: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(image).decode("ascii")
