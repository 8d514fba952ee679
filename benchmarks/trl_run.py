"""One run of a real TRL trainer on a small task; a program for `bench_trl` and `tests/trl`.

    python -m benchmarks.trl_run FOLDER --steps 40 --save-steps 20

A Llama of about 15,000 parameters, made here, answers 200 prompts. Of these 40 % count as solved
whatever the answer is, 40 % never, and 20 % by the answer with a chance of one half. Each step adds
a line to FOLDER/trace-RANK.jsonl: what was chosen, what came of it, the digest of the beliefs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, TrainerCallback
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from insight_ext.adapters.trl import select_prompts
from insight_ext.distributed.ranks import digest

PROMPTS = 200
CHANCES = (0.0, 0.0, 0.5, 1.0, 1.0)


def tiny_model() -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """A language model with a tokenizer that knows single characters."""
    words = ["<pad>", "</s>", *"0123456789+= "]
    model = models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="<pad>")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", padding_side="left"
    )
    return LlamaForCausalLM(config), fast


def tiny_dataset(prompts: int = PROMPTS) -> Dataset:
    """Sums, each with the chance that an answer to it counts as correct."""
    return Dataset.from_list(
        [
            {"prompt": f"{at}+{at}=", "chance": CHANCES[at % len(CHANCES)]}
            for at in range(prompts)
        ]
    )


def correct(completion_ids: list[list[int]], chance: list[float], **_: Any) -> list[float]:
    """1 for a share `chance` of all possible answers, by a hash of the answer."""
    hashed = [hashlib.sha256(bytes(ids)).digest()[0] / 256 for ids in completion_ids]
    return [float(value < share) for value, share in zip(hashed, chance, strict=True)]


def make_trainer(
    folder: str | Path,
    kind: str = "grpo",
    *,
    reward_funcs: Any = correct,
    dataset: Any = None,
    base: Any = None,
    config: Any = None,
    more: dict[str, Any] | None = None,
    **settings: Any,
) -> Any:
    """A real trainer, 8 prompts x 8 completions a generation, that logs every step.

    Args:
        folder: `output_dir`.
        kind: "grpo" or "rloo".
        reward_funcs, dataset: as the trainer takes them; the task of this module.
        base, config: classes to make instead of TRL's own.
        more: further arguments of the trainer.
        settings: of its config.
    """
    trainers = {"grpo": (GRPOTrainer, GRPOConfig), "rloo": (RLOOTrainer, RLOOConfig)}
    own, own_config = trainers[kind]
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    args = (config or own_config)(
        **{
            "output_dir": str(folder),
            "per_device_train_batch_size": 64 // processes,
            "num_generations": 8,
            "max_completion_length": 4,
            "max_steps": 4,
            "beta": 0.0,
            "learning_rate": 1e-3,
            "logging_steps": 1,
            "save_strategy": "no",
            "report_to": [],
            "use_cpu": True,
            "bf16": False,
            "disable_tqdm": True,
            "ddp_backend": "gloo" if processes > 1 else None,
            **settings,
        }
    )
    model, tokenizer = tiny_model()
    return (base or own)(
        model,
        reward_funcs=reward_funcs,
        args=args,
        train_dataset=tiny_dataset() if dataset is None else dataset,
        processing_class=tokenizer,
        **(more or {}),
    )


class Trace(TrainerCallback):
    """Writes a line a step, and ends the process at `kill_at` as a power cut would."""

    def __init__(self, trainer: Any, loop: Any, folder: Path, kill_at: int | None) -> None:
        self.trainer, self.loop, self.kill_at = trainer, loop, kill_at
        self.path = folder / f"trace-{trainer.args.process_index}.jsonl"
        self.chosen: list[int] = []
        if loop is not None:
            deal = loop.deal

            def noted(*args: Any, **kwargs: Any) -> Any:
                dealt = deal(*args, **kwargs)
                self.chosen += [each.index for each in dealt]
                return dealt

            loop.deal = noted

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if "loss" not in logs:
            return
        line = {
            "step": state.global_step,
            "chosen": self.chosen,
            "loss": logs["loss"],
            "reward": logs["reward"],
            "mixed": 1 - logs["frac_reward_zero_std"],
            "beliefs": self.loop and digest(self.loop.selector.state_dict()),
        }
        self.chosen = []
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kind", choices=("grpo", "rloo"), default="grpo")
    parser.add_argument("--selector", default="insight", help="'none': TRL's own order")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--save-steps", type=int)
    parser.add_argument("--kill-at", type=int)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--settings", type=json.loads, default={}, help="more of the config, JSON")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    saving = {"save_strategy": "steps", "save_steps": given.save_steps}
    trainer = make_trainer(
        given.folder,
        given.kind,
        max_steps=given.steps,
        seed=given.seed,
        **(saving if given.save_steps else {}),
        **given.settings,
    )
    loop = None
    if given.selector != "none":
        loop = select_prompts(trainer, given.selector)
    trainer.add_callback(Trace(trainer, loop, given.folder, given.kill_at))
    trainer.train(resume_from_checkpoint=given.resume or None)


if __name__ == "__main__":
    main()
