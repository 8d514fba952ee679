"""The charts of a report, in the order in which they are read."""

from __future__ import annotations

from collections.abc import Callable

from insight_ext.report.charts.accuracy import accuracy_charts, kind_charts
from insight_ext.report.charts.beliefs import belief_charts
from insight_ext.report.charts.calibration import calibration_charts
from insight_ext.report.charts.groups import outcome_charts, prompt_charts
from insight_ext.report.charts.style import Chart, Omission
from insight_ext.report.charts.time import time_charts
from insight_ext.report.experiment import Experiment

SECTIONS: dict[str, Callable[[Experiment], list[Chart | Omission]]] = {
    "Does it learn?": accuracy_charts,
    "What came of the rollouts": outcome_charts,
    "What the pool is believed to be": belief_charts,
    "Can the beliefs be believed?": calibration_charts,
    "What does choosing cost?": time_charts,
    "Is every kind of task learned?": kind_charts,
    "How broad is the training?": prompt_charts,
}
