"""`insight-ext calibrate`: fit the simulated learner of kinds to recorded runs."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict

from insight_ext.cli.tables import STANDARD_OUTPUT, check_folder, print_json, show
from insight_ext.plugins import split_list
from insight_ext.progress import counter
from insight_ext.simulate.calibrate import calibrate, markdown
from insight_ext.simulate.recorded import read_recording


def run(options: argparse.Namespace) -> None:
    """Fit, print the fit, write the learner's settings, or print them alone."""
    check_folder(options.output.parent)
    arms = None if options.strategies is None else split_list(options.strategies)
    fit = calibrate(read_recording(options.folder, arms), on_fit=counter("calibrate", "fits"))
    if options.output == STANDARD_OUTPUT:
        sys.stdout.write(fit.settings.as_json())
        return
    options.output.parent.mkdir(parents=True, exist_ok=True)
    fit.settings.write(options.output)
    if options.json:
        print_json([{"name": name, **asdict(each)} for name, each in fit.estimates.items()])
        return
    show(options, markdown(fit))
    print(options.output)
