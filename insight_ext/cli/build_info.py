"""`insight-ext build-info`: how this build was made."""

from __future__ import annotations

import argparse
import json

from insight_ext.kernel.build_info import build_info


def run(options: argparse.Namespace) -> None:
    """Print it as JSON."""
    print(json.dumps(build_info(), indent=2))
