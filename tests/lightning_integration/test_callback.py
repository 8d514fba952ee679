from __future__ import annotations

import csv
import shutil
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from insight_ext import (
    ArgumentError,
    CheckpointError,
    Group,
    ObservationError,
    Prompt,
    PromptPool,
)
from insight_ext.distributed.ranks import digest
from insight_ext.loop.metrics import group_metrics
from insight_ext.selectors import Selector, Uniform
from lightning_integration import PromptDataModule, PromptSelectionCallback
from lightning_integration.trainer import (
    LightningDataModule,
    Trainer,
    callbacks,
    check_one_copy_each,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*treespec"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists"),
    pytest.mark.filterwarnings("ignore:The dirpath has changed"),
    pytest.mark.filterwarnings("ignore:.*no `val_dataloader`"),
    pytest.mark.filterwarnings("ignore:`training_step` returned `None`"),
    pytest.mark.filterwarnings("ignore:.*callbacks used to create the checkpoint"),
]

ONE_EPOCH = {"max_epochs": 1}
LOGGED = {
    "selection/frac_all_solved",
    "selection/frac_all_failed",
    "selection/frac_mixed",
    "selection/frac_reward_zero_std",
    "selection/frac_unseen",
    "selection/frac_tied_at_cut",
    "selection/staleness_max",
    "selection/selection_ms",
    "selection/observation_ms",
    "selection/calibration",
    "selection/rollouts_generated",
    "selection/reward_mean",
    "selection/step_ms",
    "selection/train_seconds",
    "val_accuracy",
}


def beliefs(data):
    posterior = data.selector.posterior
    return torch.stack((posterior.alpha, posterior.beta, posterior.visits.float()))


def metrics(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def column(folder, name):
    return [float(row[name]) for row in metrics(folder) if row[name]]


def groups(folder):
    return pq.read_table(folder / "groups.parquet").to_pylist()


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    """Uninterrupted runs by strategy: folder, data module and learner."""

    def train(selector):
        folder, data, module = tmp_path_factory.mktemp("run"), tiny.data(selector), tiny.Learner()
        tiny.train(folder, module=module, datamodule=data)
        return folder, data, module

    return {selector: train(selector) for selector in ("insight", "uniform")}


@pytest.fixture(scope="module")
def run(whole):
    return whole["insight"]


# What is learned


def test_beliefs_hold_what_was_rolled_out(run):
    folder, data, _ = run
    expected = torch.zeros(2, 60)
    for row in groups(folder):
        expected[0, row["index"]] += row["successes"]
        expected[1, row["index"]] += row["rollouts"] - row["successes"]
    assert torch.equal(beliefs(data)[:2], expected + 1.0)


@pytest.mark.parametrize(("threshold", "counted"), [(1.0, 1), (0.5, 2), (0.1, 3), (0.0, 4)])
def test_a_reward_at_the_threshold_is_a_success(tiny, tmp_path, threshold, counted):
    graded = torch.tensor([1.0, 0.5, 0.1, 0.0]).expand(4, 4)
    module = tiny.Learner(spoil=lambda outputs: {**outputs, "rewards": graded})
    selection = PromptSelectionCallback(success_threshold=threshold)
    tiny.train(tmp_path, module=module, selection=selection, max_steps=1)
    assert {row["successes"] for row in groups(tmp_path)} == {counted}


def test_metrics_are_logged_by_their_names(run):
    assert set(metrics(run[0])[0]) >= LOGGED


@pytest.mark.parametrize("every", [1, 5, 7])
def test_metrics_are_logged_on_the_steps_that_the_trainer_records(tiny, tmp_path, every):
    data = tiny.data(validation=None)
    trainer = tiny.train(tmp_path, datamodule=data, max_epochs=2, log_every_n_steps=every)
    expected = list(range(every - 1, 2 * tiny.STEPS, every))
    assert column(tmp_path, "step") == expected
    assert column(tmp_path, "selection/rollouts_generated") == [
        32.0 * (step + 1) for step in expected
    ]
    assert trainer.callback_metrics["selection/rollouts_generated"] == 32.0 * (expected[-1] + 1)


def test_gradient_accumulation_does_not_hide_metrics(tiny, tmp_path):
    tiny.train(tmp_path, accumulate_grad_batches=3, max_epochs=1, log_every_n_steps=2)
    assert column(tmp_path, "selection/rollouts_generated") == [32.0 * 6, 32.0 * 12]


def test_selections_rest_on_the_latest_beliefs(run):
    assert set(column(run[0], "selection/staleness_max")) == {0.0}


def test_rollouts_add_up(run, tiny):
    steps = tiny.STEPS * tiny.EPOCHS
    assert column(run[0], "selection/rollouts_generated") == [32.0 * (i + 1) for i in range(steps)]


def test_predictions_are_those_before_the_visit(run):
    first = {}
    for row in groups(run[0]):
        if row["index"] in first:
            before = first[row["index"]]
            expected = (1 + before["successes"]) / (2 + before["rollouts"])
            assert row["predicted"] == pytest.approx(expected)
            return
        assert row["predicted"] == 0.5
        first[row["index"]] = row
    pytest.fail("no prompt was visited twice")


@given(st.lists(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=3, max_size=3), min_size=1))
def test_shares_of_groups_are_those_of_a_loop(rows):
    groups = [Group(0, tuple(row)) for row in rows]
    found = group_metrics(groups, 1.0, torch.full((len(rows),), 0.5), step=0)
    n = len(rows)
    assert found["frac_all_solved"] == pytest.approx(sum(r == [1.0] * 3 for r in rows) / n)
    assert found["frac_all_failed"] == pytest.approx(sum(1.0 not in r for r in rows) / n)
    assert found["frac_mixed"] == pytest.approx(
        1 - found["frac_all_solved"] - found["frac_all_failed"], abs=1e-6
    )
    assert found["frac_reward_zero_std"] == pytest.approx(sum(len(set(r)) == 1 for r in rows) / n)


class OutOfOrder(Selector):
    """Deals prompts in order and keeps no beliefs."""

    values = ("next",)

    def __init__(self, pool_size, *, seed=0):
        super().__init__(pool_size, seed=seed)
        self.next = 0
        self.seen = []

    def select(self, k, *, step, exclude):
        self.next += k
        return torch.arange(self.next - k, self.next) % 60

    def observe(self, indices, successes, rollouts, *, step):
        self.seen.append(indices.tolist())

    def metrics(self):
        return {"own": 1.0}


def test_a_selector_without_beliefs_works(tiny, tmp_path):
    selector = OutOfOrder(60)
    tiny.train(tmp_path, datamodule=tiny.data(selector), **ONE_EPOCH)
    assert selector.seen[1] == [4, 5, 6, 7]
    assert set(column(tmp_path, "selection/own")) == {1.0}
    assert all(row["predicted"] != row["predicted"] for row in groups(tmp_path))


def test_a_loader_that_runs_ahead_shows_as_lag(tiny, tmp_path):
    class Ahead(type(tiny.data())):
        def train_dataloader(self):
            return Prefetched(super().train_dataloader())

    class Prefetched:
        """Holds one batch back."""

        def __init__(self, loader):
            self.loader = loader

        def __len__(self):
            return len(self.loader) - 1

        def __iter__(self):
            batches = iter(self.loader)
            held = next(batches)
            for batch in batches:
                yield held
                held = batch

    data = Ahead(tiny.pool(), prompts_per_step=4, steps_per_epoch=6)
    tiny.train(tmp_path, datamodule=data, **ONE_EPOCH)
    assert column(tmp_path, "selection/staleness_max") == [0.0, 1.0, 1.0, 1.0, 1.0]


# Rehearsals


@pytest.mark.parametrize("rehearsal", [{"fast_dev_run": 2}, {"overfit_batches": 3}])
def test_rehearsals_teach_nothing(tiny, tmp_path, rehearsal):
    data, module = tiny.data(), tiny.Learner()
    before, state = beliefs(data), digest(data.selector.state_dict()["parts"])
    tiny.train(tmp_path, module=module, datamodule=data, max_epochs=2, **rehearsal)
    assert len(module.dealt) == (2 if "fast_dev_run" in rehearsal else 6)
    assert torch.equal(beliefs(data), before)
    assert digest(data.selector.state_dict()["parts"]) == state
    assert data.loop.step == 0
    assert not (tmp_path / "groups.parquet").exists()


def test_overfitting_sees_the_same_batches_every_epoch(tiny, tmp_path):
    module = tiny.Learner()
    tiny.train(tmp_path, module=module, overfit_batches=3, max_epochs=2)
    assert module.dealt[:3] == module.dealt[3:]


def test_validation_and_its_rehearsal_teach_nothing(tiny, tmp_path):
    data = tiny.data()
    trainer = tiny.train(tmp_path, datamodule=data, max_steps=0, num_sanity_val_steps=2)
    trainer.validate(tiny.Learner(), datamodule=data, verbose=False)
    assert torch.equal(beliefs(data)[2], torch.zeros(60))


# What a training step must return


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda o: o["loss"], r"'rewards'.*\(4, K\).*got the keys \['loss'\]"),
        (lambda o: {"loss": o["loss"], "reward": 1}, r"got the keys \['loss', 'reward'\]"),
        (lambda o: None, r"got the keys \[\]"),
        (lambda o: {**o, "rewards": [1.0]}, "'rewards', a list"),
        (lambda o: {**o, "rewards": o["rewards"][:3]}, r"of shape \(3, 8\)"),
        (lambda o: {**o, "rewards": o["rewards"].flatten()}, r"of shape \(32,\)"),
        (lambda o: {**o, "rewards": o["rewards"][:, :0]}, r"of shape \(4, 0\)"),
        (lambda o: {**o, "rewards": o["rewards"] + torch.inf}, r"rewards\[0, 0\], prompt 'p.*inf"),
    ],
)
def test_a_step_without_usable_rewards_is_refused(tiny, tmp_path, spoil, message):
    data = tiny.data()
    before = beliefs(data)
    with pytest.raises(ObservationError, match=message):
        tiny.train(tmp_path, module=tiny.Learner(spoil=spoil), datamodule=data)
    assert torch.equal(beliefs(data), before)


def test_another_data_module_is_refused(tiny, tmp_path):
    with pytest.raises(ArgumentError, match="PromptDataModule.*LightningDataModule"):
        tiny.train(tmp_path, datamodule=LightningDataModule())


def test_a_negative_interval_is_refused():
    with pytest.raises(
        ArgumentError, match="history_every: expected a whole number of at least 0, got -1"
    ):
        PromptSelectionCallback(history_every=-1)


# Checkpoints


def checkpoint(folder, step):
    (path,) = (folder / "checkpoints").glob(f"*step={step}.ckpt")
    return path


@pytest.mark.parametrize("selector", ["insight", "uniform"])
@pytest.mark.parametrize("step", [5, 10, 20, 35])
def test_a_resumed_run_is_the_uninterrupted_run(whole, tiny, tmp_path, selector, step):
    finished, through, learner = whole[selector]
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    module, data = tiny.Learner(), tiny.data(selector)
    trainer = tiny.train(folder, checkpoint(folder, step), module=module, datamodule=data)

    assert trainer.global_step == tiny.STEPS * tiny.EPOCHS
    assert module.dealt == learner.dealt[step:]
    assert torch.equal(beliefs(data), beliefs(through))
    assert torch.equal(module.skill, learner.skill)
    assert groups(folder) == groups(finished)
    for name in ("step", "selection/reward_mean", "selection/rollouts_generated", "val_accuracy"):
        assert column(folder, name) == column(finished, name)


def test_another_number_of_prompts_in_a_step_is_said_on_a_resume(run, tiny, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run[0], folder)
    data = tiny.data(prompts_per_step=5)
    with pytest.warns(UserWarning, match="prompts_per_step: 4 in the checkpoint, 5 from here on"):
        tiny.train(folder, checkpoint(folder, 5), module=tiny.Learner(), datamodule=data)


def test_a_finished_run_can_be_made_longer(run, tiny, tmp_path):
    tiny.train(tmp_path, max_epochs=2)
    module, data = tiny.Learner(), tiny.data()
    last = tmp_path / "checkpoints/last.ckpt"
    tiny.train(tmp_path, last, module=module, datamodule=data)
    assert torch.equal(beliefs(data), beliefs(run[1]))
    assert groups(tmp_path) == groups(run[0])


def test_a_second_fit_goes_on_where_the_first_stopped(tiny, tmp_path):
    data, selection = tiny.data(), PromptSelectionCallback()
    tiny.train(tmp_path / "a", datamodule=data, selection=selection, **ONE_EPOCH)
    tiny.train(tmp_path / "b", datamodule=data, selection=selection, **ONE_EPOCH)
    assert data.loop.step == 2 * tiny.STEPS
    assert {row["step"] for row in groups(tmp_path / "b")} == set(range(12, 24))


def test_a_checkpoint_is_plain_and_holds_the_beliefs_once(run):
    content = torch.load(checkpoint(run[0], 20), weights_only=True)
    found = []

    def look(value, where):
        if isinstance(value, dict):
            for key, inner in value.items():
                look(inner, f"{where}/{key}")
        elif isinstance(value, torch.Tensor) and value.shape == (60,):
            found.append(where)

    look(content, "")
    state = "/callbacks/PromptSelectionCallback/loop/parts/selector/parts/posterior/per_prompt/"
    assert {f"{state}alpha", f"{state}beta", f"{state}visits"} <= set(found)
    pool = "/callbacks/PromptSelectionCallback/loop/pool/"
    assert all(where.startswith((state, pool)) for where in found)
    assert content["callbacks"]["PromptSelectionCallback"]["loop"]["pool"]["fingerprint"] == (
        run[1].pool.fingerprint
    )


def test_a_checkpoint_of_another_pool_is_refused_before_anything_changes(run, tiny, tmp_path):
    data, module = tiny.data(), tiny.Learner()
    data.pool = PromptPool(Prompt(f"other {i}", f"{i}?", str(i)) for i in range(60))
    expected = r"another pool: expected some of its 60 prompts \('p0', .* the 60 given \('other 0'"
    before, skill = beliefs(data), module.skill.clone()
    with pytest.raises(CheckpointError, match=expected):
        tiny.train(tmp_path, checkpoint(run[0], 20), module=module, datamodule=data)
    assert torch.equal(beliefs(data), before)
    assert torch.equal(module.skill, skill)
    assert not list(tmp_path.iterdir())


def test_a_changed_pool_is_restored_by_id(run, tiny, tmp_path):
    saved = torch.load(checkpoint(run[0], 20), weights_only=True)
    saved = saved["callbacks"]["PromptSelectionCallback"]["loop"]["parts"]["selector"]
    saved = saved["parts"]["posterior"]["per_prompt"]
    prompts = list(tiny.pool())
    new = Prompt("new", "new?", "1")
    rewritten = Prompt("p7", "another text?", "7")
    pool = PromptPool([new, *reversed(prompts[2:7]), rewritten, *prompts[8:]])
    data = PromptDataModule(
        pool, "insight", {"decay": 1.0}, prompts_per_step=4, steps_per_epoch=tiny.STEPS
    )
    expected = (
        r"57 of 59 prompts kept in another order, 1 gained \('new'\), "
        r"2 lost \('p0', 'p1'\), 1 rewritten \('p7'\)"
    )
    restored = {}

    class Look(callbacks.Callback):
        def on_train_start(self, trainer, pl_module):
            restored.update(data.selector.posterior.state_dict()["per_prompt"])

    with pytest.warns(UserWarning, match=expected):
        tiny.train(
            tmp_path,
            checkpoint(run[0], 20),
            datamodule=data,
            callbacks=[PromptSelectionCallback(history_every=4), Look()],
        )
    for name in ("alpha", "beta", "visits", "latest"):
        for i, prompt in enumerate(pool):
            if prompt.id in ("new", "p7"):
                assert restored[name][i] == {"alpha": 1, "beta": 1}.get(name, 0)
            else:
                assert restored[name][i] == saved[name][int(prompt.id[1:])]
    assert data.loop.step == tiny.STEPS * tiny.EPOCHS


def test_a_checkpoint_saved_after_a_validation_holds_the_beliefs(tiny, tmp_path):
    module, data = tiny.Learner(), tiny.data()
    trainer = tiny.train(tmp_path, module=module, datamodule=data)
    trainer.validate(module, datamodule=data, verbose=False)
    trainer.save_checkpoint(tmp_path / "later.ckpt")
    saved = torch.load(tmp_path / "later.ckpt", weights_only=True)["callbacks"]
    saved = saved["PromptSelectionCallback"]["loop"]["parts"]["selector"]
    alpha = saved["parts"]["posterior"]["per_prompt"]["alpha"]
    assert torch.equal(alpha, data.selector.posterior.alpha)


def test_a_training_without_the_callback_is_warned_of(tiny, tmp_path):
    with pytest.warns(UserWarning, match="expected a PromptSelectionCallback .* found none"):
        tiny.train(tmp_path, callbacks=[], max_epochs=1, enable_checkpointing=False)


def test_a_failed_run_takes_its_hook_away(run, tiny, tmp_path):
    module = tiny.Learner(spoil=lambda outputs: {})
    with pytest.raises(Exception, match=r"."):
        tiny.train(tmp_path, module=module)
    assert "on_load_checkpoint" not in vars(module)


@pytest.mark.parametrize("copies", [1, 2, 4])
def test_processes_that_share_a_copy_of_the_model_are_refused(copies):
    strategy = SimpleNamespace(distributed_sampler_kwargs={"num_replicas": copies, "rank": 0})
    trainer = SimpleNamespace(world_size=4, strategy=strategy)
    if copies == 4:
        check_one_copy_each(trainer)
        return
    with pytest.raises(ArgumentError, match=f"each of 4 processes, got .* {copies} copies"):
        check_one_copy_each(trainer)


def test_the_module_keeps_its_own_hook(run, tiny, tmp_path):
    class Listening(tiny.Learner):
        heard = 0

        def on_load_checkpoint(self, checkpoint):
            self.heard += 1

    module = Listening()
    tiny.train(tmp_path, checkpoint(run[0], 20), module=module)
    assert module.heard == 1
    assert "on_load_checkpoint" not in vars(module)


def test_a_checkpoint_of_another_strategy_is_refused_before_anything_changes(run, tiny, tmp_path):
    data, module = tiny.data(Uniform(60)), tiny.Learner()
    before, skill = beliefs(data), module.skill.clone()
    with pytest.raises(CheckpointError, match=r"queue|Uniform"):
        tiny.train(tmp_path, checkpoint(run[0], 20), module=module, datamodule=data)
    assert torch.equal(beliefs(data), before)
    assert torch.equal(module.skill, skill)


def test_a_checkpoint_without_beliefs_is_refused(tiny, tmp_path):
    trainer = Trainer(default_root_dir=tmp_path, logger=False, max_steps=1)
    trainer.fit(tiny.Learner(), datamodule=tiny.data())
    trainer.save_checkpoint(tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match="holds no beliefs"):
        tiny.train(tmp_path, tmp_path / "other.ckpt")


def test_another_format_is_refused(run, tiny, tmp_path):
    content = torch.load(checkpoint(run[0], 20), weights_only=True)
    content["callbacks"]["PromptSelectionCallback"]["loop"]["format"] = 99
    torch.save(content, tmp_path / "future.ckpt")
    with pytest.raises(CheckpointError, match="format 99: expected 8"):
        tiny.train(tmp_path, tmp_path / "future.ckpt")


def test_validating_a_checkpoint_leaves_the_beliefs_alone(run, tiny, tmp_path):
    data = tiny.data()
    trainer = Trainer(logger=False, callbacks=[PromptSelectionCallback()])
    trainer.validate(tiny.Learner(), data, ckpt_path=checkpoint(run[0], 20), verbose=False)
    assert torch.equal(beliefs(data)[2], torch.zeros(60))
