"""What selection needs of a TRL trainer, asked before anything is changed; its batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from insight_ext.adapters.common import check_names, check_setting, check_size
from insight_ext.errors import ArgumentError

TRL = "TRL"
COLUMN = "insight_rollout"  # an answer's number (`common.report_answers`): its way to the reward
TRAINER = [
    *("accelerator.device", "accelerator.num_processes", "accelerator.process_index"),
    *("add_callback", "args", "data_collator", "get_cp_size", "get_sp_size", "get_tp_size"),
    *("get_train_dataloader", "log", "model.training", "reward_func_names", "reward_funcs"),
    *("save_model", "state.global_step", "train", "train_dataset"),
]
ARGS = [
    *("auto_find_batch_size", "generation_batch_size", "gradient_accumulation_steps"),
    *("ignore_data_skip", "n_gpu", "num_generations", "num_iterations", "output_dir"),
    *("remove_unused_columns", "seed", "should_save", "steps_per_generation"),
]


def check(trainer: Any) -> None:
    """See that the trainer has the needed names, and that its settings and its data can work.

    Args:
        trainer: to be checked.

    Raises:
        ArgumentError: a name is missing, or a setting or the data set cannot work.
    """
    if any(kind.__name__ == "AsyncGRPOTrainer" for kind in type(trainer).__mro__):
        raise ArgumentError(
            "trainer: expected a GRPOTrainer or RLOOTrainer, got an AsyncGRPOTrainer, which deals "
            "prompts in a process that its checkpoints do not reach; use GRPOTrainer, which takes "
            'a vLLM server too (use_vllm=True, vllm_mode="server")'
        )
    check_names("GRPOTrainer or RLOOTrainer", TRL, trainer, TRAINER)
    check_names("its settings", TRL, trainer.args, ARGS)
    args, dataset = trainer.args, trainer.train_dataset
    owner = getattr(trainer.get_train_dataloader, "__module__", "").partition(".")[0]
    once = "call select_prompts once, on a trainer that leaves the loader to TRL"
    check_setting("get_train_dataloader", f"one of {owner}", "one of trl", once)
    unfit = {
        "auto_find_batch_size": (args.auto_find_batch_size, False),
        "remove_unused_columns": (args.remove_unused_columns, False),
        "GPUs of one process": (max(args.n_gpu, 1), 1),
        "context parallel size": (trainer.get_cp_size(), 1),
        "sequence parallel size": (trainer.get_sp_size(), 1),
        "tensor parallel size": (trainer.get_tp_size(), 1),
    }
    for name, (got, expected) in unfit.items():
        check_setting(name, got, expected, "else TRL cuts other batches; leave it at its default")
    if not hasattr(dataset, "with_format") or not hasattr(dataset, "__len__"):
        raise ArgumentError(
            f"train_dataset: expected a datasets.Dataset, whose rows can be looked up, got a "
            f"{type(dataset).__name__}; load it without streaming"
        )
    if COLUMN in dataset.column_names:
        raise ArgumentError(f"train_dataset: the column {COLUMN} is this adapter's; rename it")
    check_size(TRL, "train_dataset", len(dataset), layout_of(args)[2], "batch")


def position_of(outcome: str | Callable[..., Any] | None, trainer: Any) -> int:
    """Which of the trainer's reward functions says whether an answer is correct.

    Raises:
        ArgumentError: none or several do, or it is a reward model.
    """
    functions, names = trainer.reward_funcs, trainer.reward_func_names
    found = [
        at
        for at, (function, name) in enumerate(zip(functions, names, strict=True))
        if outcome is function or outcome == name or (outcome is None and len(functions) == 1)
    ]
    if len(found) != 1:
        raise ArgumentError(
            f"outcome: expected the one reward function that says whether an answer is correct, "
            f"one of {', '.join(names)}, got {outcome!r}; a function that is not to be trained on "
            "can be among the trainer's with the reward weight 0"
        )
    if isinstance(functions[found[0]], torch.nn.Module):
        raise ArgumentError(
            f"outcome: expected a reward function, got the reward model {names[found[0]]}, which "
            "TRL does not give the rows; wrap it in a function that returns its scores"
        )
    return found[0]


def layout_of(args: Any) -> tuple[int, int, int]:
    """Prompts of a generation, over all processes; micro-batches that are trained on it; prompts of
    an optimiser step in which something is rolled out.
    """
    prompts = args.generation_batch_size // args.num_generations
    repeats = args.num_iterations * args.steps_per_generation
    return prompts, repeats, prompts * -(-args.gradient_accumulation_steps // repeats)


def done_of(trainer: Any, epoch: int) -> int:
    """Micro-batches of a resumed epoch that were trained on, and are now skipped.

    Args:
        trainer: which is at the epoch's beginning.
        epoch: micro-batches of an epoch.
    """
    if trainer.args.ignore_data_skip:
        return 0
    together = trainer.args.gradient_accumulation_steps
    return int(trainer.state.global_step % -(-epoch // together) * together)
