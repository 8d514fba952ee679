"""The command line: `python -m insight_ext`, and what it shows in a terminal.

Needs rich and, for a run's folder, pyarrow, which come with the `lightning` extra.
"""
