"""The HTML page: one file that needs no network, readable on a phone and in the dark."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import yaml

from insight_ext.report.charts.style import Omission
from insight_ext.report.page_text import STYLE
from insight_ext.report.prompts import Difficult, Visited
from insight_ext.report.summary import SummaryRow
from insight_ext.runs.layout import Sample

LENGTH = 400  # characters of a prompt or an answer that are shown


def page_html(
    title: str,
    result: str,
    facts: Mapping[str, str],
    notes: Sequence[str],
    sections: Mapping[str, str],
) -> str:
    """The whole page; a section without text is left out."""
    known = "".join(f"<dt>{escape(n)}</dt><dd>{escape(v)}</dd>" for n, v in facts.items() if v)
    noted = "".join(f"<li>{escape(note)}</li>" for note in notes)
    shown = "".join(
        f"<section><h2>{escape(heading)}</h2>{body}</section>"
        for heading, body in sections.items()
        if body
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>"
        f'<h1>{escape(title)}</h1><p class="result">{escape(result)}</p>'
        f'<dl class="facts">{known}</dl>'
        + (f'<ul class="notes">{noted}</ul>' if noted else "")
        + f"{shown}</main></body></html>\n"
    )


def figure_html(title: str, caption: str, image: bytes) -> str:
    """A figure with its caption."""
    url = "data:image/png;base64," + base64.b64encode(image).decode("ascii")
    return (
        f'<figure><img src="{url}" alt="{escape(title)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def omissions_html(omissions: Iterable[Omission]) -> str:
    """Says which figures are missing and why, a sentence for all arms with the same reason."""
    found: dict[tuple[str, str], list[str]] = {}
    for title, reason in omissions:
        what, colon, arm = title.partition(": ")
        found.setdefault((what + colon, reason), []).append(arm)
    return "".join(
        f'<p class="omitted"><strong>{escape(what + ", ".join(arms))}</strong> is not shown: '
        f"{escape(reason)}.</p>"
        for (what, reason), arms in found.items()
    )


def numbers_html(rows: Sequence[SummaryRow]) -> str:
    """A block for each question, with a line for each arm."""
    several = len({row.arm for row in rows}) > 1
    blocks = []
    for question in dict.fromkeys(row.question for row in rows):
        own = [row for row in rows if row.question == question]
        if len({(row.value, row.result) for row in own}) == 1 and own[0].value is None:
            body = f'<p class="omitted">{escape(own[0].result)}</p>'
        else:
            lines = (
                f"<tr>{f'<th>{escape(row.arm)}</th>' * several}<td>{escape(row.result)}</td></tr>"
                for row in own
            )
            body = f"<table>{''.join(lines)}</table>"
        blocks.append(f"<div><h3>{escape(question)}</h3>{body}</div>")
    return f'<div class="numbers">{"".join(blocks)}</div>' if blocks else ""


def prompts_html(difficult: Difficult | None) -> str:
    """Prompts never solved and the hardest of the others, each with an answer where one is kept."""
    if difficult is None:
        return ""
    told = (
        f"<p>{difficult.unsolved:,} of {difficult.visited:,} prompts visited were never solved. "
        "A key that is wrong, or a verifier that does not read the answer, looks like this, "
        "too.</p>"
    )
    shown = [*difficult.never, *difficult.hardest]
    if not any(prompt.sample for prompt in shown):
        told += (
            '<p class="omitted">Texts and answers are not shown: the run kept none of them in '
            "samples.jsonl.</p>"
        )
    return (
        told
        + _prompts_table("Never solved, most answers first", difficult.never)
        + _prompts_table("Solved at times, hardest first", difficult.hardest)
    )


def settings_html(settings: Mapping[str, Any]) -> str:
    """A run's settings as they stand in its config.yaml, to be unfolded."""
    if not settings:
        return ""
    written = escape(yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True))
    return f"<details><summary>config.yaml</summary><pre>{written}</pre></details>"


def _prompts_table(title: str, prompts: Sequence[Visited]) -> str:
    if not prompts:
        return ""
    heads = ["Prompt", "Visits", "Right answers"]
    if any(prompt.sample for prompt in prompts):
        heads += ["Text", "Key", "An answer"]
    lines = []
    for prompt in prompts:
        cells = [prompt.id, f"{prompt.visits:,}", f"{prompt.successes:,} of {prompt.rollouts:,}"]
        if prompt.sample is not None:
            cells += _sample_cells(prompt.sample)
        # On a phone the head of a column is written before each of its cells.
        named = zip(heads, cells, strict=False)
        row = "".join(f'<td data-head="{head}">{escape(text)}</td>' for head, text in named)
        lines.append(f"<tr>{row}</tr>")
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    return (
        f'<h3>{title}</h3><table class="prompts"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table>"
    )


def _sample_cells(sample: Sample) -> list[str]:
    """The beginning of the text, the key, and the end of the answer, where the result stands."""
    text, answer = sample.prompt, sample.completion
    text = text if len(text) <= LENGTH else text[:LENGTH] + " ..."
    answer = answer if len(answer) <= LENGTH else "... " + answer[-LENGTH:]
    told = f"{answer} (step {sample.step:,}, reward {sample.reward:g})" if answer else "not kept"
    return [text, sample.answer, told]
