"""Settings for a small machine, before TRL is imported; without TRL every module here skips."""

from __future__ import annotations

import os

import pytest
import torch

torch.set_num_threads(1)  # a model this small is slower with more
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")


@pytest.fixture
def watched():
    from benchmarks.trl_run import Watched

    return Watched
