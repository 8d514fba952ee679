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
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader, IterableDataset
from transformers import TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, get_last_checkpoint

from insight_ext.adapters.common import load_beliefs, make_loop, report_answers
from insight_ext.adapters.dataset import pool_from_dataset
from insight_ext.adapters.trl_checks import COLUMN, TRL, check, done_of, layout_of, position_of
from insight_ext.distributed.ranks import Ranks
from insight_ext.loop import SelectionLoop
from insight_ext.loop.results import UNCERTAINTIES
from insight_ext.runs.layout import to_log
from insight_ext.selectors import Selector

FILE = "insight_ext.pt"  # in each checkpoint's folder
NEW_BELIEFS = "make the trainer with this folder as its model, and train without resuming"


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
    check(trainer)
    at = position_of(outcome, trainer)
    args, accelerator, dataset = trainer.args, trainer.accelerator, trainer.train_dataset
    pool, options = pool_from_dataset(dataset, fields, "prompt"), {"selector": selector, **options}
    said = {"rollouts": args.num_generations, "seed": args.seed, "folder": args.output_dir}
    ranks = Ranks(accelerator.process_index, accelerator.num_processes, accelerator.device)
    loop = make_loop(TRL, pool, options, layout_of(args)[2], ranks=ranks, **said)
    selection = _Selection(trainer, loop)
    trainer.reward_funcs[at] = _watched(trainer.reward_funcs[at], loop)
    for name in ("get_train_dataloader", "log", "save_model", "train"):
        setattr(trainer, name, getattr(selection, name))
    trainer.add_callback(selection)
    return loop


class _Rows(IterableDataset[Any]):
    """The micro-batches of an epoch, in the layout of TRL's sampler, dealt as they are asked for.

    A generation is `repeats` micro-batches, of which TRL rolls out the first.
    """

    def __init__(self, trainer: Any, loop: SelectionLoop) -> None:
        self.trainer, self.dataset, self.loop = trainer, trainer.train_dataset, loop
        self.prompts, self.repeats, _ = layout_of(trainer.args)
        self.asked = 0  # micro-batches in this process, as TRL counts its steps
        self.rows: list[dict[str, Any]] = []  # of the latest generation, of this process

    def __len__(self) -> int:
        return len(self.dataset) // self.prompts * self.repeats

    def __iter__(self) -> Iterator[Any]:
        done = done_of(self.trainer, len(self))
        yield from [[]] * done  # skipped by the trainer
        for _ in range(done, len(self)):
            if self.asked % self.repeats == 0:
                self.rows = self._dealt()
            self.asked += 1
            yield self.rows

    def _dealt(self) -> list[dict[str, Any]]:
        """This process's rows of the next generation, one for each answer."""
        dealt, copies, ranks = self.loop.deal(self.prompts), self.loop.rollouts, self.loop.ranks
        size = len(dealt) * copies // ranks.size
        mine = range(ranks.rank * size, (ranks.rank + 1) * size)
        first, start = mine[0] // copies, dealt[0].group * copies  # groups are numbered as dealt
        part = dealt[first : mine[-1] // copies + 1]
        rows = self.dataset.__getitems__([each.position for each in part])
        return [{**rows[at // copies - first], COLUMN: start + at} for at in mine]


class _Selection(TrainerCallback):
    """What stands in for the trainer's own: the loader, and beliefs in the log and checkpoints."""

    def __init__(self, trainer: Any, loop: SelectionLoop) -> None:
        self.trainer, self.loop, self.rows = trainer, loop, _Rows(trainer, loop)
        self._log, self._save_model, self._train = trainer.log, trainer.save_model, trainer.train
        self._metrics: list[dict[str, float]] = []  # of the steps since the latest log

    def get_train_dataloader(self) -> DataLoader[Any]:
        """One that deals rows when it is asked for them, and reads nothing ahead."""
        return DataLoader(self.rows, batch_size=None, collate_fn=self.trainer.data_collator)

    def on_train_begin(self, args: Any, state: Any, *others: Any, **kwargs: Any) -> None:
        generations = -(-state.max_steps * args.gradient_accumulation_steps // self.rows.repeats)
        self.loop.expect(generations * self.rows.prompts)

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        if self.loop.in_flight:  # else the rollouts of an earlier step were trained on again
            self._metrics.append(self.loop.end_step())

    def on_train_end(self, *args: Any, **kwargs: Any) -> None:
        self.loop.close()

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """The trainer's, with the metrics of the steps since the latest log."""
        if self.trainer.model.training:
            logs |= to_log(self._metrics)
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

    def train(self, resume_from_checkpoint: Any = None, *args: Any, **kwargs: Any) -> Any:
        """The trainer's, after the beliefs are restored."""
        folder, output = resume_from_checkpoint, self.trainer.args.output_dir
        if folder is True:
            folder = get_last_checkpoint(output)  # type: ignore[no-untyped-call]
        if folder and Path(folder).is_dir():  # else TRL says that there is none
            load_beliefs(self.loop, Path(folder) / FILE, NEW_BELIEFS)
        return self._train(resume_from_checkpoint, *args, **kwargs)


def _watched(function: Callable[..., Any], loop: SelectionLoop) -> Callable[..., Any]:
    """The reward function, of whose results the loop is told."""
    noted: dict[str, Any] = {}  # of the answers at hand, what it gives to TRL's `log_extra`

    def heard(columns: dict[str, Any]) -> dict[str, Any]:
        def log_extra(name: str, values: Any) -> None:
            columns["log_extra"](name, values)
            if name in UNCERTAINTIES:
                noted[name] = values

        noted.clear()
        return columns | {"log_extra": log_extra} if "log_extra" in columns else columns

    def tell(columns: dict[str, Any], rewards: list[Any]) -> list[Any]:
        # Rows of an evaluation were not dealt. That the counts differ is TRL's to say.
        known = noted | {"completions": columns["completions"]}
        report_answers(loop, columns.get(COLUMN, ()), rewards, of=loop.rollouts, **known)
        return rewards

    async def later(*args: Any, **columns: Any) -> Any:
        return tell(columns, list(await function(*args, **heard(columns))))

    def at_once(*args: Any, **columns: Any) -> Any:
        return tell(columns, list(function(*args, **heard(columns))))

    plain: Any = function
    while isinstance(plain, partial):
        plain = plain.func
    is_async = inspect.iscoroutinefunction(plain) or inspect.iscoroutinefunction(plain.__call__)
    return wraps(function)(later if is_async else at_once)
