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
import math
import os
import signal
import subprocess
import sys
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
        [{"prompt": f"{at}+{at}=", "chance": CHANCES[at % len(CHANCES)]} for at in range(prompts)]
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


class Watched:
    """A loop's choices, the results that it is told, and how far each choice lags behind.

    Attributes:
        chosen: the prompts of each generation.
        told: (group, rewards, number of the first in the group) of each report.
        lags: for each generation, those dealt before it whose results were not in the beliefs yet.
    """

    def __init__(self, loop: Any) -> None:
        self.loop = loop
        self.chosen: list[list[int]] = []
        self.told: list[tuple[int, list[Any], int]] = []
        self.lags: list[int] = []
        deal, report_all, end_step = loop.deal, loop.report_all, loop.end_step
        ended = 0  # generations

        def noted_deal(k: int, **more: Any) -> Any:
            self.lags.append(len(self.chosen) - ended)
            dealt = deal(k, **more)
            self.chosen.append([each.position for each in dealt])
            return dealt

        def noted_report_all(results: Any) -> Any:
            self.told += [(each.group, list(each.rewards), each.first) for each in results]
            return report_all(results)

        def noted_end_step(*args: Any, **more: Any) -> Any:
            nonlocal ended
            ended = len(self.chosen)
            return end_step(*args, **more)

        loop.deal, loop.report_all, loop.end_step = noted_deal, noted_report_all, noted_end_step


class Trace(TrainerCallback):
    """Writes a line a step, and ends the process at `kill_at` as a power cut would."""

    def __init__(
        self, trainer: Any, watched: Watched | None, folder: Path, kill_at: int | None
    ) -> None:
        self.watched, self.kill_at = watched, kill_at
        self.path = folder / f"trace-{trainer.args.process_index}.jsonl"
        self.written = 0  # generations

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if "loss" not in logs:
            return
        line = {
            "step": state.global_step,
            "loss": logs["loss"],
            "reward": logs.get("reward"),  # absent where rollouts are trained on again
            "mixed": 1 - logs.get("frac_reward_zero_std", math.nan),
        }
        if self.watched is not None:
            line["chosen"] = self.watched.chosen[self.written :]
            line["lags"] = self.watched.lags[self.written :]
            line["beliefs"] = digest(self.watched.loop.selector.state_dict())
            self.written = len(self.watched.chosen)
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


def run_apart(
    folder: Path, *options: str, processes: int = 1
) -> tuple[subprocess.CompletedProcess[str], list[list[dict[str, Any]]]]:
    """This program in processes of its own: how it ended, and the trace that each of them left."""
    for old in folder.glob("trace-*.jsonl"):
        old.unlink()
    program = [sys.executable, "-m"]
    if processes > 1:
        program += ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        program += ["-m"]
    ended = subprocess.run(
        [*program, "benchmarks.trl_run", str(folder), *options],
        cwd=Path(__file__).parent.parent,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    traces = [
        [json.loads(line) for line in path.read_text().splitlines()]
        for path in sorted(folder.glob("trace-*.jsonl"))
    ]
    return ended, traces


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
    watched = None
    if given.selector != "none":
        watched = Watched(select_prompts(trainer, given.selector))
    trainer.add_callback(Trace(trainer, watched, given.folder, given.kill_at))
    trainer.train(resume_from_checkpoint=given.resume or None)
    # Gloo's threads must end before the process does, and no process before the others are done.
    trainer.accelerator.wait_for_everyone()
    trainer.accelerator.end_training()


if __name__ == "__main__":
    main()
