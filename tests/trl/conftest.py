"""Settings for a small machine, before TRL is imported; without TRL every module here skips."""

from __future__ import annotations

import os

import pytest
import torch

torch.set_num_threads(1)  # a model this small is slower with more
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")


class Watched:
    """A loop's choices, the results it was told, and how many generations each choice lags.

    The lag of a generation counts those dealt before it whose results are not in the beliefs yet.
    """

    def __init__(self, loop):
        self.loop, self.chosen, self.told, self.lags = loop, [], [], []
        deal, report, end_step = loop.deal, loop.report, loop.end_step
        out = []

        def noted_deal(k, **more):
            self.lags.append(len(out))
            dealt = deal(k, **more)
            out.append(dealt)
            self.chosen.append([each.index for each in dealt])
            return dealt

        def noted_report(group, rewards, **more):
            self.told.append((group, list(rewards), more))
            return report(group, rewards, **more)

        def noted_end_step(*args, **more):
            out.clear()
            return end_step(*args, **more)

        loop.deal, loop.report, loop.end_step = noted_deal, noted_report, noted_end_step


@pytest.fixture
def watched():
    return Watched
