from __future__ import annotations

import resource
from types import SimpleNamespace

import pytest
import torch

from insight_ext import ArgumentError, CheckpointError
from insight_ext.cli.main import main
from insight_ext.loop.checkpoint import read_checkpoint
from lightning_integration import PromptSelectionCallback
from lightning_integration.checkpoint import LastCheckpoint
from lightning_integration.trainer import callbacks

pytestmark = pytest.mark.filterwarnings("ignore:.*treespec")


class StopAt(callbacks.Callback):
    """Ends a run from within, as a failing step would."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch["step"] == self.step:
            raise InterruptedError


@pytest.fixture(scope="module")
def folder(tiny, tmp_path_factory):
    """The folder of a run of two epochs."""
    folder = tmp_path_factory.mktemp("run")
    keep = [PromptSelectionCallback(), LastCheckpoint(folder / "last.ckpt", every=5)]
    tiny.train(folder, max_epochs=2, callbacks=keep)
    return folder


@pytest.mark.parametrize(("stopped", "saved"), [(14, 12), (17, 17), (19, 17), (24, 24)])
def test_the_last_state_is_resumed(tiny, tmp_path, stopped, saved):
    keep = [PromptSelectionCallback(), LastCheckpoint(tmp_path / "last.ckpt", every=5)]
    with pytest.raises(InterruptedError):
        tiny.train(tmp_path, callbacks=[*keep, StopAt(stopped)])
    module, data = tiny.Learner(), tiny.data()
    tiny.train(tmp_path, tmp_path / "last.ckpt", module=module, datamodule=data)
    whole = tiny.Learner()
    tiny.train(tmp_path / "whole", module=whole)
    assert module.dealt == whole.dealt[saved:]
    assert torch.equal(module.skill, whole.skill)


class FullDisk(callbacks.Callback):
    """From a step on, files of this process may not grow beyond a few hundred bytes."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch["step"] == self.step:
            resource.setrlimit(resource.RLIMIT_FSIZE, (512, resource.RLIM_INFINITY))


@pytest.mark.parametrize(("step", "kept"), [(8, "is whole"), (2, "none yet")])
def test_a_full_disk_leaves_the_checkpoint_before_it(tiny, tmp_path, step, kept):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    last = LastCheckpoint(tmp_path / "last.ckpt", every=5)
    keep = [PromptSelectionCallback(history_every=0), last]
    try:
        with pytest.raises(CheckpointError, match=rf"last\.ckpt: cannot write .*{kept}.*make room"):
            tiny.train(tmp_path, logger=False, callbacks=[*keep, FullDisk(step)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    left = [path.name for path in tmp_path.iterdir() if path.is_file()]
    assert left == (["last.ckpt"] if kept == "is whole" else [])
    if left:
        module, whole = tiny.Learner(), tiny.Learner()
        tiny.train(tmp_path, tmp_path / "last.ckpt", module=module)
        tiny.train(tmp_path / "whole", module=whole)
        assert module.dealt == whole.dealt[5:]


def test_there_is_one_file(folder):
    assert sorted(p.name for p in folder.glob("**/*.ckpt")) == ["last.ckpt"]


def test_a_rehearsal_saves_nothing(tiny, tmp_path):
    keep = [PromptSelectionCallback(), LastCheckpoint(tmp_path / "last.ckpt", every=1)]
    tiny.train(tmp_path, fast_dev_run=2, callbacks=keep)
    assert not (tmp_path / "last.ckpt").exists()


def test_an_interval_below_one_is_refused(tmp_path):
    with pytest.raises(ArgumentError, match="at least 1, got 0"):
        LastCheckpoint(tmp_path / "last.ckpt", every=0)


def test_a_checkpoint_tells_what_is_known_about_the_pool(folder, capsys):
    assert read_checkpoint(folder / "last.ckpt")["global_step"] == 24
    assert main(["inspect", str(folder / "last.ckpt")]) == 0
    said = capsys.readouterr().out
    assert "InSight, seed 0" in said
    assert "steps       24" in said
    assert "of 60 prompts visited" in said


def test_ctrl_c_says_what_is_kept(tmp_path, capsys):
    steps = SimpleNamespace(total=SimpleNamespace(completed=7))
    fit_loop = SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=steps))
    trainer = SimpleNamespace(is_global_zero=True, fit_loop=fit_loop)
    saving = LastCheckpoint(tmp_path / "last.ckpt")
    saving.on_exception(trainer, None, KeyboardInterrupt())
    assert "stopped after 7 steps; no checkpoint was written yet" in capsys.readouterr().err
    saving.path.touch()
    saving.on_exception(trainer, None, KeyboardInterrupt())
    assert "is kept; resume with --ckpt_path last" in capsys.readouterr().err
