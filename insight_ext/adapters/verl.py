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

from insight_ext.adapters import common
from insight_ext.adapters.dataset import pool_from_dataset
from insight_ext.loop import SelectionLoop
from insight_ext.runs.layout import to_log

COLUMN = "insight_group"  # of a row, and so of each of its trajectories
TRAIN = "train"  # verl's partition of what is trained on
RLHFDataset = common.imported_from("verl", "verl.utils.dataset.rl_dataset", "RLHFDataset")
open_dict = common.imported_from("verl", "omegaconf", "open_dict")
kv_batch_get = common.imported_from("verl", "transfer_queue", "kv_batch_get")
REPLAY = "replay_buffer of pkg://insight_ext.adapters.verl"
OUTCOME = "data.insight.outcome"
NEW_BELIEFS = "export them to actor_rollout_ref.model.path and set trainer.resume_mode=disable"
TRAINER = [
    *("_build_replay_buffer", "config.actor_rollout_ref.rollout.n"),
    *("config.data.dataloader_num_workers", "config.data.seed", "config.data.train_batch_size"),
    *("config.data.train_files", "config.data.val_files", "config.reward.reward_model.enable"),
    *("config.reward.reward_model.enable_resource_pool", "config.trainer.default_local_dir"),
    "config.trainer.v1.sampler.custom_sampler.path",
]
LOOK = "_sync_metadata_from_transfer_queue"
BUFFER = [LOOK, "failure_keys", "finished_keys", "partitions", "sample"]


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
            raise common.left_out("trainer.v1.sampler.custom_sampler", REPLAY, "another")
        options = common.settings("data.insight", config.get("insight", {}))
        self.outcome = options.pop("outcome", None)
        pool = pool_from_dataset(self.dataframe, options.pop("fields", None), self.prompt_key)
        batch = config.train_batch_size
        common.check_size("verl", "data.train_files", len(pool), batch, "data.train_batch_size")
        # What verl fetched ahead comes back in one of the next steps; what it lost, never.
        said = {**config.insight_trainer, "max_staleness": 16}
        self.loop = common.make_loop("verl", pool, options, batch, **said)

    def __getitems__(self, positions: Sequence[int]) -> list[dict[str, Any]]:
        """As many rows as torch's loader asks for at once, whichever those would be."""
        if self.loop is None:
            return [self[position] for position in positions]
        dealt = common.deal_exactly(self.loop, len(positions))
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
    common.check_names("trainer", "verl", trainer, TRAINER)
    config = trainer.config
    _check(config)
    with open_dict(config):
        config.data.insight_trainer = {
            "rollouts": config.actor_rollout_ref.rollout.n,
            "seed": config.data.seed or 0,
            "folder": config.trainer.default_local_dir,
        }
    custom = config.trainer.v1.sampler.custom_sampler
    path, custom.path = custom.path, None
    buffer = trainer._build_replay_buffer()
    custom.path = path
    common.check_names("replay buffer", "verl", buffer, BUFFER)
    _Watch(trainer, buffer)
    return buffer


class _Watch:
    """Reports every group once that a replay buffer finds finished, and ends the loop's steps."""

    def __init__(self, trainer: Any, buffer: Any) -> None:
        self.trainer, self.buffer = trainer, buffer
        self._reported: set[str] = set()
        self._look, self._sample = getattr(buffer, LOOK), buffer.sample
        vars(buffer).update({LOOK: self.look, "sample": self.sample})

    @property
    def dataset(self) -> Any:
        return common.other_half("data.custom_cls", self.trainer.train_dataset, SelectingDataset)

    def look(self) -> None:
        """The buffer's, which now knows what is finished; what is new is reported."""
        self._look()
        finished = self.buffer.finished_keys[TRAIN] | self.buffer.failure_keys[TRAIN]
        new, self._reported = finished - self._reported, set(finished)
        # A trajectory's key is prompt_session_number; of a session's, all have its reward.
        ends = {
            key.rpartition("_")[0]: key
            for key in sorted(self.buffer.partitions[TRAIN])
            if key.partition("_")[0] in new
        }
        if not ends:
            return
        outcome, loop = self.dataset.outcome, self.dataset.loop
        field = "rm_scores" if outcome is None else "extra_fields"
        found = kv_batch_get(list(ends.values()), TRAIN, [COLUMN, field])
        answers = [int(getattr(each, "data", each)) * loop.rollouts for each in found[COLUMN]]
        values = [getattr(each, "data", each) for each in found[field]]
        if outcome is None:
            rewards = [float(value.sum()) for value in values]  # over the trajectory's tokens
        else:
            extra = [value.get("reward_extra_info", {}) for value in values]
            rewards = [common.outcome_of(each, outcome, OUTCOME) for each in extra]
        common.report_answers(loop, answers, rewards)

    def sample(self, global_steps: int, partition_id: str, batch_size: int) -> Any:
        """The buffer's; a batch to train on ends a step, whose metrics verl logs."""
        if partition_id != TRAIN:
            return self._sample(global_steps, partition_id, batch_size)
        loop = self.dataset.loop
        if global_steps > 1 and loop.step == 0:
            raise common.without_beliefs(f"global_step_{global_steps - 1}/data.pt", NEW_BELIEFS)
        if loop.step == 0:
            loop.expect(self.trainer.total_training_steps * loop.told["prompts_per_step"])
        batch, metrics = self._sample(global_steps, partition_id, batch_size)
        chosen = to_log([loop.end_step()])
        if global_steps >= self.trainer.total_training_steps:
            loop.close()
        return batch, {**metrics, **chosen}


def _check(config: Any) -> None:
    data, model = config.data, config.reward.reward_model
    late = "set it so, or results reach the beliefs too late or never"
    path = "verl does not say which of them a data set is for, so give one another path"
    pooled = model.enable_resource_pool or not model.enable
    alike = data.val_files == data.train_files
    common.check_setting("data.dataloader_num_workers", data.dataloader_num_workers, 0, late)
    common.check_setting("reward.reward_model.enable_resource_pool", pooled, True, late)
    common.check_setting("data.val_files equal to data.train_files", alike, False, path)
