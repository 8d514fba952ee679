"""Looking at a run while it goes on, and at what a checkpoint holds. For the command line.

Needs rich and, for a run's folder, pyarrow, which come with the `lightning` extra.
"""
