"""Settings for a small machine, before verl is imported; without verl every module here skips."""

from __future__ import annotations

import os

import torch

torch.set_num_threads(1)  # a model this small is slower with more
os.environ.setdefault("HF_HUB_OFFLINE", "1")
