from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from insight_ext import Group, Prompt, PromptPool, SelectionLoop
from insight_ext.filters import FILTERS, make_filter
from insight_ext.runs.glossary import glossary
from insight_ext.runs.layout import Metric, as_returned, logged
from insight_ext.selectors import SELECTORS

PAGE = Path(__file__).parents[3] / "docs/metrics.md"


def test_the_page_is_what_the_source_of_names_says():
    assert PAGE.read_text() == glossary(), "python -m insight_ext.runs.glossary > docs/metrics.md"


def test_every_metric_says_what_it_is_and_what_is_good():
    assert all(metric.meaning and metric.good for metric in Metric)


def test_a_logged_name_reads_back():
    assert all(as_returned(logged(metric)) == metric for metric in Metric)


OPTIONS = {
    "insight": {"features": "meta:kind"},
    "gps": {"features": "meta:kind"},
}


@pytest.mark.parametrize("name", SELECTORS)
def test_what_a_loop_returns_is_in_the_glossary(name):
    pool = PromptPool(Prompt(f"p{i}", f"{i}?", "", {"kind": str(i % 2)}) for i in range(40))
    loop = SelectionLoop(pool, name, rollouts=4, selector_options=OPTIONS.get(name))
    for _ in range(3):
        for group, position, _ in loop.deal(8):
            loop.report(group, [float(n < position % 5) for n in range(4)])
        names = loop.end_step()
    assert {name.partition("/")[0] for name in names} <= set(Metric)


@pytest.mark.parametrize("name", FILTERS)
def test_what_a_filter_says_is_in_the_glossary(name):
    chosen = make_filter(name, success_threshold=1.0)
    told = {"perplexity": (1.0, 2.0), "entropy": (1.0, 2.0)}
    with warnings.catch_warnings(action="ignore"):
        chosen.judge([[Group(0, (0.0, 1.0), **told)]], target=1, refillable=False)
    assert chosen.metrics().keys() <= set(Metric)
