"""The one place that chooses between `lightning.pytorch` and `pytorch_lightning`.

The two packages hold different classes: a Trainer of one refuses a Callback of the other. So the
package that the program has already imported is taken, `pytorch_lightning` if it has both or none.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Container
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from insight_ext import ArgumentError
from insight_ext.distributed.ranks import Ranks

# By intruders (advisory GHSA-w37p-236h-pfx3): they send secrets away as soon as they are imported.
FORGED = ("2.6.2", "2.6.3")
IMPORT_ORDER = "import one of the two packages alone, and before lightning_integration"


def refuse_forged(distribution: str) -> None:
    """See that the installed release of `lightning` or `pytorch-lightning` is its makers' own.

    Raises:
        ImportError: it is one of `FORGED`.
    """
    try:
        installed = version(distribution)
    except PackageNotFoundError:
        return
    if installed in FORGED:
        raise ImportError(
            f"{distribution}: expected another release than {' and '.join(FORGED)}, which send "
            f"secrets away on import, got {installed}; remove it, change every password and "
            "key that this machine holds, and install the latest release"
        )


def choose(imported: Container[str], installed: Container[str]) -> str:
    """The name of the package to use.

    Examples:
        >>> both = ("pytorch_lightning", "lightning.pytorch")
        >>> choose({"lightning.pytorch"}, both), choose((), both)
        ('lightning.pytorch', 'pytorch_lightning')
    """
    names = ("pytorch_lightning", "lightning.pytorch")
    for known in (imported, installed):
        for name in names:
            if name in known:
                return name
    raise ModuleNotFoundError(f"expected {' or '.join(names)}: pip install insight-ext[lightning]")


PACKAGE = choose(
    sys.modules,
    [
        name
        for name, root in (("pytorch_lightning",) * 2, ("lightning.pytorch", "lightning"))
        if find_spec(root)
    ],
)
refuse_forged(PACKAGE.partition(".")[0].replace("_", "-"))
pl = import_module(PACKAGE)
callbacks = import_module(f"{PACKAGE}.callbacks")
loggers = import_module(f"{PACKAGE}.loggers")
DDPStrategy = import_module(f"{PACKAGE}.strategies").DDPStrategy
rank_zero_only = import_module(f"{PACKAGE}.utilities").rank_zero_only
rank_zero_warn = import_module(f"{PACKAGE}.utilities").rank_zero_warn

Callback = pl.Callback
LightningDataModule = pl.LightningDataModule
LightningModule = pl.LightningModule
Trainer = pl.Trainer


class _OtherPackage(MetaPathFinder):
    """Warns where the program has imported the other package too, or as soon as it imports it.

    The other one's Trainer refuses what is made here before anything here is called.
    """

    def __init__(self) -> None:
        (self.name,) = {"pytorch_lightning", "lightning.pytorch"} - {PACKAGE}

    def watch(self) -> None:
        """Say it, or wait for the import."""
        if self.name in sys.modules:
            self._warn()
        else:
            sys.meta_path.insert(0, self)

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
        """Finds nothing; is asked at every first import."""
        if fullname == self.name:
            sys.meta_path.remove(self)
            self._warn()

    def _warn(self) -> None:
        warnings.warn(
            f"expected one Lightning package in the program, got two: lightning_integration works "
            f"with the Trainer of {PACKAGE}, and that of {self.name} refuses its modules with a "
            f"TypeError; {IMPORT_ORDER}",
            stacklevel=3,
        )


_OtherPackage().watch()


def ranks_of(trainer: Any) -> Ranks:
    """This process among the trainer's."""
    return Ranks(trainer.global_rank, trainer.world_size, trainer.strategy.root_device)


def is_rehearsal(trainer: Any) -> bool:
    """Whether the trainer only tries itself out, so that nothing may be learned about prompts."""
    return bool(trainer.fast_dev_run) or trainer.overfit_batches > 0


def check_trainer(trainer: Any) -> None:
    """See that a trainer is of the chosen package, and each of its processes has its own batch.

    Raises:
        ArgumentError: it is the other package's, or see `check_one_copy_each`.
    """
    if not isinstance(trainer, Trainer):
        raise ArgumentError(
            f"PromptSelectionCallback: expected the Trainer of {PACKAGE}, which was imported when "
            f"lightning_integration was, got that of {type(trainer).__module__}; {IMPORT_ORDER}"
        )
    check_one_copy_each(trainer)


def check_one_copy_each(trainer: Any) -> None:
    """ArgumentError where several processes share a copy of the model, and so want one batch."""
    kwargs = getattr(trainer.strategy, "distributed_sampler_kwargs", None) or {}
    copies = kwargs.get("num_replicas", trainer.world_size)
    if copies != trainer.world_size:
        raise ArgumentError(
            f"PromptSelectionCallback: expected a batch for each of {trainer.world_size} "
            f"processes, got a strategy with {copies} copies of the model; set "
            "tensor_parallel_size=1"
        )


def will_log(trainer: Any) -> bool:
    """Whether the loggers take in the present training batch.

    `LightningModule.log` costs a large part of a millisecond for each metric, also on the steps
    that the trainer then does not pass on to its loggers.
    """
    every = trainer.log_every_n_steps
    if trainer.accumulate_grad_batches > 1:
        return bool(every > 0)  # Lightning counts optimiser steps then, and has no count of them
    return bool(every > 0 and (trainer.fit_loop.total_batch_idx + 1) % every == 0)
