"""verl's adapter, against small classes that follow the interface of its release 0.9.1.

`make test-verl` runs it in that release's own fit loop, replay buffer and TransferQueue.
"""

from __future__ import annotations

import random
import sys
from argparse import Namespace
from collections import defaultdict
from contextlib import contextmanager
from importlib import import_module
from operator import attrgetter
from types import ModuleType

import pyarrow as pa
import pytest
import torch

from insight_ext import ArgumentError, CheckpointError
from insight_ext.distributed.ranks import digest

ADAPTER = "insight_ext.adapters.verl"
K, BATCH = 4, 8
QUEUE: dict[str, dict[str, tuple[dict, dict]]] = defaultdict(dict)  # partition: key: tag, fields


class Config(dict):
    """An OmegaConf of fixed names: a new one wants `open_dict`."""

    struct = True

    def __getattr__(self, name):
        if name not in self:
            raise AttributeError(name)
        return self[name]

    def __setattr__(self, name, value):
        if name not in self and Config.struct:
            raise AttributeError(name)
        self[name] = value


@contextmanager
def open_dict(config):
    Config.struct = False
    yield config
    Config.struct = True


class Rows(list):
    """Stands for a datasets.Dataset."""

    def with_format(self, name):
        return self

    def __getitem__(self, at):
        return (
            pa.Table.from_pylist(list(self)) if isinstance(at, slice) else super().__getitem__(at)
        )


class RLHFDataset(torch.utils.data.Dataset):
    """`utils/dataset/rl_dataset.py`; a file is the list of its rows' numbers."""

    def __init__(self, data_files, tokenizer, config, processor=None, max_samples=-1):
        self.prompt_key = config.prompt_key
        self.dataframe = Rows(
            {"id": f"sum-{i}", "prompt": f"{i}+{i}=", "index": i} for i in data_files[0]
        )

    def __len__(self):
        return len(self.dataframe)

    def __getitem__(self, item):
        return dict(self.dataframe[item])


class ReplayBuffer:
    """`trainer/ppo/v1/replay_buffer.py`: what is identical in reward is evicted and refilled."""

    def __init__(self, refill_fn, filter_groups_metric=None):
        self.refill_fn, self.filter_groups_metric = refill_fn, filter_groups_metric
        self.partitions = defaultdict(dict)
        self.finished_keys, self.failure_keys = defaultdict(set), defaultdict(set)

    def _sync_metadata_from_transfer_queue(self):
        for known in (self.partitions, self.finished_keys, self.failure_keys):
            known.clear()
        for partition, items in QUEUE.items():
            for key, (tag, _) in items.items():
                if not tag.get("is_prompt"):
                    self.partitions[partition][key] = tag
                elif tag["status"] == "finished":
                    self.finished_keys[partition].add(key)
                elif tag["status"] == "failure":
                    self.failure_keys[partition].add(key)

    def _clear(self, partition_id, uids):
        for key in [key for key in QUEUE[partition_id] if key.split("_")[0] in uids]:
            del QUEUE[partition_id][key]

    def sample(self, global_steps, partition_id, batch_size):
        while True:
            self._sync_metadata_from_transfer_queue()
            sampleable = self.finished_keys[partition_id] | self.failure_keys[partition_id]
            if self.filter_groups_metric is not None and partition_id == "train":
                scores = defaultdict(set)
                for key in self.partitions[partition_id]:
                    scores[key.split("_")[0]].add(float(QUEUE["train"][key][1]["rm_scores"].sum()))
                alike = {uid for uid in sampleable if len(scores[uid]) == 1}
                self._clear(partition_id, alike)
                sampleable -= alike
            if len(sampleable) >= batch_size:
                uids = sorted(sampleable)[:batch_size]
                self._clear(partition_id, uids)
                return uids, {"training/kept": batch_size}
            self.refill_fn(batch_size - len(sampleable))


def kv_batch_get(keys, partition_id, select_fields):
    found = [QUEUE[partition_id][key][1] for key in keys]
    return {name: [fields[name] for fields in found] for name in select_fields}


class Trainer:
    """`trainer/ppo/v1/trainer_base.py`: the buffer first, then the data sets; no workers.

    Args:
        warm_up: batches that are rolled out ahead, as `colocate_async` does.
        solve: gives a group's rewards; fewer where a rollout failed.
    """

    def __init__(self, config, saved=None, step=1, warm_up=0, solve=None):
        self.config, self.global_steps, self.solve = config, step, solve or rewards_of
        self.total_training_steps = 1000
        self.made, self.chosen, self.metrics = 0, [], []
        self.waiting, self.warm_up = [], warm_up
        self.replay_buffer = self._build_replay_buffer()
        kind = getattr(import_module(ADAPTER), config.data.custom_cls.name)
        self.train_dataset, self.val_dataset = (
            kind(data_files=files, tokenizer=None, processor=None, config=config.data)
            for files in (config.data.train_files, config.data.val_files)
        )
        if saved is not None:
            self.train_dataset.load_state_dict(saved)
        for _ in range(warm_up):
            self._add_prompts_to_generate(BATCH)

    def _build_replay_buffer(self):
        settings = {"refill_fn": self._add_prompts_to_generate}
        custom = self.config.trainer.v1.sampler.custom_sampler
        if custom.path:
            return getattr(import_module(ADAPTER), custom.name)(**settings)
        return ReplayBuffer(**settings, filter_groups_metric=self.config.filter_groups_metric)

    def _add_prompts_to_generate(self, count):
        rows = self.train_dataset.__getitems__(list(range(count)))
        self.chosen[-1:] = [(self.chosen[-1:] or [[]])[0] + [row["index"] for row in rows]]
        ready, self.waiting = (self.waiting, rows) if self.warm_up else (rows, [])
        for row in ready:
            self.made += 1
            uid = f"u{self.global_steps:03}x{self.made:06}"
            rewards = self.solve(row["index"], self.global_steps)
            for session, reward in enumerate(rewards):
                for output in range(2):  # an agent with two outputs, both with the reward
                    scores = torch.tensor([0.0, reward])
                    fields = {**row, "rm_scores": scores}
                    fields["extra_fields"] = {"reward_extra_info": {"acc": 1.0 - reward}}
                    QUEUE["train"][f"{uid}_{session}_{output}"] = {"status": "success"}, fields
            status = "finished" if len(rewards) == K else "failure"
            QUEUE["train"][uid] = {"is_prompt": True, "status": status}, {}

    def fit(self, until):
        """Steps up to this one; of each the rows that were rolled out."""
        first = len(self.chosen)
        while self.global_steps <= until:
            self.chosen.append([])
            self._add_prompts_to_generate(BATCH)
            _, metrics = self.replay_buffer.sample(self.global_steps, "train", BATCH)
            self.metrics.append(metrics)
            self.global_steps += 1
        return self.chosen[first:]

    @property
    def beliefs(self):
        return digest(self.train_dataset.loop.selector.state_dict())


def rewards_of(index, step):
    """40 % of the prompts are always solved, 40 % never, 20 % by every second answer."""
    chance = random.Random(f"{index} {step}")
    rate = (1.0, 1.0, 0.5, 0.0, 0.0)[index % 5]
    return [float(chance.random() < rate) for _ in range(K)]


@pytest.fixture(autouse=True)
def verl(monkeypatch):
    """The adapter, imported where verl's modules are those of this file."""
    QUEUE.clear()
    contents = {
        "verl.utils.dataset.rl_dataset": {"RLHFDataset": RLHFDataset},
        "omegaconf": {"open_dict": open_dict},
        "transfer_queue": {"kv_batch_get": kv_batch_get},
    }
    modules = {}
    for path, names in contents.items():
        modules[path] = ModuleType(path)
        vars(modules[path]).update(names)
        while "." in path:
            path = path.rpartition(".")[0]
            modules.setdefault(path, ModuleType(path))
    for path, module in modules.items():
        monkeypatch.setitem(sys.modules, path, module)
    sys.modules.pop(ADAPTER, None)
    yield import_module(ADAPTER)
    sys.modules.pop(ADAPTER, None)


def config_of(folder, metric=None, insight=None, **data):
    module = f"pkg://{ADAPTER}"
    given = {
        "train_files": [range(100)],
        "val_files": [range(10)],
        "prompt_key": "prompt",
        "train_batch_size": BATCH,
        "seed": 1,
        "dataloader_num_workers": 0,
        "custom_cls": Config(path=module, name="SelectingDataset"),
        **({} if insight is None else {"insight": insight}),
        **data,
    }
    sampler = Config(custom_sampler=Config(path=module, name="replay_buffer"))
    return Config(
        data=Config(given),
        actor_rollout_ref=Config(rollout=Config(n=K)),
        reward=Config(reward_model=Config(enable=False, enable_resource_pool=False)),
        trainer=Config(default_local_dir=str(folder), v1=Config(sampler=sampler)),
        filter_groups_metric=metric,
    )


def test_choices_turn_to_mixed_groups_and_rest_on_all_results_before_them(tmp_path):
    trainer = Trainer(config_of(tmp_path))
    trainer.fit(40)
    shares = [metrics["selection/frac_mixed"] for metrics in trainer.metrics]
    assert sum(shares[20:]) > 2 * sum(shares[:5]) * 20 / 5
    assert {metrics["selection/staleness_max"] for metrics in trainer.metrics} == {0.0}
    assert {metrics["training/kept"] for metrics in trainer.metrics} == {BATCH}
    assert trainer.val_dataset.loop is None
    assert trainer.val_dataset.__getitems__([3, 1])[0]["index"] == 3


@pytest.mark.parametrize("metric", [None, "reward"])
def test_a_resumed_run_makes_the_choices_of_one_that_was_not_interrupted(metric, tmp_path):
    whole = Trainer(config_of(tmp_path / "whole", metric))
    chosen = whole.fit(40)
    first = Trainer(config_of(tmp_path / "first", metric))
    first.fit(20)
    torch.save(first.train_dataset.state_dict(), tmp_path / "data.pt")
    first.fit(27)
    first.train_dataset.loop.close(finished=False)  # as a kill does
    QUEUE.clear()
    saved = torch.load(tmp_path / "data.pt", weights_only=False)
    second = Trainer(config_of(tmp_path / "first", metric), saved, step=21)
    assert second.fit(40) == chosen[20:]
    assert second.beliefs == whole.beliefs


def test_beliefs_follow_the_ids_when_the_file_is_in_another_order(tmp_path):
    first = Trainer(config_of(tmp_path))
    first.fit(5)
    state = first.train_dataset.state_dict()
    first.train_dataset.loop.close(finished=False)
    turned = config_of(tmp_path, train_files=[range(99, -1, -1)])
    with pytest.warns(UserWarning, match="the pool changed"):
        second = Trainer(turned, state, step=6)
    seen = []
    for trainer in (first, second):
        loop = trainer.train_dataset.loop
        alpha = loop.selector.posterior.alpha.tolist()
        seen.append(dict(zip(loop.pool.ids, alpha, strict=True)))
    assert seen[0] == seen[1]


def test_groups_that_the_filter_evicts_are_observed(tmp_path):
    trainer = Trainer(config_of(tmp_path, "reward"))
    rolled_out = trainer.fit(8)
    assert trainer.metrics[-1]["selection/rollouts_generated"] == K * sum(map(len, rolled_out))
    assert len(rolled_out[0]) > 2 * BATCH
    assert sum(map(len, rolled_out[4:])) < 4 * len(rolled_out[0])


def test_what_is_rolled_out_ahead_lags_by_one_batch(tmp_path):
    trainer = Trainer(config_of(tmp_path), warm_up=1)
    trainer.fit(12)
    assert {metrics["selection/staleness_max"] for metrics in trainer.metrics[1:]} == {1.0}
    assert {metrics["selection/groups_out"] for metrics in trainer.metrics} == {BATCH}


def test_a_failed_rollout_is_missing_in_its_group_and_the_others_count(tmp_path):
    trainer = Trainer(config_of(tmp_path), solve=lambda index, step: [1.0] * (K - 1))
    trainer.fit(3)
    assert trainer.metrics[-1]["selection/rollouts_generated"] == 3 * BATCH * (K - 1)
    assert trainer.metrics[-1]["selection/groups_out"] == 0


@pytest.mark.parametrize("insight", [None, {"outcome": "acc"}], ids=["reward", "entry"])
def test_an_answer_that_could_not_be_scored_leaves_no_trace(insight, tmp_path):
    solve = lambda index, step: [float("nan"), 1.0, 1.0, 0.0]  # noqa: E731
    trainer = Trainer(config_of(tmp_path, insight=insight), solve=solve)
    trainer.fit(1)
    assert trainer.metrics[0]["selection/rollouts_unscored"] == BATCH
    assert trainer.metrics[0]["selection/reward_mean"] == pytest.approx(1 / 3 if insight else 2 / 3)


def test_the_outcome_can_be_an_entry_beside_the_reward(tmp_path):
    solve = lambda index, step: [1.0, 0.0, 0.0, 0.0]  # noqa: E731
    plain = Trainer(config_of(tmp_path / "a"), solve=solve)
    named = Trainer(config_of(tmp_path / "b", insight={"outcome": "acc"}), solve=solve)
    for trainer, mean in ((plain, 0.25), (named, 0.75)):
        trainer.fit(1)
        assert trainer.metrics[0]["selection/reward_mean"] == mean
    QUEUE.clear()
    wrong = Trainer(config_of(tmp_path / "c", insight={"outcome": "right"}), solve=solve)
    with pytest.raises(ArgumentError, match="outcome: expected .* one of acc, got 'right'"):
        wrong.fit(1)


def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path):
    first = Trainer(config_of(tmp_path))
    first.fit(2)
    state = first.train_dataset.state_dict()
    first.train_dataset.loop.close(finished=False)
    with pytest.raises(CheckpointError, match="global_step_2/data.pt: expected the beliefs"):
        Trainer(config_of(tmp_path), step=3).fit(3)
    with pytest.raises(CheckpointError, match="selector"):
        Trainer(config_of(tmp_path, insight={"selector": "uniform"}), state, step=3)
    with pytest.raises(CheckpointError, match="pool"):
        Trainer(config_of(tmp_path, train_files=[range(200, 300)]), state, step=3)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"dataloader_num_workers": 8}, "dataloader_num_workers: expected 0, got 8"),
        ({"val_files": [range(100)]}, "val_files equal to data.train_files: expected False"),
        (
            {"train_files": [range(7)]},
            "expected 8 prompts or more, which verl asks for at once, got 7",
        ),
        ({"insight": {"selectr": "a"}}, "got 'selectr'; did you mean 'selector'"),
        ({"insight": {"rollouts": 8}}, "rollouts: expected 4, as in verl's"),
    ],
    ids=["workers", "same files", "small", "option", "rollouts"],
)
def test_what_cannot_work_is_refused_at_the_start(changes, sentence, tmp_path):
    with pytest.raises(ArgumentError, match=sentence) as caught:
        Trainer(config_of(tmp_path, **changes))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("verl.utils.dataset.rl_dataset", "RLHFDataset"),
        ("omegaconf", "open_dict"),
        ("transfer_queue", "kv_batch_get"),
    ],
)
def test_a_module_that_is_gone_or_lost_a_name(module, name, monkeypatch):
    monkeypatch.delitem(sys.modules, ADAPTER)
    with monkeypatch.context() as changed:
        changed.delattr(sys.modules[module], name)
        with pytest.raises(ArgumentError, match=f"{module}: expected verl's.* without {name};"):
            import_module(ADAPTER)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ArgumentError, match=f"verl: expected the module {module}, got: "):
        import_module(ADAPTER)


def test_of_a_buffer_a_name_that_is_gone_is_said(verl, tmp_path, monkeypatch):
    for name in verl.BUFFER:

        class Without(ReplayBuffer):
            def __getattribute__(self, asked, name=name):
                if asked == name and "made" in vars(self):
                    raise AttributeError(asked)
                return super().__getattribute__(asked)

            def __init__(self, **settings):
                super().__init__(**settings)
                self.made = True

        monkeypatch.setitem(globals(), "ReplayBuffer", Without)
        with pytest.raises(ArgumentError, match=f"replay buffer: expected verl's.* {name};"):
            Trainer(config_of(tmp_path))
        monkeypatch.undo()


def test_of_a_trainer_or_its_configuration_a_name_that_is_gone_is_said(verl, tmp_path):
    for name in verl.TRAINER:
        trainer = Namespace(config=config_of(tmp_path), _build_replay_buffer=None)
        *path, last = name.split(".")
        inner = attrgetter(".".join(path))(trainer) if path else vars(trainer)
        del inner[last]
        bound = Trainer._add_prompts_to_generate.__get__(trainer)
        with pytest.raises(ArgumentError, match=f"trainer: expected verl's.* without {name};"):
            verl.replay_buffer(refill_fn=bound)
