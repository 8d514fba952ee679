"""`insight-ext calibrate`: fit the simulated learner of kinds to recorded runs."""

from __future__ import annotations

import argparse

from insight_ext.cli.tables import show
from insight_ext.progress import counter
from insight_ext.simulate.arms import split_arms
from insight_ext.simulate.calibrate import calibrate, markdown
from insight_ext.simulate.recorded import read_recording


def run(options: argparse.Namespace) -> None:
    """Fit, print the fit, write the learner's settings."""
    arms = None if options.strategies is None else split_arms(options.strategies)
    fit = calibrate(read_recording(options.folder, arms), on_fit=counter("calibrate", "fits"))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    fit.settings.write(options.output)
    text = markdown(fit)
    show(options, text)
    print(options.output)
