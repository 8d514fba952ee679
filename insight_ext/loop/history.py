"""What a loop leaves for people: the history in the run's folder, and some answers of each step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from insight_ext.beliefs.group import Group
from insight_ext.beliefs.pool import PromptPool
from insight_ext.data.prompt import Prompt
from insight_ext.loop.results import GroupResult
from insight_ext.plugins import truth, whole
from insight_ext.runs.layout import Sample
from insight_ext.runs.writer import RunWriter
from insight_ext.selectors import BeliefSelector, Selector


class History:
    """Writes what happened, step by step. Of several processes the first has one with a folder.

    Args:
        folder, every, answers, keep_samples: see `SelectionLoop`: `history_every` is `every`.

    Attributes:
        samples: the answers kept of the latest step that ended.
        answered: an answer of each prompt that was reported in the present step, by the prompt's
            id; what all processes noted, once they told each other.
    """

    def __init__(
        self, folder: str | Path | None, every: int, answers: bool, keep_samples: int
    ) -> None:
        self.every = whole("history_every", every, 1)
        self.keep_samples = whole("keep_samples", keep_samples, 0)
        self.folder = None if folder is None else Path(folder)
        self.answers = truth("answers", answers)
        self.samples: list[Sample] = []
        self.answered: dict[str, Sample] = {}
        self._writer: RunWriter | None = None
        self._unseen: int | None = None  # the latest step, while its beliefs are not recorded

    def open(self, step: int) -> None:
        """Take the folder, from this step on.

        Raises:
            ArgumentError: another loop writes it.
        """
        if self._writer is None and self.folder is not None:
            self._writer = RunWriter(self.folder, step, answers=self.answers)

    def note_answer(self, step: int, prompt: Prompt, result: GroupResult) -> None:
        """Remember the first scored answer of a result, if its text is there."""
        if not (self.keep_samples and result.completions):
            return
        for text, reward in zip(result.completions, result.rewards, strict=True):
            if not math.isnan(reward):
                sample = Sample(step, prompt.id, prompt.prompt, text, reward, prompt.answer)
                self.answered.setdefault(prompt.id, sample)
                return

    def choose_samples(self) -> list[Sample]:
        """Keep some of the answers that were noted in the step that ends, and return them."""
        self.samples = spread(list(self.answered.values()), self.keep_samples)
        return self.samples

    def looks_after(self, step: int) -> bool:
        """Whether the whole pool is looked at after this step: the first, and every so many."""
        return step == 0 or (step + 1) % self.every == 0

    def add_step(
        self,
        step: int,
        pool: PromptPool,
        groups: Sequence[Group],
        threshold: float,
        predicted: Tensor,
        selector: Selector,
    ) -> None:
        """Record a step that ended.

        Args:
            step: its number.
            pool: of the prompts.
            groups: those with a scored answer.
            threshold: the smallest reward of a success.
            predicted: of each group, the success rate that was believed before.
            selector: its beliefs are recorded every so many steps.
        """
        self.open(step)
        if self._writer is None:
            return
        if groups:
            ids = [pool[group.prompt].id for group in groups]
            self._writer.add_groups(
                step,
                ids,
                torch.tensor([group.prompt for group in groups]),
                torch.tensor([group.successes(threshold) for group in groups]),
                torch.tensor([len(group.scored) for group in groups]),
                predicted,
            )
            if self.answers:
                self._writer.add_answers(step, ids, groups, threshold)
        self._writer.add_samples(self.samples)
        for group in groups if self.keep_samples else ():
            if 2 * group.successes(threshold) < len(group.scored):
                prompt = pool[group.prompt]
                unread = Sample(step, prompt.id, prompt.prompt, "", 0.0, prompt.answer)
                self._writer.add_first_sample(self.answered.get(prompt.id, unread))
        self._unseen = step
        if self.looks_after(step):
            self._look(step, selector)
            self._writer.flush()

    def flush(self) -> None:
        """Write the history so far."""
        if self._writer is not None:
            self._writer.flush()

    def close(self, selector: Selector | None = None) -> None:
        """Write the rest and leave the folder to others; the beliefs of a selector once more."""
        if self._writer is None:
            return
        if selector is not None and self._unseen is not None:
            self._look(self._unseen, selector)
        self._writer.close()
        self._writer = None

    def _look(self, step: int, selector: Selector) -> None:
        """Record the beliefs after this step."""
        if self._writer is not None and isinstance(selector, BeliefSelector):
            self._writer.add_beliefs(step, selector.posterior)
        self._unseen = None


def spread(samples: Sequence[Sample], n: int) -> list[Sample]:
    """Up to n of the samples, evenly from the worst reward to the best, both among them.

    Examples:
        >>> rewards = {"a": 1.0, "b": 0.0, "c": 3.0, "d": 2.0}
        >>> samples = [Sample(0, name, "", "", reward) for name, reward in rewards.items()]
        >>> [sample.id for sample in spread(samples, 3)]
        ['b', 'd', 'c']
    """
    ranked = sorted(samples, key=lambda sample: sample.reward)
    if n >= len(ranked):
        return ranked
    return [ranked[round(at * (len(ranked) - 1) / max(n - 1, 1))] for at in range(n)]
