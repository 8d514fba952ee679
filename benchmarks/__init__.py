"""Measurements of the kernel, each against its physical limit and its peers in the same run."""

import os

# Read when torch loads its OpenMP: its threads sleep after an operation. Otherwise they go on
# waiting at full speed for milliseconds, on the cores where the next measurement starts its own.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
