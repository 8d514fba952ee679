"""`python -m insight_ext calibrate` and `python -m insight_ext agree`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from insight_ext.plugins import need


def add_calibrate_arguments(command: argparse.ArgumentParser) -> None:
    """The options of `calibrate`."""
    command.add_argument(
        "folder", type=Path, nargs="+", help="of an experiment: experiment.json, ARM-seedS/..."
    )
    command.add_argument("--strategies", help="only the runs of these, by semicolon")
    command.add_argument(
        "--output", type=Path, default=Path("runs/calibrated.json"), help="(runs/calibrated.json)"
    )


def add_agree_arguments(command: argparse.ArgumentParser) -> None:
    """The options of `agree`."""
    command.add_argument("folder", type=Path, help="of an experiment with several strategies")
    command.add_argument(
        "--learner", default="kinds", help="a name, or a file that calibrate wrote (kinds)"
    )
    command.add_argument("--strategies", help="only these, by semicolon")
    command.add_argument("--seeds", type=int, default=5, help="of the simulation (5)")


def run_calibrate(options: argparse.Namespace) -> None:
    """Fit the kinds learner to recorded runs, print the fit, write its settings."""
    need("calibrate", "pyarrow")
    from insight_ext.simulate.calibrate import calibrate, markdown
    from insight_ext.simulate.recorded import read_recording

    arms = None if options.strategies is None else options.strategies.split(";")
    fit = calibrate(read_recording(options.folder, arms), on_fit=_progress)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    fit.settings.write(options.output)
    print(markdown(fit))
    print(options.output)


def run_agree(options: argparse.Namespace) -> None:
    """Print how a learner ranks the recorded strategies."""
    need("agree", "pyarrow")
    from insight_ext.simulate.agreement import agreement, markdown

    arms = None if options.strategies is None else options.strategies.split(";")
    seen = agreement(
        options.folder, options.learner, arms=arms, simulations=options.seeds, on_trial=_progress
    )
    print(markdown(seen))


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done:,} of {total:,}", end="\n" if done == total else "", file=sys.stderr)
