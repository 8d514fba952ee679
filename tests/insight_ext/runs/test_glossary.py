from __future__ import annotations

from pathlib import Path

from insight_ext.runs.glossary import glossary
from insight_ext.runs.layout import Metric, as_returned, logged

PAGE = Path(__file__).parents[3] / "docs/metrics.md"


def test_the_page_is_what_the_source_of_names_says():
    assert PAGE.read_text() == glossary(), "python -m insight_ext.runs.glossary > docs/metrics.md"


def test_every_metric_says_what_it_is_and_what_is_good():
    assert all(metric.meaning and metric.good for metric in Metric)


def test_a_logged_name_reads_back():
    assert all(as_returned(logged(metric)) == metric for metric in Metric)
