"""Prompt selection in verl: settings of its command alone.

    data.custom_cls.path=pkg://insight_ext.adapters.verl
    data.custom_cls.name=SelectingDataset
    data.dataloader_num_workers=0
    trainer.v1.sampler.custom_sampler.path=pkg://insight_ext.adapters.verl
    trainer.v1.sampler.custom_sampler.name=replay_buffer
    +data.insight.selector=insight

verl makes the replay buffer, then the data set, in one process. The data set deals a prompt where
verl's loader asks for a row; the buffer reports each group that is finished when verl looks, before
verl's filter evicts any, and ends the loop's step when verl has its batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from insight_ext.adapters.common import check_names, deal_exactly, imported_from, make_loop
from insight_ext.adapters.dataset import pool_from_dataset
from insight_ext.errors import ArgumentError, CheckpointError
from insight_ext.loop import GroupResult

VERL = "verl"
HERE = "pkg://insight_ext.adapters.verl"
COLUMN = "insight_group"  # in every row of the train set, and so in every trajectory
TRAIN = "train"
TRAINER = ["_build_replay_buffer", "config", "trainer_mode"]
CONFIG = [
    *("actor_rollout_ref.rollout.n", "data.custom_cls.name", "data.custom_cls.path", "data.seed"),
    *("data.dataloader_num_workers", "data.train_batch_size", "data.train_files"),
    *("data.val_files", "reward.reward_model.enable", "reward.reward_model.enable_resource_pool"),
    *("trainer.default_local_dir", "trainer.v1.sampler.custom_sampler.path"),
]
BUFFER = [
    *("_sync_metadata_from_transfer_queue", "failure_keys", "finished_keys", "partitions"),
    "sample",
]
DATASET = ["__getitem__", "__init__"]
MADE_DATASET = ["config", "dataframe", "prompt_key"]


def replay_buffer(**settings: Any) -> Any:
    """verl's own replay buffer, with all of its settings, that tells the loop what it sees.

    What verl makes where `trainer.v1.sampler.custom_sampler` names this.

    Args:
        settings: what verl gives to a replay buffer.

    Returns:
        A `ReplayBuffer`, or a `ReplayBufferAsync` in the asynchronous modes.

    Raises:
        ArgumentError: a verl without the needed names, or settings that cannot work.
    """
    trainer: Any = getattr(settings.get("refill_fn"), "__self__", None)
    check_names("trainer", VERL, trainer, TRAINER)
    config = trainer.config
    check_names("settings", VERL, config, CONFIG)
    _check(config)
    open_dict = imported_from(VERL, "omegaconf", "open_dict")
    with open_dict(config):
        config.data.insight = {
            "rollouts": config.actor_rollout_ref.rollout.n,
            "seed": config.data.seed or 0,
            "folder": config.trainer.default_local_dir,
            # What is aborted or late in the asynchronous modes comes in a later step, or never.
            "max_staleness": 0 if trainer.trainer_mode == "sync" else 16,
            **(config.data.get("insight") or {}),
        }
    custom = config.trainer.v1.sampler.custom_sampler
    path, custom.path = custom.path, None
    try:
        buffer = trainer._build_replay_buffer()
    finally:
        custom.path = path
    check_names("replay buffer", VERL, buffer, BUFFER)
    watch = _Watch(trainer, buffer)
    buffer._sync_metadata_from_transfer_queue = watch.sync
    buffer.sample = watch.sample
    return buffer


class _Watch:
    """What stands before two methods of a replay buffer."""

    def __init__(self, trainer: Any, buffer: Any) -> None:
        self.trainer, self.buffer = trainer, buffer
        self._get = imported_from(VERL, "transfer_queue", "kv_batch_get")
        self._sync, self._sample = buffer._sync_metadata_from_transfer_queue, buffer.sample
        self._seen: set[str] = set()  # prompts of this run that are told, and still in the queue

    @property
    def dataset(self) -> Any:
        check_names("trainer", VERL, self.trainer, ["train_dataset.loop"])
        return self.trainer.train_dataset

    def sync(self) -> None:
        """Report the groups that finished since verl last looked; it evicts from these."""
        self._sync()
        ended = self.buffer.finished_keys[TRAIN] | self.buffer.failure_keys[TRAIN]
        new = ended - self._seen
        self._seen = ended
        # Of a rollout that became several outputs, the last: uid -> rollout -> (output, key).
        ends: dict[str, dict[int, tuple[int, str]]] = {}
        for key in self.buffer.partitions[TRAIN]:
            uid, session, output = key.rsplit("_", 2)
            if uid in new:
                last = ends.setdefault(uid, {})
                last[int(session)] = max(last.get(int(session), (-1, "")), (int(output), key))
        keys = [key for last in ends.values() for _, key in last.values()]
        if not keys:
            return
        name, reward = self.dataset.reward
        data = self._get(keys=keys, partition_id=TRAIN, select_fields=[COLUMN, name])
        rewards = dict(zip(keys, map(reward, data[name]), strict=True))
        groups = dict(zip(keys, map(_plain, data[COLUMN]), strict=True))
        loop, results = self.dataset.loop, []
        for last in ends.values():
            answers: list[Any] = [None] * loop.rollouts  # None where a rollout failed
            for session, (_, key) in last.items():
                answers[session] = rewards[key]
            results.append(GroupResult(int(groups[key]), answers))
        loop.report_all(results)

    def sample(self, global_steps: int, partition_id: str, batch_size: int) -> Any:
        """verl's, after which the step of the loop ends; its metrics are among verl's."""
        loop = self.dataset.loop
        if partition_id == TRAIN and loop.step == 0 and global_steps > 1:
            raise CheckpointError(
                f"data.pt: expected the beliefs of the run that wrote the checkpoint of step "
                f"{global_steps - 1}, got none; to go on from its weights with new beliefs, name "
                "them in actor_rollout_ref.model.path and start with trainer.resume_mode=disable"
            )
        batch, metrics = self._sample(global_steps, partition_id, batch_size)
        if partition_id == TRAIN:
            ended = {f"selection/{name}": value for name, value in loop.end_step().items()}
            metrics = {**metrics, **ended}
        return batch, metrics


class _Selecting:
    """What stands before verl's `RLHFDataset`: rows by choice, and beliefs in its state.

    Attributes:
        loop: for its beliefs and metrics; None in the validation set.
        reward: the field of a trajectory that says whether it is correct, and how to read it.
    """

    def __init__(self, data_files: Any, *args: Any, **more: Any) -> None:
        super().__init__(data_files, *args, **more)  # type: ignore[call-arg]
        check_names("data set", VERL, self, MADE_DATASET)
        verl: Any = self
        config = verl.config
        self.loop: Any = None
        if _files(data_files) != _files(config.train_files):
            return
        options = dict(config.get("insight") or {})
        if "rollouts" not in options:
            raise ArgumentError(
                f"trainer.v1.sampler.custom_sampler: expected {HERE} and replay_buffer, got "
                "another replay buffer, which would tell no results; give both settings or none"
            )
        outcome = options.pop("outcome", None)
        self.reward = (
            ("rm_scores", _total)
            if outcome is None
            else ("extra_fields", partial(_extra, outcome=outcome))
        )
        fields = {"prompt": verl.prompt_key, **(options.pop("fields", None) or {})}
        pool = pool_from_dataset(verl.dataframe, fields)
        if len(pool) < config.train_batch_size:
            raise ArgumentError(
                f"data.train_files: expected {config.train_batch_size} prompts or more, as in "
                f"data.train_batch_size, got {len(pool)}; set a smaller batch"
            )
        self.loop = make_loop(VERL, pool, options, rollouts=options["rollouts"])

    def __getitems__(self, positions: Sequence[int]) -> list[dict[str, Any]]:
        """As many rows as verl's loader asks for; which, the selector says."""
        rows: Any = self
        if self.loop is None:
            return [rows[position] for position in positions]
        return [
            {**rows[position], COLUMN: group}
            for group, position, _ in deal_exactly(self.loop, len(positions))
        ]

    def state_dict(self) -> dict[str, Any]:
        """What verl puts into `data.pt`."""
        return {} if self.loop is None else dict(self.loop.state_dict())

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned; rollouts in flight are in verl's own checkpoint.

        Raises:
            CheckpointError: see `SelectionLoop.load_state_dict`.
        """
        if self.loop is not None:
            self.loop.load_state_dict(state_dict, in_flight="wait")


def __getattr__(name: str) -> Any:
    """`SelectingDataset`, made when verl first asks for it, since it derives from verl's own."""
    if name != "SelectingDataset":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    base = imported_from(VERL, "verl.utils.dataset.rl_dataset", "RLHFDataset")
    check_names("data set", VERL, base, DATASET)
    made = type(name, (_Selecting, base), {"__module__": __name__, "__doc__": _Selecting.__doc__})
    globals()[name] = made
    return made


def _check(config: Any) -> None:
    data, model = config.data, config.reward.reward_model
    named = (data.custom_cls.path, data.custom_cls.name)
    if named != (HERE, "SelectingDataset") or config.trainer.v1.sampler.custom_sampler.path != HERE:
        raise ArgumentError(
            f"data.custom_cls: expected {HERE} and SelectingDataset, and {HERE} as the path of "
            f"trainer.v1.sampler.custom_sampler too, got {named[0]} and {named[1]}; give both, by "
            "pkg://, since the two have to meet"
        )
    if data.dataloader_num_workers:
        raise ArgumentError(
            f"data.dataloader_num_workers: expected 0, got {data.dataloader_num_workers}; workers "
            "would choose far ahead from copies of the beliefs, which never learn"
        )
    if _files(data.train_files) == _files(data.val_files):
        raise ArgumentError(
            "data.val_files: expected other files than data.train_files, got the same, and verl "
            "does not say which of its two data sets is which; give a copy another name"
        )
    if model.enable and not model.enable_resource_pool:
        raise ArgumentError(
            "reward.reward_model.enable_resource_pool: expected True, got False, with which verl "
            "scores an answer after its group was sampled, and evicted ones never"
        )


def _files(given: Any) -> list[str]:
    return [given] if isinstance(given, str) else [str(each) for each in given]


def _plain(value: Any) -> Any:
    """A field of a trajectory without verl's wrapping."""
    return getattr(value, "data", value)


def _total(scores: Any) -> float:
    return float(scores.sum())


def _extra(fields: Any, outcome: str) -> Any:
    found = _plain(fields).get("reward_extra_info", {})
    if outcome not in found:
        raise ArgumentError(
            "data.insight.outcome: expected what the reward function says beside the score, one of "
            f"{', '.join(map(str, found)) or 'nothing'}, got {outcome!r}; leave it out to go by "
            "the score"
        )
    return found[outcome]
