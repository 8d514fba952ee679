"""What cannot work in verl is refused before anything is rolled out, in one sentence."""

from __future__ import annotations

import pytest

pytest.importorskip("verl")

from datasets import Dataset
from omegaconf import OmegaConf, open_dict
from verl.trainer.ppo.v1 import get_trainer_cls, trainer_base

from benchmarks.verl_run import MODULE, PROMPTS, SELECTION, config_of
from insight_ext import ArgumentError, PoolError
from insight_ext.adapters.verl import BUFFER, TRAINER, replay_buffer


def attach(config):
    """As far as verl comes without Ray: the trainer, its replay buffer, its loaders."""
    trainer = get_trainer_cls(config.trainer.v1.trainer_mode)(config)
    trainer.tokenizer = trainer.processor = None
    trainer._init_dataloader()
    return trainer


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("data.dataloader_num_workers=8", "dataloader_num_workers: expected 0, got 8"),
        ("+data.insight.selectr=insight", "did you mean 'selector'"),
        ("+data.insight.selector=insigt", "did you mean 'insight'"),
        ("+data.insight=insight", "data.insight: expected settings by name, .* got 'insight'"),
        ("+data.insight.fields=task", "fields: expected columns by what they hold, .* got 'task'"),
        ("+data.insight.rollouts=4", "rollouts: expected 8, as in verl's own settings, got 4"),
        (
            "data.train_batch_size=201",
            "expected 201 prompts or more, which verl asks for at once, got 200",
        ),
        ("reward.reward_model.enable=True", "enable_resource_pool: expected True, got False"),
    ],
)
def test_a_setting_that_cannot_work(override, sentence, tmp_path):
    with pytest.raises(ArgumentError, match=sentence) as caught:
        attach(config_of(tmp_path, *SELECTION, override))
    assert "\n" not in str(caught.value)


def test_one_file_for_training_and_validation(tmp_path):
    same = f"data.val_files={tmp_path / 'train.parquet'}"
    with pytest.raises(
        ArgumentError, match="data.val_files equal to data.train_files: expected False"
    ):
        attach(config_of(tmp_path, *SELECTION, same))


@pytest.mark.parametrize(
    ("ids", "sentence"),
    [
        (["a"] * PROMPTS, "prompt id 'a' occurs already"),
        ([None, *map(str, range(1, PROMPTS))], "expected an id, got None"),
    ],
    ids=["repeated", "missing"],
)
def test_ids_that_are_missing_or_repeat(ids, sentence, tmp_path):
    config = config_of(tmp_path, *SELECTION, "+data.insight.fields={id: name}")
    path = config.data.train_files
    rows = Dataset.from_parquet(path, cache_dir=str(tmp_path)).add_column("name", ids)
    rows.to_parquet(tmp_path / "named.parquet")
    config.data.train_files = str(tmp_path / "named.parquet")
    with pytest.raises(PoolError, match=sentence):
        attach(config)


def test_the_data_set_without_the_replay_buffer(tmp_path):
    with pytest.raises(ArgumentError, match="custom_sampler: expected replay_buffer of"):
        attach(config_of(tmp_path, *SELECTION[:2]))


def test_the_replay_buffer_without_the_data_set(tmp_path):
    trainer = attach(config_of(tmp_path, *SELECTION[2:]))
    with pytest.raises(
        ArgumentError, match="custom_cls: expected .*SelectingDataset, got a RLHFDataset"
    ):
        trainer.replay_buffer.sample(global_steps=1, partition_id="train", batch_size=8)


@pytest.mark.parametrize("mode", ["sync", "colocate_async"])
def test_the_buffer_is_the_one_that_verl_makes_without_selection(mode, tmp_path):
    filtered = "algorithm.filter_groups.enable=True"
    chosen = get_trainer_cls(mode)(config_of(tmp_path, *SELECTION, filtered, mode=mode))
    plain = get_trainer_cls(mode)(config_of(tmp_path, filtered, mode=mode))
    assert type(chosen.replay_buffer) is type(plain.replay_buffer)
    for name in ("filter_groups_metric", "train_batch_size", "gen_batch_size", "trainer_mode"):
        assert getattr(chosen.replay_buffer, name) == getattr(plain.replay_buffer, name)
    assert chosen.config.trainer.v1.sampler.custom_sampler.path == MODULE


# What each name of verl is asked for; without it the sentence names it.


@pytest.mark.parametrize("name", TRAINER)
def test_a_trainer_or_its_configuration_without_a_name(name, tmp_path):
    class Without:
        config = config_of(tmp_path, *SELECTION)

        def _build_replay_buffer(self):
            raise AssertionError

        def refill(self):
            raise AssertionError

    if name.startswith("config."):
        parent, _, last = name.removeprefix("config.").rpartition(".")
        with open_dict(Without.config):
            del OmegaConf.select(Without.config, parent)[last]
    else:
        delattr(Without, name)
    with pytest.raises(ArgumentError, match=f"trainer: expected verl's.* without {name};"):
        replay_buffer(refill_fn=Without().refill)


@pytest.mark.parametrize("name", BUFFER)
def test_a_buffer_without_a_name(name, tmp_path, monkeypatch):
    class Without(trainer_base.ReplayBuffer):
        made = False

        def __init__(self, **settings):
            super().__init__(**settings)
            self.made = True

        def __getattribute__(self, asked):
            if asked == name and object.__getattribute__(self, "made"):
                raise AttributeError(asked)
            return super().__getattribute__(asked)

    monkeypatch.setattr(trainer_base, "ReplayBuffer", Without)
    with pytest.raises(ArgumentError, match=f"replay buffer: expected verl's.* without {name};"):
        get_trainer_cls("sync")(config_of(tmp_path, *SELECTION))
