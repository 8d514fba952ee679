"""The HTML page: one file that needs no network, readable on a phone and in the dark."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from html import escape
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from insight_ext.report.charts.style import Chart, Omission
from insight_ext.report.page_text import DEFINITIONS, LIMITS, STYLE
from insight_ext.report.rows import SummaryRow

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


def summary_html(rows: Sequence[SummaryRow]) -> str:
    """The summary table; questions that several arms answer are written once."""
    lines = []
    previous = None
    for row in rows:
        question = "" if row.question == previous else escape(row.question)
        previous = row.question
        verdict = (
            f'<span class="verdict {row.verdict.split()[0]}">{row.verdict}</span> '
            if row.verdict
            else ""
        )
        lines.append(
            f'<tr class="{"first" if question else "more"}"><th>{question}</th>'
            f"<td>{escape(row.arm)}</td><td>{escape(row.result)}</td>"
            f"<td>{verdict}{escape(row.target)}</td></tr>"
        )
    return (
        '<div class="scroll"><table><thead><tr><th>Question</th><th>Arm</th><th>Result</th>'
        f"<th>Target</th></tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def page_html(
    title: str,
    lead: str,
    notes: Sequence[str],
    summary: str,
    sections: Sequence[tuple[str, str]],
    settings: dict[str, Any],
) -> str:
    """The whole page."""
    noted = "".join(f"<li>{escape(note)}</li>" for note in notes)
    shown = "".join(
        f'<section><h2>{escape(heading)}</h2><div class="figures">{body}</div></section>'
        for heading, body in sections
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
        + f"<section><h2>The numbers</h2>{summary}</section>"
        + shown
        + f"<section><h2>What this shows and what it does not</h2>{LIMITS}</section>"
        + f"<section><h2>How the numbers are defined</h2>{DEFINITIONS}</section>"
        + details
        + "</main></body></html>\n"
    )


def _data_url(image: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(image).decode("ascii")
