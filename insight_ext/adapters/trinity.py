"""Prompt selection in Trinity-RFT: one class, named in its configuration.

    buffer:
      explorer_input:
        taskset:
          data_selector:
            selector_type: insight_ext.adapters.trinity.InsightSelector
            seed: 42
            kwargs: {selector: insight, rollouts: 8, folder: checkpoints/own}
    data_processor:
      experience_pipeline:
        operators: [{name: pass_rate_calculator}]

Trinity makes the selector by its path, asks it for a batch's rows (`get_indices`), and brings back
their mean rewards (`feedback`) when the batch is finished. A batch is a step of the loop.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from insight_ext.adapters import common
from insight_ext.adapters.dataset import pool_from_dataset
from insight_ext.beliefs.group import as_rewards
from insight_ext.errors import ArgumentError, CheckpointError, ObservationError
from insight_ext.plugins import whole

TRINITY = "Trinity-RFT"
ANEW = {"current_index": 0}  # what Trinity restores where there is no checkpoint
FILE = "insight_ext"  # in the selector's state: the name of the file with the beliefs


class InsightSelector:
    """Trinity's `BaseSelector`: which rows of a task set come next.

    Trinity says of a prompt the mean reward alone, so rewards are those of right and wrong answers,
    1 and 0; of others, in [0, 1], the mean is taken for the share of right ones.

    The state is a file beside Trinity's own, which is JSON and is printed to the log: the two
    latest are kept.

    Args:
        data_source: Trinity's reader of the task set.
        config: Trinity's `data_selector`. Its `kwargs` are options of `SelectionLoop`, such as
            `selector`; `rollouts`, Trinity's `repeat_times`, is needed, and so is `folder`, where
            the history and the beliefs are written, in a folder named after the task set; `fields`
            are the data set's columns, see `pool_from_dataset`.

    Attributes:
        loop: for its beliefs and metrics.

    Raises:
        ArgumentError: a Trinity without the needed names, or a setting that cannot work.
        PoolError: ids that are missing or repeat.

    Determinism: a run that is resumed makes the choices of one that was not, with `sync_interval`
    1; else Trinity rolls out anew what was not finished, and those prompts come first.
    """

    def __init__(self, data_source: Any, config: Any) -> None:
        common.check_names("data source", TRINITY, data_source, ["dataset", "name"])
        common.check_names("data_selector", TRINITY, config, ["kwargs", "seed"])
        options = dict(config.kwargs)
        for name in ("rollouts", "folder"):
            if name not in options:
                raise ArgumentError(
                    f"data_selector.kwargs: expected {name}, got {', '.join(options) or 'none'}; "
                    "rollouts are repeat_times, and folder says where the beliefs are written"
                )
        for name in {"success_threshold", "partial_credit"} & options.keys():
            raise ArgumentError(
                f"data_selector.kwargs: expected no {name}, since Trinity tells shares of right "
                f"answers alone, got {options[name]!r:.80}; let the workflow's reward be 1 or 0"
            )
        self.folder = Path(options.pop("folder"), data_source.name)
        pool = pool_from_dataset(data_source.dataset, options.pop("fields", None))
        said = {"rollouts": options["rollouts"], "seed": config.seed, "folder": self.folder}
        self.loop = common.make_loop(TRINITY, pool, options, None, **said)
        self._ahead = 0  # batches that were dealt and have not come back
        self._files: list[Path] = []

    def get_indices(self, batch_size: int, return_extra_info: bool = False) -> Any:
        """The rows of the next batch.

        Raises:
            ArgumentError: a batch larger than the task set.
        """
        if batch_size > len(self.loop.pool):
            raise ArgumentError(
                f"batch_size: expected {len(self.loop.pool)} or less, the tasks of "
                f"{self.folder.name}, got {batch_size}; set a smaller one"
            )
        dealt = common.deal_exactly(self.loop, batch_size, step=self.loop.step + self._ahead)
        self._ahead += 1
        rows = [each.position for each in dealt]
        return (rows, {}) if return_extra_info else rows

    def feedback(self, indices: Sequence[int], values: Sequence[float]) -> None:
        """Take in a batch; the next one is chosen by what came of it.

        Raises:
            ObservationError: rows or means that cannot be counted; nothing was taken in.
        """
        rollouts = self.loop.rollouts
        means = as_rewards("feedback", values)
        for value in means:
            if not (math.isnan(value) or 0 <= value <= 1):
                raise ObservationError(
                    "feedback: expected mean rewards in [0, 1], the shares of right answers, got "
                    f"{value}; let the workflow's reward be 1 or 0; nothing was taken in"
                )
        try:
            rows = [whole("index", index, 0, len(self.loop.pool) - 1) for index in indices]
            pairs = list(zip(rows, means, strict=True))
        except ValueError as error:
            raise ObservationError(f"feedback: {error}; nothing was taken in") from error
        for row, value in pairs:
            right = 0 if math.isnan(value) else round(value * rollouts)
            rewards = [1.0] * right + [0.0] * (rollouts - right)
            common.report_prompt(self.loop, row, [None] if math.isnan(value) else rewards)
        self.loop.end_step()
        self._ahead = max(0, self._ahead - 1)

    def state_dict(self) -> dict[str, Any]:
        """The name of the file with the beliefs, which is written now.

        Warns:
            UserWarning: batches were dealt, and none ever came back.
        """
        if self._ahead and not self.loop.step:
            warnings.warn(
                "no batch has come back so far: expected the operator pass_rate_calculator in "
                "data_processor.experience_pipeline.operators, before those that drop experiences",
                stacklevel=2,
            )
        path = self.folder / f"beliefs-{self.loop.step}.pt"
        self.loop.save(path)
        self._files = [*(file for file in self._files if file != path), path]
        for file in self._files[:-2]:
            file.unlink(missing_ok=True)
        del self._files[:-2]
        return {FILE: path.name}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore what `state_dict` named.

        Raises:
            CheckpointError: of another selector or pool, or without its file.
        """
        if FILE in state_dict:
            path = self.folder / state_dict[FILE]
            common.load_beliefs(
                self.loop, path, "remove explorer_meta.json from the checkpoint's folder"
            )
            self._ahead, self._files = 0, [path]
        elif state_dict != ANEW:
            raise CheckpointError(
                f"explorer_meta.json: expected a state of {type(self).__name__}, got {state_dict} "
                "of another selector; name that one, or remove the file to start with new beliefs"
            )
