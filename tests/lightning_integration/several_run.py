"""A program: trains on several processes, FOLDER and a JSON object of options; leaves rankN.pt."""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from pathlib import Path

import torch
from pytorch_lightning.strategies import ModelParallelStrategy
from torch.distributed.fsdp import fully_shard

from insight_ext import Prompt, PromptPool
from lightning_integration import GRPOModule, PromptDataModule, PromptSelectionCallback
from lightning_integration.checkpoint import LastCheckpoint
from lightning_integration.demo.model import make_model, make_tokenizer
from lightning_integration.metrics_file import MetricsFile
from lightning_integration.rollouts import Sampling, TransformersEngine
from lightning_integration.rollouts.engine import joined
from lightning_integration.trainer import LightningModule, Trainer

SEED = 7


def pool(size=60):
    return PromptPool(
        Prompt(str(i), f"{i}+{i % 7}=", str(i + i % 7), {"kind": f"ends in {i % 3}"})
        for i in range(size)
    )


class Learner(LightningModule):
    """Its answers depend on prompt and step alone, not on the process or the batch."""

    def __init__(self, fail_on=None, killed_on=None):
        super().__init__()
        self.skill = torch.nn.Parameter(torch.tensor(1.0))
        self.fail_on = fail_on  # [rank, step] that reports NaN
        self.killed_on = killed_on  # [rank, step] that does not come back
        self.dealt = []

    def training_step(self, batch, batch_idx):
        self.dealt.append(batch["indices"].tolist())
        step = batch["step"]
        rewards = torch.stack([answers(i, step) for i in batch["indices"].tolist()])
        if self.killed_on == [self.global_rank, step]:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fail_on == [self.global_rank, step]:
            rewards[0, 0] = torch.nan
        print("step", step, flush=True)
        return {"loss": -self.skill * rewards.mean(), "rewards": rewards}

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.5, momentum=0.9)


class ShardedLearner(Learner):
    """Its weights are split among the processes (FSDP2)."""

    def __init__(self, **options):
        super().__init__(**options)
        del self.skill
        self.skills = torch.nn.Linear(4, 4)

    def configure_model(self):
        fully_shard(self.skills, mesh=self.device_mesh["data_parallel"])

    @property
    def skill(self):
        return self.skills(torch.ones(1, 4)).mean()


def answers(index, step, rollouts=8):
    generator = torch.Generator().manual_seed(1009 * step + index)
    return (torch.rand(rollouts, generator=generator) < 1 - index / 60).float()


class PromptByPrompt:
    """The real engine, asked for each prompt alone, with random numbers of the prompt and step."""

    def __init__(self, engine):
        self.engine = engine
        self.step = 0

    def generate(self, prompts, n, sampling):
        seeds = [sum(map(ord, prompt)) + 1000 * self.step for prompt in prompts]
        return joined(
            [
                self.engine.generate([prompt], n, Sampling(sampling.max_new_tokens, seed=seed))
                for prompt, seed in zip(prompts, seeds, strict=True)
            ]
        )

    def sync(self, model):
        self.step += 1


def grpo(prompt_by_prompt=True, **options):
    torch.manual_seed(SEED)
    tokenizer = make_tokenizer("0123456789+=")
    model = make_model(tokenizer, layers=1)
    engine = TransformersEngine(model, tokenizer)
    return GRPOModule(
        model,
        tokenizer,
        engine=PromptByPrompt(engine) if prompt_by_prompt else engine,
        reward=lambda prompt, text: float(len(text) % 2),
        max_new_tokens=4,
        learning_rate=1e-3,
        groups_per_pass=2,
        seed=SEED,
        **options,
    )


MODULES = {"learner": Learner, "sharded": ShardedLearner, "grpo": grpo}
STRATEGIES = {
    "auto": lambda: "auto",
    "ddp": lambda: "ddp",
    "fsdp2": lambda: ModelParallelStrategy(
        data_parallel_size=2, tensor_parallel_size=1, save_distributed_checkpoint=False
    ),
    "fsdp2 folder": lambda: ModelParallelStrategy(data_parallel_size=2, tensor_parallel_size=1),
}


def main(
    folder, *, devices=1, module=None, strategy=None, sizes=(60,), ckpt_path=None, every=5, **data
):
    """Train and leave what each process has at the end; `sizes` of the pool, by process."""
    warnings.filterwarnings("ignore")
    rank = int(os.environ.get("LOCAL_RANK", 0))
    module = Learner() if module is None else MODULES[module.pop("kind")](**module)
    options = {"prompts_per_step": 6, "steps_per_epoch": 12} | data
    validation = {"validation": pool(7), "validation_batch_size": 3}
    if isinstance(module, GRPOModule):
        options |= validation
    datamodule = PromptDataModule(pool(sizes[rank % len(sizes)]), **options)
    trainer = Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        devices=devices,
        strategy=STRATEGIES[strategy or ("ddp" if devices > 1 else "auto")](),
        max_epochs=1,
        logger=[MetricsFile(folder)],
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[
            PromptSelectionCallback(history_every=4),
            LastCheckpoint(folder / "last.ckpt", every),
        ],
    )
    trainer.fit(module, datamodule=datamodule, ckpt_path=ckpt_path)
    state = {
        "dealt": getattr(module, "dealt", None),
        "selector": datamodule.selector.state_dict(),
        "parameters": [full(parameter.detach()) for parameter in module.parameters()],
    }
    torch.save(state, folder / f"rank{trainer.global_rank}.pt")


def full(parameter):
    """All of a parameter that may be split among the processes."""
    return parameter.full_tensor() if hasattr(parameter, "full_tensor") else parameter


if __name__ == "__main__":
    main(Path(sys.argv[1]), **json.loads(sys.argv[2]))
