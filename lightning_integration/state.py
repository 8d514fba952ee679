"""What a checkpoint keeps of the selection: saved in one place, checked before anything changes."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from insight_ext import CheckpointError
from insight_ext.beliefs.pool_change import PoolChange
from insight_ext.distributed.ranks import digest
from insight_ext.filters import Filter
from insight_ext.loop.checkpoint import FORMAT
from lightning_integration.datamodule import PromptDataModule
from lightning_integration.trainer import rank_zero_warn


class SelectionState:
    """The states of the strategy, the filter, the loader and the groups that are out, and the pool.

    Tensors and primitives only, so that `torch.load(weights_only=True)` reads them.

    Args:
        data: whose pool, selector and loader are meant.
        filter: the module's, if it has one.
    """

    def __init__(self, data: PromptDataModule, filter: Filter | None) -> None:
        self.pool, self.selector, self.loader = data.pool, data.selector, data.loader
        self.filter = filter

    def save(self) -> dict[str, Any]:
        """Everything needed to go on."""
        ledger = self.loader.ledger
        return {
            "format": FORMAT,
            "pool": self.pool.state_dict(),
            "selector": self.selector.state_dict(),
            "loader": self.loader.state_dict(),
            "filter": None if self.filter is None else self.filter.state_dict(),
            "ledger": None if ledger is None else ledger.state_dict(),
        }

    def digest(self) -> str:
        """A text that is equal where all of it is, the pool apart, which has its fingerprint."""
        changing = {name: part for name, part in self.save().items() if name != "pool"}
        return digest((self.loader.prompts_per_step, changing))

    def check(self, state: dict[str, Any] | None) -> None:
        """See that `load` will succeed; a state of an earlier pool becomes one of the present.

        Raises:
            CheckpointError: no state, or one of another format, filter, strategy or pool; nothing
                was changed.
        """
        if not state:
            raise CheckpointError(
                "the checkpoint holds no beliefs: expected one written with "
                "PromptSelectionCallback; to start from its weights alone, load them into the "
                "model and fit without ckpt_path"
            )
        if state["format"] != FORMAT:
            raise CheckpointError(
                f"the checkpoint's beliefs have format {state['format']}: expected {FORMAT}; "
                "resume with the version that wrote it"
            )
        saved = state["filter"]
        if (saved is None) != (self.filter is None):
            own = None if self.filter is None else type(self.filter).__name__
            raise CheckpointError(
                f"filter: expected {own}, the checkpoint has {saved and saved['filter']}; resume "
                "with the settings of the run that wrote it"
            )
        if state["pool"]["fingerprint"] != self.pool.fingerprint:
            self._carry(state)
        deepcopy(self.selector).load_state_dict(state["selector"])
        if self.filter is not None:
            deepcopy(self.filter).load_state_dict(state["filter"])

    def load(self, state: dict[str, Any]) -> None:
        """Restore what `save` returned and `check` has seen."""
        self.selector.load_state_dict(state["selector"])
        # Lightning restores the loader too, but not if a data module wraps it.
        self.loader.load_state_dict(state["loader"])
        if self.filter is not None:
            self.filter.load_state_dict(state["filter"])
        # Where nothing may come late any more, nothing is waited for.
        if self.loader.ledger is not None and state["ledger"] is not None:
            self.loader.ledger.load_state_dict(state["ledger"])

    def _carry(self, state: dict[str, Any]) -> None:
        """Rewrite the state of an earlier pool as one of the present pool, and say what changed."""
        change = PoolChange(state["pool"], self.pool)
        state["selector"] = self.selector.carried(state["selector"], change)
        if self.filter is not None:
            state["filter"] = self.filter.carried(state["filter"], change)
        if self.loader.ledger is not None and state["ledger"] is not None:
            state["ledger"] = self.loader.ledger.carried(state["ledger"], change)
        state["pool"] = self.pool.state_dict()
        rank_zero_warn(f"the pool changed since the checkpoint: {change}")
