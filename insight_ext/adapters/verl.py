"""Prompt selection in verl: configuration only.

    data.custom_cls.path=pkg://insight_ext.adapters.verl data.custom_cls.name=SelectingDataset
    trainer.v1.sampler.custom_sampler.path=pkg://insight_ext.adapters.verl
    trainer.v1.sampler.custom_sampler.name=replay_buffer
    data.dataloader_num_workers=0 +data.insight.selector=insight

verl's loader asks the data set for a batch's rows and saves its state in `data.pt`; verl's own
replay buffer is watched as it looks for finished groups, before it drops any. A batch that is
sampled from it is a step of the loop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from insight_ext.adapters.common import (
    check_names,
    deal_exactly,
    imported_from,
    make_loop,
    outcome_of,
)
from insight_ext.adapters.dataset import pool_from_dataset
from insight_ext.errors import ArgumentError, CheckpointError
from insight_ext.loop import GroupResult, SelectionLoop
from insight_ext.runs.layout import logged

VERL = "verl"
COLUMN = "insight_group"  # of a row, and so of each of its trajectories
OUTCOME = "data.insight.outcome"
TRAIN = "train"  # verl's partition of what is trained on
RLHFDataset = imported_from(VERL, "verl.utils.dataset.rl_dataset", "RLHFDataset")
open_dict = imported_from(VERL, "omegaconf", "open_dict")
kv_batch_get = imported_from(VERL, "transfer_queue", "kv_batch_get")
TRAINER = ["_build_replay_buffer", "config"]
CONFIG = [
    *("actor_rollout_ref.rollout.n", "data.dataloader_num_workers", "data.seed"),
    *("data.train_batch_size", "data.train_files", "data.val_files"),
    *("reward.reward_model.enable", "reward.reward_model.enable_resource_pool"),
    *("trainer.default_local_dir", "trainer.v1.sampler.custom_sampler.path"),
]
BUFFER = [
    *("_sync_metadata_from_transfer_queue", "failure_keys", "finished_keys", "partitions"),
    "sample",
]


class SelectingDataset(RLHFDataset):  # type: ignore[misc, valid-type]
    """verl's data set (`data.custom_cls`), of whose training rows a selector chooses the next.

    Settings are in `data.insight`: options of `SelectionLoop`, such as `selector` and
    `success_threshold`; `fields`, the files' columns, see `pool_from_dataset`; `outcome`, the entry
    of `reward_extra_info` that says whether an answer is correct (verl's reward if there is none).

    Attributes:
        loop: for its beliefs and metrics; None in the validation's data set.

    Raises:
        ArgumentError: `replay_buffer` is not configured, or settings that cannot work.
        PoolError: ids that are missing or repeat.

    Determinism: a run that is killed and resumed makes the choices of one that was not, if verl
        itself goes on as before.
    """

    def __init__(self, data_files: Any, tokenizer: Any, config: Any, **more: Any) -> None:
        super().__init__(data_files=data_files, tokenizer=tokenizer, config=config, **more)
        self.loop: SelectionLoop | None = None
        if data_files != config.train_files:
            return
        if "insight_trainer" not in config:
            raise ArgumentError(
                "trainer.v1.sampler.custom_sampler: expected replay_buffer of "
                "pkg://insight_ext.adapters.verl, got another, so that no result would reach the "
                "beliefs; give both settings or none"
            )
        options = dict(config.get("insight", {}))
        self.outcome = options.pop("outcome", None)
        fields = {"prompt": self.prompt_key, **options.pop("fields", {})}
        pool = pool_from_dataset(self.dataframe, fields)
        if len(pool) < config.train_batch_size:
            raise ArgumentError(
                f"data.train_files: expected {config.train_batch_size} prompts or more, a batch, "
                f"got {len(pool)}; set a smaller data.train_batch_size"
            )
        # What verl fetched ahead comes back in one of the next steps; what it lost, never.
        self.loop = make_loop(VERL, pool, options, **config.insight_trainer, max_staleness=16)

    def __getitems__(self, positions: Sequence[int]) -> list[dict[str, Any]]:
        """As many rows as torch's loader asks for at once, whichever those would be."""
        if self.loop is None:
            return [self[position] for position in positions]
        dealt = deal_exactly(self.loop, len(positions))
        return [{**self[each.position], COLUMN: each.group} for each in dealt]

    def state_dict(self) -> dict[str, Any]:
        """What verl's loader puts into `data.pt`."""
        return {} if self.loop is None else self.loop.state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned; rollouts in flight verl itself starts again.

        Raises:
            CheckpointError: see `SelectionLoop.load_state_dict`.
        """
        if self.loop is not None:
            self.loop.load_state_dict(state_dict, in_flight="wait")


def replay_buffer(*, refill_fn: Any, **settings: Any) -> Any:
    """verl's own replay buffer for the trainer's mode, watched (`custom_sampler`).

    verl keeps its settings for filters and failures from buffers that are not its own. So here it
    is asked once more for the one that it would have made without `custom_sampler`.

    Args:
        refill_fn: a method of the trainer that makes the buffer.
        settings: of the buffer, which verl knows itself.

    Raises:
        ArgumentError: a verl without the needed names, or settings that cannot work.
    """
    trainer: Any = getattr(refill_fn, "__self__", None)
    check_names("trainer", VERL, trainer, TRAINER)
    config = trainer.config
    check_names("configuration", VERL, config, CONFIG)
    _check(config)
    with open_dict(config):
        config.data.insight_trainer = {
            "rollouts": config.actor_rollout_ref.rollout.n,
            "seed": config.data.seed or 0,
            "folder": config.trainer.default_local_dir,
        }
    custom = config.trainer.v1.sampler.custom_sampler
    path, custom.path = custom.path, None
    try:
        buffer = trainer._build_replay_buffer()
    finally:
        custom.path = path
    check_names("replay buffer", VERL, buffer, BUFFER)
    _Watch(trainer, buffer)
    return buffer


class _Watch:
    """Reports every group once that a replay buffer finds finished, and ends the loop's steps."""

    def __init__(self, trainer: Any, buffer: Any) -> None:
        self.trainer, self.buffer = trainer, buffer
        self._look, self._sample = buffer._sync_metadata_from_transfer_queue, buffer.sample
        self._reported: set[str] = set()
        buffer._sync_metadata_from_transfer_queue, buffer.sample = self.look, self.sample

    @property
    def dataset(self) -> Any:
        dataset = self.trainer.train_dataset
        if not isinstance(dataset, SelectingDataset):
            raise ArgumentError(
                "data.custom_cls: expected SelectingDataset of pkg://insight_ext.adapters.verl, "
                f"got a {type(dataset).__name__}; give both settings or none"
            )
        return dataset

    def look(self) -> None:
        """The buffer's, which now knows what is finished; what is new is reported."""
        self._look()
        finished = self.buffer.finished_keys[TRAIN] | self.buffer.failure_keys[TRAIN]
        new, self._reported = finished - self._reported, set(finished)
        # A trajectory's key is prompt_session_number; of a session's, all have its reward.
        ends = {
            (prompt, int(session)): key
            for key in self.buffer.partitions[TRAIN]
            for prompt, session, _ in [key.split("_")]
            if prompt in new
        }
        if not ends:
            return
        outcome = self.dataset.outcome
        field = "rm_scores" if outcome is None else "extra_fields"
        found = kv_batch_get(
            keys=list(ends.values()), partition_id=TRAIN, select_fields=[COLUMN, field]
        )
        groups: dict[int, dict[int, Any]] = {}
        for (_, session), group, value in zip(ends, found[COLUMN], found[field], strict=True):
            value = getattr(value, "data", value)
            if outcome is None:
                reward = float(value.sum())  # over the trajectory's tokens
            else:
                reward = outcome_of(value.get("reward_extra_info", {}), outcome, OUTCOME)
            groups.setdefault(int(getattr(group, "data", group)), {})[session] = reward
        self.dataset.loop.report_all(
            GroupResult(group, [rewards[session] for session in sorted(rewards)])
            for group, rewards in groups.items()
        )

    def sample(self, global_steps: int, partition_id: str, batch_size: int) -> Any:
        """The buffer's; a batch to train on ends a step, whose metrics verl logs."""
        if partition_id != TRAIN:
            return self._sample(global_steps, partition_id, batch_size)
        loop = self.dataset.loop
        if global_steps > 1 and loop.step == 0:
            raise CheckpointError(
                f"global_step_{global_steps - 1}/data.pt: expected the beliefs of the run that "
                "wrote this checkpoint, got none; to go on from these weights with new beliefs, "
                "export them, name them as actor_rollout_ref.model.path and set "
                "trainer.resume_mode=disable"
            )
        batch, metrics = self._sample(global_steps, partition_id, batch_size)
        chosen = {logged(name): value for name, value in loop.end_step().items()}
        if global_steps >= self.trainer.total_training_steps:
            loop.close()
        return batch, {**metrics, **chosen}


def _check(config: Any) -> None:
    data, model = config.data, config.reward.reward_model
    if data.dataloader_num_workers != 0:
        raise ArgumentError(
            f"data.dataloader_num_workers: expected 0, got {data.dataloader_num_workers}; workers "
            "would choose far ahead, from copies of the beliefs that never learn"
        )
    if data.train_files == data.val_files:
        raise ArgumentError(
            f"data.val_files: expected others than data.train_files, got {data.val_files} as both; "
            "verl does not say which of them a data set is for, so give one under another path"
        )
    if model.enable and not model.enable_resource_pool:
        raise ArgumentError(
            "reward.reward_model.enable_resource_pool: expected True, got False; a colocated "
            "reward model scores a batch after verl has dropped groups from it"
        )
