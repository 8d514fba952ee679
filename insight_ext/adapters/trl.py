"""Prompt selection in TRL's GRPOTrainer and RLOOTrainer: one call before `trainer.train()`.

    trainer = GRPOTrainer(model, reward_funcs=[accuracy, format], args=args, train_dataset=dataset)
    select_prompts(trainer, "insight", outcome="accuracy")
    trainer.train(resume_from_checkpoint=True)

Of the trainer it replaces what transformers documents for overriding or calls by a public name:
`get_train_dataloader` (the rows, dealt when the trainer asks for them), `log` (the metrics),
`save_model` and `train` (the beliefs, in the checkpoint's folder), and one entry of `reward_funcs`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import partial, wraps
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any

from torch.utils.data import DataLoader, IterableDataset
from transformers import TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, get_last_checkpoint

from insight_ext.adapters.common import load_beliefs
from insight_ext.adapters.dataset import pool_from_dataset
from insight_ext.adapters.trl_checks import check, position_of, prompts_of, repeats_of
from insight_ext.distributed.ranks import Ranks
from insight_ext.errors import ObservationError
from insight_ext.loop import SelectionLoop
from insight_ext.runs.layout import TOTALS, logged
from insight_ext.selectors import Selector

COLUMN = "insight_rollout"  # (group, number of the rollout in it): a row's way to the reward
FILE = "insight_ext.pt"  # in each checkpoint's folder
# Columns of TRL's log of completions that are the loop's too.
UNCERTAINTIES = ("perplexity", "entropy")


def select_prompts(
    trainer: Any,
    selector: Selector | str = "insight",
    *,
    outcome: str | Callable[..., Any] | None = None,
    fields: Mapping[str, str | None] | None = None,
    **options: Any,
) -> SelectionLoop:
    """Have a GRPOTrainer or RLOOTrainer, or a subclass, roll out the prompts a selector chooses.

    Beliefs move at the end of every optimiser step in which something was rolled out, and the next
    generation's prompts are chosen from those: the lag is 0. They are saved in the trainer's own
    checkpoints (`insight_ext.pt`) and restored by `trainer.train(resume_from_checkpoint=...)`.
    The loop's metrics are in the trainer's log, as `selection/NAME`; every group is recorded in
    `groups.parquet` in the output folder.

    Args:
        trainer: not yet training.
        selector: a name in `insight_ext.selectors.SELECTORS`, an import path, or an object.
        outcome: the reward function that says whether an answer is correct, or its name in TRL's
            log. Needed where there are several.
        fields: the data set's columns, such as {"id": "task"}, where they have none of the usual
            names; see `pool_from_dataset`.
        options: of `SelectionLoop`, such as `success_threshold` and `selector_options`. Its seed
            is the trainer's, its number of rollouts `num_generations`, its folder `output_dir`.
            With `answers=True` a row of each answer is recorded, with the columns `perplexity` and
            `entropy` that the outcome function gives to TRL's `log_extra`.

    Returns:
        The loop, for its beliefs and metrics.

    Raises:
        ArgumentError: a trainer without the needed names, a setting or a data set that cannot work.
        PoolError: ids that are missing or repeat.

    Determinism: a run that is killed and resumed from a checkpoint makes the choices of one that
        was not, if TRL itself goes on as before, i.e. if the checkpoint was written when all
        rollouts of a generation had been trained on. Elsewhere TRL rolls out anew, and so are
        prompts chosen anew.

    Cost: of a generation one `SelectionLoop.deal`, and one exchange over the processes.
    """
    check(trainer, COLUMN)
    at = position_of(outcome, trainer)
    args, accelerator = trainer.args, trainer.accelerator
    loop = SelectionLoop(
        pool_from_dataset(trainer.train_dataset, {"prompt": "prompt", **(fields or {})}),
        selector,
        rollouts=args.num_generations,
        **{"seed": args.seed, "folder": args.output_dir, **options},
        ranks=Ranks(accelerator.process_index, accelerator.num_processes, accelerator.device),
    )
    rows = _Rows(trainer, loop)
    selection = _Selection(trainer, loop, rows)
    trainer.reward_funcs[at] = _watched(trainer.reward_funcs[at], loop)
    trainer.get_train_dataloader = partial(DataLoader, rows, batch_size=None, collate_fn=_as_is)
    for name in ("log", "save_model", "train"):
        setattr(trainer, name, getattr(selection, name))
    trainer.add_callback(selection)
    return loop


class _Rows(IterableDataset[Any]):
    """The micro-batches of an epoch, in the layout of TRL's sampler, dealt as they are asked for.

    A generation is `repeats` micro-batches, of which TRL rolls out the first.
    """

    def __init__(self, trainer: Any, loop: SelectionLoop) -> None:
        self.trainer, self.loop = trainer, loop
        self.prompts, self.repeats = prompts_of(trainer.args), repeats_of(trainer.args)
        self.asked = 0  # micro-batches in this process, as TRL counts its steps
        # Of the latest generation, of this process: a prompt's row, and what goes into `COLUMN`.
        self.rollouts: list[tuple[dict[str, Any], tuple[int, int]]] = []
        self.dealt = False  # anything in the present step

    def __len__(self) -> int:
        return len(self.trainer.train_dataset) // self.prompts * self.repeats

    def __iter__(self) -> Iterator[Any]:
        args, state = self.trainer.args, self.trainer.state
        together = args.gradient_accumulation_steps
        done = 0  # micro-batches of this epoch that were trained on before a resume
        if not args.ignore_data_skip:
            done = state.global_step % -(-len(self) // together) * together
        yield from [None] * done  # skipped by the trainer
        for _ in range(done, len(self)):
            if self.asked % self.repeats == 0:
                self.rollouts, self.dealt = self._deal(), True
            self.asked += 1
            yield self.trainer.data_collator(
                [{**row, COLUMN: rollout} for row, rollout in self.rollouts]
            )

    def _deal(self) -> list[tuple[dict[str, Any], tuple[int, int]]]:
        ranks, copies = self.loop.ranks, self.loop.rollouts
        rollouts = [
            (dealt, number) for dealt in self.loop.deal(self.prompts) for number in range(copies)
        ]
        size = len(rollouts) // ranks.size
        mine = rollouts[ranks.rank * size : (ranks.rank + 1) * size]
        positions = list(dict.fromkeys(dealt.position for dealt, _ in mine))
        columns = self.trainer.train_dataset[positions]
        rows = {
            position: {name: column[at] for name, column in columns.items()}
            for at, position in enumerate(positions)
        }
        return [(rows[dealt.position], (dealt.group, number)) for dealt, number in mine]


class _Selection(TrainerCallback):
    """What becomes of the rewards: beliefs at the end of a step, in the log and in checkpoints."""

    def __init__(self, trainer: Any, loop: SelectionLoop, rows: _Rows) -> None:
        self.trainer, self.loop, self.rows = trainer, loop, rows
        self._log, self._save_model, self._train = trainer.log, trainer.save_model, trainer.train
        self._metrics: list[dict[str, float]] = []  # of the steps since the latest log

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        if self.rows.dealt:  # else the rollouts of an earlier step were trained on again
            self._metrics.append(self.loop.end_step())
            self.rows.dealt = False

    def on_train_end(self, *args: Any, **kwargs: Any) -> None:
        self.loop.close()

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """The trainer's, with the metrics of the steps since the latest log."""
        if self.trainer.model.training:
            names = dict.fromkeys(name for metrics in self._metrics for name in metrics)
            for name in names:
                values = [each[name] for each in self._metrics if name in each]
                logs[logged(name)] = values[-1] if name in TOTALS else fmean(values)
            self._metrics.clear()
        self._log(logs, *args, **kwargs)

    def save_model(self, output_dir: str | None = None, *args: Any, **kwargs: Any) -> None:
        """The trainer's, and beside the weights of a checkpoint the beliefs, before the rest of it.

        A checkpoint is complete when `trainer_state.json` is there, which is written last.
        """
        self._save_model(output_dir, *args, **kwargs)
        checkpoint = f"{PREFIX_CHECKPOINT_DIR}-{self.trainer.state.global_step}"
        if output_dir and Path(output_dir).name == checkpoint and self.trainer.args.should_save:
            self.loop.save(Path(output_dir) / FILE)

    def train(
        self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any
    ) -> Any:
        """The trainer's, after the beliefs are restored."""
        folder = resume_from_checkpoint
        if folder is True:
            folder = get_last_checkpoint(  # type: ignore[no-untyped-call]
                self.trainer.args.output_dir
            )
        if folder:
            load_beliefs(
                self.loop,
                Path(folder) / FILE,
                "make the trainer with the folder as its model and train without "
                "resume_from_checkpoint",
            )
        return self._train(resume_from_checkpoint, *args, **kwargs)


def _watched(function: Callable[..., Any], loop: SelectionLoop) -> Callable[..., Any]:
    """The reward function, of whose results the loop is told."""

    def noting(columns: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """What the function is given, and where what it logs of each answer is noted."""
        noted: dict[str, Any] = {}

        def log_extra(name: str, values: Any) -> None:
            columns["log_extra"](name, values)
            if name in UNCERTAINTIES:
                noted[name] = values

        return (columns | {"log_extra": log_extra} if "log_extra" in columns else columns), noted

    def tell(rewards: Any, rollouts: list[tuple[int, int]] | None, noted: dict[str, Any]) -> Any:
        # Rows of an evaluation were not dealt. That the counts differ is TRL's to say.
        dealt = list(zip(rollouts or (), rewards, strict=False))
        for name, values in noted.items():
            if len(values) != len(rewards):
                raise ObservationError(
                    f"log_extra({name!r}): expected a number for each of {len(rewards)} answers, "
                    f"got {len(values)}"
                )
        start = 0
        for group, part in groupby(dealt, key=lambda pair: pair[0][0]):
            numbers, values = zip(*part, strict=True)
            known = {name: each[start : start + len(values)] for name, each in noted.items()}
            loop.report(group, values, first=numbers[0][1], of=loop.rollouts, **known)
            start += len(values)
        return rewards

    plain: Any = function
    while isinstance(plain, partial):
        plain = plain.func
    if inspect.iscoroutinefunction(plain) or inspect.iscoroutinefunction(plain.__call__):

        @wraps(function)
        async def watched(*args: Any, **kwargs: Any) -> Any:
            given, noted = noting(kwargs)
            return tell(await function(*args, **given), kwargs.get(COLUMN), noted)
    else:

        @wraps(function)
        def watched(*args: Any, **kwargs: Any) -> Any:
            given, noted = noting(kwargs)
            return tell(function(*args, **given), kwargs.get(COLUMN), noted)

    return watched


def _as_is(rows: Any) -> Any:
    return rows
