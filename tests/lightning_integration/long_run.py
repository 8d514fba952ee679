"""A long training of next to nothing, as a program: prints what it holds in memory as it goes."""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path

import torch

from insight_ext import GroupResult, Prompt, PromptPool
from lightning_integration import PromptDataModule, PromptSelectionCallback
from lightning_integration.checkpoint import LastCheckpoint
from lightning_integration.metrics_file import MetricsFile
from lightning_integration.trainer import LightningModule, Trainer, callbacks

POOL, PROMPTS, ROLLOUTS = 3_000, 8, 8
EPOCH, LOG_EVERY = 500, 50  # steps


class Learner(LightningModule):
    """One weight; every result comes with its step, or up to 5 steps later, or never."""

    def __init__(self, late):
        super().__init__()
        self.skill = torch.nn.Parameter(torch.tensor(0.0))
        self.late = late
        self.queue = []

    def training_step(self, batch, batch_idx):
        step = batch["step"]
        chance = torch.sigmoid(self.skill + 2 - batch["indices"] / 500)
        generator = torch.Generator().manual_seed(step)
        draws = torch.rand(len(chance), ROLLOUTS + 1, generator=generator)
        rewards = (draws[:, 1:] < chance[:, None]).float()
        loss = {"loss": -0.01 * chance.mean()}
        if not self.late:
            return loss | {"rewards": rewards}
        groups = zip(batch["groups"].tolist(), rewards.tolist(), draws[:, 0].tolist(), strict=True)
        for group, values, fate in groups:
            if fate < 0.9:  # the others are dropped
                self.queue.append((step + int(fate * 7), GroupResult(group, values)))
        results = [result for due, result in self.queue if due <= step]
        self.queue = [entry for entry in self.queue if entry[0] > step]
        return loss | {"results": results}

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Measure(callbacks.Callback):
    """Prints every 100 steps what the process holds in memory, and how much is out.

    The collector counts the containers made since the training began; without the others it is
    fast.
    """

    def on_train_start(self, trainer, pl_module):
        gc.freeze()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        step = batch["step"] + 1
        if step % 100:
            return
        gc.collect()
        resident = int(Path("/proc/self/statm").read_text().split()[1])
        loop = trainer.datamodule.loop
        row = {
            "step": step,
            "resident_bytes": resident * os.sysconf("SC_PAGE_SIZE"),
            "in_flight": len(loop._flights.prompts),
            "objects": len(gc.get_objects()),
            "selection/groups_out": len(loop._flights),
        }
        print(json.dumps(row), flush=True)


def main(folder, steps, max_staleness):
    folder = Path(folder)
    pool = PromptPool(Prompt(f"p{i}", f"{i}?", str(i)) for i in range(POOL))
    data = PromptDataModule(
        pool, prompts_per_step=PROMPTS, steps_per_epoch=EPOCH, max_staleness=max_staleness
    )
    trainer = Trainer(
        default_root_dir=folder,
        max_steps=steps,
        max_epochs=-1,
        logger=[MetricsFile(folder)],
        log_every_n_steps=LOG_EVERY,
        callbacks=[PromptSelectionCallback(), LastCheckpoint(folder / "last.ckpt"), Measure()],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Learner(late=max_staleness > 0), datamodule=data)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
