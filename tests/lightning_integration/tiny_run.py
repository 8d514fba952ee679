"""A training run small enough to repeat, kill and resume; also a program, see the end."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from insight_ext import Prompt, PromptPool
from lightning_integration import PromptDataModule, PromptSelectionCallback
from lightning_integration.checkpoint import LastCheckpoint
from lightning_integration.metrics_file import MetricsFile
from lightning_integration.trainer import LightningModule, Trainer, callbacks

STEPS = 12
EPOCHS = 3


def pool(size=60):
    return PromptPool(Prompt(f"p{i}", f"{i}?", str(i)) for i in range(size))


class Learner(LightningModule):
    """Answers prompt i with a chance that falls with i and rises with its one weight.

    What comes out depends on weight, prompt and step alone, as with an engine that is seeded anew
    for each step.
    """

    def __init__(self, rollouts=8, spoil=None):
        super().__init__()
        self.skill = torch.nn.Parameter(torch.tensor(1.0))
        self.rollouts = rollouts
        self.spoil = spoil or (lambda outputs: outputs)
        self.dealt = []

    def training_step(self, batch, batch_idx):
        self.dealt.append(batch["indices"].tolist())
        chance = torch.sigmoid(self.skill - batch["indices"] / 20)
        generator = torch.Generator().manual_seed(batch["step"])
        draws = torch.rand(len(chance), self.rollouts, generator=generator)
        rewards = (draws < chance[:, None]).float()
        return self.spoil({"loss": -chance.mean(), "rewards": rewards})

    def validation_step(self, batch, batch_idx):
        self.log("val_accuracy", self.skill, batch_size=len(batch["prompts"]))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.5, momentum=0.9)


class Announce(callbacks.Callback):
    """Tells whoever reads along how far the run is, and what it dealt."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        print(batch["step"], *batch["indices"].tolist(), flush=True)


def data(selector="insight", **options):
    options = {"prompts_per_step": 4, "steps_per_epoch": STEPS, "validation": pool(10)} | options
    if isinstance(selector, str):
        features = {"features": "ngrams:4"} if selector == "gps" else {}
        options["selector_options"] = {"decay": 1.0, **features}
    return PromptDataModule(pool(), selector, **options)


def train(folder, ckpt_path=None, *, module=None, datamodule=None, selection=None, **options):
    """Train; a checkpoint every 5 steps in `folder/checkpoints`. Returns the trainer."""
    folder = Path(folder)
    saved = callbacks.ModelCheckpoint(
        dirpath=folder / "checkpoints", every_n_train_steps=5, save_top_k=-1, save_last=True
    )
    options = {
        "max_epochs": EPOCHS,
        "logger": [MetricsFile(folder)],
        "log_every_n_steps": 1,
        "callbacks": [selection or PromptSelectionCallback(history_every=4), saved],
        "enable_progress_bar": False,
        "enable_model_summary": False,
    } | options
    trainer = Trainer(default_root_dir=folder, **options)
    trainer.fit(module or Learner(), datamodule=datamodule or data(), ckpt_path=ckpt_path)
    return trainer


def main(folder, selector="insight", epochs=EPOCHS):
    """Train, or go on from the folder's last checkpoint; tell every step."""
    last = Path(folder) / "last.ckpt"
    selection = PromptSelectionCallback(history_every=4)
    train(
        folder,
        last if last.exists() else None,
        datamodule=data(selector),
        callbacks=[selection, LastCheckpoint(last, every=5), Announce()],
        max_epochs=epochs,
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
