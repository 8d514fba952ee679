"""One run of verl's own training loop on a small task; a program for `bench_verl` and `tests/verl`.

    python -m benchmarks.verl_run FOLDER --steps 40 --save-steps 20

Real are verl's settings, `fit`, data set, loader, replay buffer, checkpoint and TransferQueue on Ray.
The model and its engine are not: answers are drawn by a seed, and the step ends when the replay
buffer has given a batch. Of 200 prompts 40 % are always solved, 40 % never, 20 % by every second
answer. Each step adds a line to FOLDER/trace.jsonl: what was chosen, what came of it, the digest of
the beliefs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from statistics import mean
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pyarrow as pa
import pyarrow.parquet as pq
import torch

PROMPTS, BATCH, K = 200, 8, 8
CHANCES = (0.0, 0.0, 0.5, 1.0, 1.0)
SELECTION = (
    "data.custom_cls.path=pkg://insight_ext.adapters.verl",
    "data.custom_cls.name=SelectingDataset",
    "data.dataloader_num_workers=0",
    "trainer.v1.sampler.custom_sampler.path=pkg://insight_ext.adapters.verl",
    "trainer.v1.sampler.custom_sampler.name=replay_buffer",
)


def write_data(path: Path, prompts: int = PROMPTS) -> None:
    """Rows as verl's examples have them."""
    rows = [
        {
            "id": f"sum-{at}",
            "data_source": "sums",
            "prompt": [{"role": "user", "content": f"{at}+{at}="}],
            "reward_model": {"style": "rule", "ground_truth": str(2 * at)},
            "extra_info": {"index": at},
        }
        for at in range(prompts)
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)


def make_config(folder: Path, *settings: str) -> Any:
    """verl's settings, as its command reads them."""
    from hydra import compose, initialize_config_module

    for name in ("train", "val"):
        if not (folder / f"{name}.parquet").exists():
            write_data(folder / f"{name}.parquet")
    with initialize_config_module("verl.trainer.config", version_base=None):
        return compose(
            "ppo_trainer",
            [
                f"data.train_files={folder / 'train.parquet'}",
                f"data.val_files={folder / 'val.parquet'}",
                f"data.train_batch_size={BATCH}",
                "data.dataloader_num_workers=0",
                "algorithm.adv_estimator=grpo",
                f"actor_rollout_ref.rollout.n={K}",
                f"trainer.default_local_dir={folder}",
                "trainer.logger=[]",
                "trainer.total_epochs=1000",
                "trainer.val_before_train=false",
                "trainer.test_freq=-1",
                "trainer.resume_mode=auto",
                "trainer.device=cpu",
                *settings,
            ],
        )


class Absent:
    """Stands for what needs a GPU: whatever is asked of it, it does nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args, **more: None


def make_trainer(config: Any, traced: Any = None) -> Any:
    """verl's trainer of the configured mode, without workers.

    Args:
        config: see `make_config`.
        traced: is called with the trainer and the uids of each step's batch.
    """
    from verl.trainer.ppo.v1 import get_trainer_cls

    class Trainer(get_trainer_cls(config.trainer.v1.trainer_mode)):  # type: ignore[misc]
        def _setup(self) -> None:
            self.tokenizer = self.processor = None
            self.actor_rollout_wg = self.checkpoint_manager = self.reward_loop_manager = Absent()
            self._init_dataloader()
            self._init_dump_executor()
            self._load_checkpoint()
            self.replay_buffer.poll_interval = 0.01

        def _step_once(self, metrics: Any, timing_raw: Any, sample_batch_size: int) -> Any:
            self.on_sample_begin()
            batch, found = self.replay_buffer.sample(
                global_steps=self.global_steps, partition_id="train", batch_size=sample_batch_size
            )
            metrics.update(found)
            self.on_sample_end()
            if traced is not None:
                traced(self, {key.split("_")[0] for key in batch.keys})
            return batch

        def _compute_metrics(self, *args: Any, **more: Any) -> None:
            pass

    return Trainer(config)


class Answers:
    """verl's agent loop manager, whose answers are drawn by a seed.

    Args:
        late: of each call's groups, every so many is finished at the next call only; 0: none.
        fails: every so many groups lacks its last rollout; 0: none.

    Attributes:
        groups: of the present step, what came back: uid, row, whether mixed.
        chosen: rows of the present step, in the order of the draws.
        lags: for each call, the groups dealt before it whose results were not in the beliefs.
    """

    def __init__(self, seed: int = 0, late: int = 0, fails: int = 0) -> None:
        self.seed, self.late, self.fails = seed, late, fails
        self.chosen: list[int] = []
        self.groups: list[tuple[str, int, bool]] = []
        self.lags: list[int] = []
        self.waiting: list[Any] = []
        self.trainer: Any = None
        self.asked = 0

    def generate_sequences(self, batch: Any) -> None:
        rows = [{name: _item(batch, name, at) for name in batch.keys()} for at in range(len(batch))]
        loop = getattr(self.trainer.train_dataset, "loop", None)
        if loop is not None:
            dealt = {row["insight_group"] for row in rows}
            self.lags.append(sum(each.group not in dealt for each in loop.in_flight))
        self.chosen += [row["extra_info"]["index"] for row in rows]
        ready, self.waiting = self.waiting, []
        for row in rows:
            self.asked += 1
            late = self.late and self.asked % self.late == 0
            (self.waiting if late else ready).append((self.asked, row))
        for number, row in ready:
            self._finish(number, row)

    def _finish(self, number: int, row: dict[str, Any]) -> None:
        import transfer_queue as tq
        from verl.utils.tensordict_utils import list_of_dict_to_tensordict

        uid, at, step = row["uid"], row["extra_info"]["index"], self.trainer.global_steps
        chance = random.Random(f"{self.seed} {at} {step}")
        rewards = [float(chance.random() < CHANCES[at % len(CHANCES)]) for _ in range(K)]
        failed = bool(self.fails) and number % self.fails == 0
        rewards = rewards[: K - failed]
        self.groups.append((uid, at, len(set(rewards)) > 1))
        fields = [
            {
                **row,
                "responses": torch.tensor([1, 2]),
                "rm_scores": torch.tensor([0.0, reward]),
                "extra_fields": {"reward_extra_info": {"acc": reward}},
            }
            for reward in rewards
        ]
        tq.kv_batch_put(
            keys=[f"{uid}_{session}_0" for session in range(len(rewards))],
            partition_id="train",
            fields=list_of_dict_to_tensordict(fields),
            tags=[{"status": "success", "global_steps": step} for _ in rewards],
        )
        status = {"status": "failure" if failed else "finished"}
        tq.kv_put(key=uid, partition_id="train", tag=status)


def _item(batch: Any, name: str, at: int) -> Any:
    value = batch[name]
    if isinstance(value, torch.Tensor):
        return value[at]
    single = value[at] if hasattr(value, "__getitem__") else value
    return getattr(single, "data", single)


class Run:
    """A started trainer with its answers; writes the trace."""

    def __init__(self, folder: Path, *settings: str, kill_at: int | None = None, **answers: int):
        self.folder, self.kill_at = folder, kill_at
        self.answers = Answers(**answers)
        self.steps: list[dict[str, Any]] = []
        self.trainer = make_trainer(make_config(folder, *settings), self.trace)
        self.answers.trainer = self.trainer

    def fit(self) -> list[dict[str, Any]]:
        self.trainer.init()
        self.trainer.fit(self.answers)
        return self.steps

    def trace(self, trainer: Any, uids: set[str]) -> None:
        from insight_ext.distributed.ranks import digest

        answers, loop = self.answers, getattr(trainer.train_dataset, "loop", None)
        line = {
            "step": trainer.global_steps,
            "chosen": answers.chosen,
            "mixed": mean(mixed for _, _, mixed in answers.groups) if answers.groups else 0.0,
            "groups": len(answers.groups),
            "lags": answers.lags,
        }
        if loop is not None:
            line["beliefs"] = digest(loop.selector.state_dict())
            line["in_flight"] = len(loop.in_flight)
        answers.chosen, answers.groups, answers.lags = [], [], []
        self.steps.append(line)
        with (self.folder / "trace.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        if trainer.global_steps == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


def start() -> None:
    """Ray and TransferQueue, on this machine."""
    import ray
    import transfer_queue as tq

    ray.init(num_cpus=4, include_dashboard=False, configure_logging=False)
    tq.init()


def stop() -> None:
    import ray
    import transfer_queue as tq

    tq.close()
    ray.shutdown()


def run_apart(
    folder: Path, *options: str
) -> tuple[subprocess.CompletedProcess[str], list[dict[str, Any]]]:
    """This program in a process of its own: how it ended, and the trace that it left."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "trace.jsonl").unlink(missing_ok=True)
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.verl_run", str(folder), *options],
        cwd=Path(__file__).parent.parent,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=400,
    )
    path = folder / "trace.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return ended, [json.loads(line) for line in lines]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--selector", default="insight", help="'none': verl's own order")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--save-steps", type=int, default=-1)
    parser.add_argument("--kill-at", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--late", type=int, default=0)
    parser.add_argument("settings", nargs="*", help="more of verl's")
    given = parser.parse_args()
    torch.set_num_threads(1)
    chosen = (
        () if given.selector == "none" else (*SELECTION, f"+data.insight.selector={given.selector}")
    )
    start()
    run = Run(
        given.folder,
        f"trainer.total_training_steps={given.steps}",
        f"trainer.save_freq={given.save_steps}",
        f"data.seed={given.seed}",
        *chosen,
        *given.settings,
        kill_at=given.kill_at,
        seed=given.seed,
        late=given.late,
    )
    run.fit()
    stop()


if __name__ == "__main__":
    main()
