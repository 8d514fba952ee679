"""Prompt selection for a LightningModule of your own. Run it: python examples/own_module.py"""

import torch
from pytorch_lightning import LightningModule, Trainer

from insight_ext import Prompt, PromptPool
from lightning_integration import PromptDataModule, PromptSelectionCallback


class Policy(LightningModule):
    """Stands for a language model: prompt i is the harder the larger i is."""

    def __init__(self):
        super().__init__()
        self.skill = torch.nn.Parameter(torch.tensor(0.0))

    def training_step(self, batch, batch_idx):
        chance = torch.sigmoid(self.skill - batch["indices"] / 100).unsqueeze(1).expand(-1, 8)
        rewards = torch.bernoulli(chance.detach())  # 8 rollouts of each prompt
        advantages = rewards - rewards.mean(dim=1, keepdim=True)
        logprobs = torch.where(rewards == 1, chance, 1 - chance).log()
        return {"loss": -(advantages * logprobs).mean(), "rewards": rewards}

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.05)


pool = PromptPool(Prompt(f"sum-{i}", f"{i}+{i}=", str(2 * i)) for i in range(1000))
data = PromptDataModule(pool, "insight", prompts_per_step=16, steps_per_epoch=200)
selection = PromptSelectionCallback(success_threshold=1.0)
trainer = Trainer(max_epochs=1, callbacks=[selection], accelerator="cpu", log_every_n_steps=10)
trainer.fit(Policy(), datamodule=data)

visits = data.selector.posterior.visits
print(f"{int((visits > 0).sum())} of {len(pool)} prompts were visited")
mixed = trainer.callback_metrics["selection/frac_mixed"]
print(f"share of mixed groups in the last step: {mixed:.2f}")
