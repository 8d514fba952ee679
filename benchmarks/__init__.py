"""Measurements of the kernel, each against its physical limit and its peers in the same run."""
