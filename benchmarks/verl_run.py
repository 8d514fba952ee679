"""One run of verl's own trainer on a small task; a program for `bench_verl` and `tests/verl`.

    python -m benchmarks.verl_run FOLDER --steps 40 --save-steps 20

Real are verl's configuration, fit loop, checkpoints, loader, data set and replay buffer, and
TransferQueue on Ray. Engine and optimiser need a GPU, so a stand-in writes the answers' rewards
into TransferQueue, and a step ends when its batch is sampled. Of 200 prompts 40 % count as solved
whatever the answer is, 40 % never, and 20 % with a chance of one half. Each step adds a line to
FOLDER/trace.jsonl: what was chosen, what came of it, the digest of the beliefs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
from collections import Counter, deque
from pathlib import Path
from typing import Any

import ray
import torch
import transfer_queue as tq
import verl.trainer
from datasets import Dataset
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from tensordict import NonTensorData
from verl.trainer.ppo.v1 import get_trainer_cls
from verl.utils.tensordict_utils import list_of_dict_to_tensordict

from insight_ext.adapters.verl import COLUMN
from insight_ext.distributed.ranks import digest

PROMPTS, BATCH, ROLLOUTS = 200, 8, 8
CHANCES = (0.0, 0.0, 0.5, 1.0, 1.0)
MODULE = "pkg://insight_ext.adapters.verl"
SELECTION = [
    f"data.custom_cls.path={MODULE}",
    "data.custom_cls.name=SelectingDataset",
    f"trainer.v1.sampler.custom_sampler.path={MODULE}",
    "trainer.v1.sampler.custom_sampler.name=replay_buffer",
    "data.dataloader_num_workers=0",
]


def tiny_files(folder: Path, prompts: int = PROMPTS) -> tuple[Path, Path]:
    """Rows as verl's own preprocessing makes them, each with its chance; and the validation's."""
    rows = [
        {
            "prompt": [{"role": "user", "content": f"{at}+{at}="}],
            "data_source": "sums",
            "reward_model": {"style": "rule", "ground_truth": str(2 * at)},
            "chance": CHANCES[at % len(CHANCES)],
            "task": f"task-{at}",
        }
        for at in range(prompts)
    ]
    paths = folder / "train.parquet", folder / "val.parquet"
    for path, part in zip(paths, (rows, rows[:4]), strict=True):
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            Dataset.from_list(part).to_parquet(path)
    return paths


def config_of(folder: Path, *overrides: str, mode: str = "sync", prompts: int = PROMPTS) -> Any:
    """verl's own configuration, with what a command line would say of this task."""
    train, val = tiny_files(folder, prompts)
    with initialize_config_dir(
        str(Path(verl.trainer.__file__).parent / "config"), version_base=None, job_name="run"
    ):
        config = compose(
            "ppo_trainer",
            [
                *(f"data.train_files={train}", f"data.val_files={val}"),
                *(f"data.train_batch_size={BATCH}", "data.dataloader_num_workers=0"),
                *(f"actor_rollout_ref.rollout.n={ROLLOUTS}", f"trainer.v1.trainer_mode={mode}"),
                *("trainer.val_before_train=False", "trainer.test_freq=-1", "trainer.save_freq=-1"),
                *("trainer.logger=[]", "trainer.total_epochs=1000", "data.seed=0"),
                *(f"trainer.default_local_dir={folder}", "algorithm.adv_estimator=grpo"),
                "transfer_queue.backend.SimpleStorage.num_data_storage_units=1",
                *overrides,
            ],
        )
    OmegaConf.resolve(config)
    return config


class Engine:
    """Stands for the agent loops: prompts wait in a line, and are answered as they are needed."""

    def __init__(self) -> None:
        self.waiting: deque[dict[str, Any]] = deque()
        self.sampling = False
        self.answered: list[tuple[str, list[float]]] = []  # (task, rewards), since the latest step

    def generate_sequences(self, batch: Any) -> None:
        """What the trainer calls with prompts; without waiting for the answers."""
        for at in range(len(batch)):
            row = {}
            for name, values in batch.items():
                value = values.data if isinstance(values, NonTensorData) else values[at]
                row[name] = (
                    value if isinstance(value, torch.Tensor) else getattr(value, "data", value)
                )
            self.waiting.append(row)
        if self.sampling:  # in the place of groups that a filter dropped
            self.answer(len(batch))

    def answer(self, prompts: int) -> None:
        """Roll out those that wait longest."""
        for row in [self.waiting.popleft() for _ in range(min(prompts, len(self.waiting)))]:
            uid = row["uid"]
            of = f"{row['task']} {row.get(COLUMN, row['global_steps'])}"
            hashed = [hashlib.sha256(f"{of} {at}".encode()).digest()[0] for at in range(ROLLOUTS)]
            rewards = [float(value / 256 < row["chance"]) for value in hashed]
            fields = [
                {
                    **row,
                    "session_id": at,
                    "rm_scores": torch.tensor([0.0, reward]),
                    "extra_fields": {"reward_extra_info": {"acc": reward}},
                }
                for at, reward in enumerate(rewards)
            ]
            tq.kv_batch_put(
                keys=[f"{uid}_{at}_0" for at in range(ROLLOUTS)],
                partition_id="train",
                fields=list_of_dict_to_tensordict(fields),
                tags=[{"status": "success", "global_steps": row["global_steps"]}] * ROLLOUTS,
            )
            tq.kv_put(key=uid, partition_id="train", tag={"status": "finished"})
            self.answered.append((row["task"], rewards))


class Nothing:
    """Stands for the workers with the model."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: None


class Watched:
    """A loop's choices, step by step, and how far each lags behind.

    Attributes:
        chosen: the prompts' ids of each step.
        lags: for each choice, groups of earlier steps whose results were not in the beliefs yet.
    """

    def __init__(self, loop: Any) -> None:
        self.chosen: list[list[str]] = [[]]
        self.lags: list[int] = []
        deal, end_step = loop.deal, loop.end_step

        def noted_deal(k: int, **more: Any) -> Any:
            self.lags.append(len(loop.in_flight) - len(self.chosen[-1]))
            dealt = deal(k, **more)
            self.chosen[-1] += [each.prompt.id for each in dealt]
            return dealt

        def noted_end_step(*args: Any, **more: Any) -> Any:
            self.chosen.append([])
            return end_step(*args, **more)

        loop.deal, loop.end_step = noted_deal, noted_end_step


def small(mode: str, trace: Path, kill_at: int | None) -> Any:
    """verl's trainer of this mode, without workers."""

    class Trainer(get_trainer_cls(mode)):  # type: ignore[misc]
        def _setup(self) -> None:
            self.tokenizer = self.processor = None
            self.actor_rollout_wg = self.checkpoint_manager = Nothing()
            self.use_critic = False
            self._init_dataloader()
            self._init_dump_executor()
            self._load_checkpoint()
            loop = getattr(self.train_dataset, "loop", None)
            self.watched = None if loop is None else Watched(loop)

        def on_step_begin(self) -> None:
            if self.global_steps == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

        def on_sample_begin(self) -> None:
            self.agent_loop_manager.sampling = True
            self.agent_loop_manager.answer(BATCH)

        def _step_once(self, metrics: Any, timing_raw: Any, sample_batch_size: int) -> Any:
            self.on_sample_begin()
            batch, found = self.replay_buffer.sample(
                global_steps=self.global_steps, partition_id="train", batch_size=sample_batch_size
            )
            self.agent_loop_manager.sampling = False
            metrics.update(found)
            self.on_sample_end()
            return batch

        def _compute_metrics(self, batch: Any, metrics: Any, *args: Any, **kwargs: Any) -> None:
            answered = self.agent_loop_manager.answered
            counts = Counter(0 < sum(rewards) < ROLLOUTS for _, rewards in answered)
            line = {
                "step": self.global_steps,
                "mixed": counts[True] / len(answered),
                "groups": len(answered),
                "trained": len(batch.keys),
                "metrics": {k: v for k, v in metrics.items() if k.startswith("selection/")},
            }
            if self.watched is not None:
                line["chosen"] = self.watched.chosen[-2]
                line["lags"], self.watched.lags = self.watched.lags, []
                line["beliefs"] = digest(self.train_dataset.loop.selector.state_dict())
            answered.clear()
            with trace.open("a") as file:
                file.write(json.dumps(line) + "\n")

    return Trainer


def train(config: Any, trace: Path, kill_at: int | None = None) -> Any:
    """As verl's task runner does it; returns the trainer. TransferQueue stays, and is emptied."""
    logging.getLogger("verl").setLevel(logging.ERROR)
    config.transfer_queue.enable = True
    if not ray.is_initialized():
        ray.init(num_cpus=8, include_dashboard=False, log_to_driver=False)
        tq.init(config.transfer_queue)
    try:
        trainer = small(config.trainer.v1.trainer_mode, trace, kill_at)(config)
        trainer.init()
        trainer.fit(Engine())
        return trainer
    finally:
        for partition, items in (tq.kv_list() or {}).items():
            if items:
                tq.kv_clear(keys=list(items), partition_id=partition)


def selecting(selector: str) -> list[str]:
    """What a user writes for this selector; nothing for 'none', verl's own order."""
    return [] if selector == "none" else [*SELECTION, f"+data.insight.selector={selector}"]


def run_apart(folder: Path, *options: str) -> tuple[int, str, list[dict[str, Any]]]:
    """This program in a process of its own: how it ended, what it said, the trace that it left."""
    folder.mkdir(parents=True, exist_ok=True)
    trace = folder / "trace.jsonl"
    trace.unlink(missing_ok=True)
    # Into a file: a pipe would stay open until Ray's processes notice that this one was killed.
    with (folder / "output.txt").open("w+") as output:
        ended = subprocess.run(
            [sys.executable, "-m", "benchmarks.verl_run", str(folder), *options],
            cwd=Path(__file__).parent.parent,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=output,
            stderr=output,
            timeout=600,
        )
        output.seek(0)
        said = output.read()
    lines = trace.read_text().splitlines() if trace.exists() else []
    return ended.returncode, said, [json.loads(line) for line in lines]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mode", choices=("sync", "colocate_async"), default="sync")
    parser.add_argument("--selector", default="insight", help="'none': verl's own order")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--save-steps", type=int, default=-1)
    parser.add_argument("--kill-at", type=int)
    parser.add_argument("--filter", action="store_true", help="verl's DAPO filter")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--more", nargs="*", default=[], help="more of verl's configuration")
    given = parser.parse_args()
    torch.set_num_threads(1)
    config = config_of(
        given.folder,
        *selecting(given.selector),
        f"data.seed={given.seed}",
        f"trainer.total_training_steps={given.steps}",
        f"trainer.save_freq={given.save_steps}",
        f"algorithm.filter_groups.enable={given.filter}",
        *given.more,
        mode=given.mode,
    )
    train(config, given.folder / "trace.jsonl", given.kill_at)


if __name__ == "__main__":
    main()
