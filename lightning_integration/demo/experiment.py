"""Compares ways of choosing prompts on a real model, for `make train`.

Makes the tasks, warm-starts a small model for each seed
(`python -m lightning_integration.demo.warm_start`), trains every arm from it by the ordinary
command line (`python -m lightning_integration fit`), several processes at once with one thread
each, and draws the report.
What is finished is not done again: the same command goes on where the last one was stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from textwrap import wrap
from typing import Any

import yaml

from insight_ext import ArgumentError, InsightError
from insight_ext.child_process import end_with
from insight_ext.data.yaml_file import read_yaml
from insight_ext.filters import given_filter
from insight_ext.plugins import check_at_least
from insight_ext.progress import Progress
from insight_ext.report import summary_rows, write_report
from insight_ext.report.summary import SummaryRow
from insight_ext.runs.layout import METRICS_FILE
from insight_ext.runs.reader import MetricsReader
from insight_ext.runs.writer import lock_folder
from insight_ext.selectors import check_selector
from insight_ext.simulate.arms import named_arms, trainable_arms
from lightning_integration.demo.tasks import make_pools
from lightning_integration.demo.warm_start import WarmStart, model_folder
from lightning_integration.grpo.rewards import make_reward

WIDTH = 80
PATIENCE = 20.0  # seconds for a run to end by itself
# Signals that ask for an end. Python swallows what is raised just after a fork, so they are kept.
HEARD: list[int] = []
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


@dataclass(frozen=True)
class Settings:
    """What the configuration file says.

    Args:
        pool, held_out: problems of each kind, see `tasks.make_pools`.
        warm_start: see `WarmStart`; names the task.
        arms: by name, the options of `PromptDataModule` in which the arms differ.
        seeds: of which each arm has one run. A seed decides the warm start, the problems, the
            selection and the sampling; runs of one seed share the first two.
        fit: the configuration that all runs share, as the command line takes it;
            `data.steps_per_epoch` says how long a run is.

    Raises:
        ArgumentError: no arm, no seed, no length of a run, an unknown reward or filter, or an arm
            with an unknown strategy or option.
    """

    pool: Mapping[str, int]
    held_out: Mapping[str, int]
    warm_start: WarmStart
    arms: Mapping[str, Mapping[str, Any]]
    seeds: Sequence[int]
    fit: Mapping[str, Any]

    def __post_init__(self) -> None:
        for name, value in (("arms", self.arms), ("seeds", self.seeds)):
            if not value:
                raise ArgumentError(f"{name}: expected at least one, got {value}")
        data = self.fit.get("data") if isinstance(self.fit, Mapping) else None
        steps = data.get("steps_per_epoch") if isinstance(data, Mapping) else None
        if not isinstance(steps, int) or steps < 1:
            raise ArgumentError(
                f"fit.data.steps_per_epoch: expected a whole number of at least 1, got {steps}; "
                "the configuration has to say how long a run is"
            )
        for arm, options in self.arms.items():
            _check_arm(arm, {**self.fit["data"], **options})
        model = self.fit.get("model") or {}
        if isinstance(model.get("reward"), str):
            make_reward(model["reward"])
        given_filter(model.get("filter"), model.get("filter_options"))

    @property
    def runs(self) -> list[tuple[str, int]]:
        """Arm and seed of each run."""
        return [(arm, seed) for seed in self.seeds for arm in self.arms]

    @property
    def steps(self) -> int:
        """Training steps of each run."""
        return int(self.fit["data"]["steps_per_epoch"])


def _check_arm(arm: str, data: Mapping[str, Any]) -> None:
    """Refuse what the arm's runs would refuse, before the warm start has taken its minutes."""
    selector = data.get("selector")
    if not isinstance(selector, str):
        return
    try:
        check_selector(selector, data.get("selector_options") or {})
    except ArgumentError as error:
        raise ArgumentError(f"arm {arm!r}: {error}") from error


@dataclass(frozen=True)
class Job:
    """A process: its folder, its command, its steps, and the folder that must be there first."""

    folder: Path
    command: list[str]
    steps: int
    needs: Path | None = None


def read_settings(path: Path) -> Settings:
    """Read an experiment's YAML file.

    Raises:
        ArgumentError: no such file, not YAML, not the keys of `Settings`, or not a value of one.
    """
    values = read_yaml(path)
    try:
        return Settings(**values | {"warm_start": WarmStart(**values["warm_start"])})
    except (TypeError, KeyError) as error:
        raise ArgumentError(f"{path}: expected an experiment's settings, got: {error!r}") from error


def run(settings: Settings, folder: Path, models: Path, workers: int) -> Path:
    """Make or finish the experiment in `folder`; returns the path of its report.

    Args:
        settings: what to compare.
        folder: the experiment's folder.
        models: where warm-started models are kept between experiments.
        workers: runs at once, at least 1.

    Raises:
        ArgumentError: no worker, or the folder holds an experiment with other settings, or one
            that another process runs.
        InsightError: a run failed (its log named).
    """
    check_at_least(1, workers=workers)
    with lock_folder(folder):
        return _run_all(settings, folder, models, workers)


def _run_all(settings: Settings, folder: Path, models: Path, workers: int) -> Path:
    _claim(folder, settings)
    jobs = [
        *(_warm_start(settings, folder, seed, models) for seed in settings.seeds),
        *(_run(settings, folder, arm, seed, models) for arm, seed in settings.runs),
    ]
    progress = Progress("training", sum(job.steps for job in jobs), before=sum(map(_done, jobs)))
    _do(jobs, workers, progress.update)
    return write_report(folder)


def _claim(folder: Path, settings: Settings) -> None:
    """Write experiment.json, or see that the one there says the same."""
    text = json.dumps(asdict(settings), indent=2) + "\n"
    file = folder / "experiment.json"
    if file.exists() and file.read_text() != text:
        raise ArgumentError(
            f"{folder} holds an experiment with other settings; "
            "choose another folder with --folder, or remove this one"
        )
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def _warm_start(settings: Settings, folder: Path, seed: int, models: Path) -> Job:
    """The job of a seed's model; finished if the model is there, whichever experiment made it."""
    options = {"config": folder / "experiment.json", "seed": seed, "models": models}
    place = folder / "inputs" / f"warm-start-seed{seed}"
    command = [sys.executable, "-m", "lightning_integration.demo.warm_start"]
    for name, value in (options | {"metrics": place / METRICS_FILE}).items():
        command += [f"--{name}", str(value)]
    place.mkdir(parents=True, exist_ok=True)
    (place / "finished").unlink(missing_ok=True)
    if model_folder(settings.warm_start, seed, models).exists():
        (place / "finished").touch()
    return Job(place, command, settings.warm_start.steps)


def _run(settings: Settings, folder: Path, arm: str, seed: int, models: Path) -> Job:
    """The job of a run; its prompts and its configuration are written here."""
    model = model_folder(settings.warm_start, seed, models)
    inputs = folder / "inputs" / f"seed{seed}"
    inputs.mkdir(parents=True, exist_ok=True)
    files = [inputs / "pool.jsonl", inputs / "held_out.jsonl"]
    if not all(file.exists() for file in files):
        pools = make_pools(settings.warm_start.task, settings.pool, settings.held_out, seed)
        for pool, file in zip(pools, files, strict=True):
            pool.to_jsonl(file)
    place = folder / f"{arm}-seed{seed}"
    own = {
        "seed_everything": seed,
        "model": {"model": str(model), "seed": seed},
        "data": {
            "pool": str(files[0]),
            "validation": str(files[1]),
            "seed": seed,
            **settings.arms[arm],
        },
        "trainer": {"default_root_dir": str(place)},
    }
    config = inputs / f"{arm}.yaml"
    config.write_text(yaml.safe_dump(_merged(settings.fit, own), sort_keys=False))
    command = [sys.executable, "-m", "lightning_integration", "fit", "--config", str(config)]
    if (place / "checkpoints/last.ckpt").exists():
        command += ["--ckpt_path", "last"]
    return Job(place, command, settings.steps, needs=model)


def _merged(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(shared)
    for key, value in own.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def _do(jobs: list[Job], workers: int, on_steps: Callable[[int, str], None]) -> None:
    """Do the jobs that are not finished, `workers` at a time, in order as far as needs allow."""
    waiting = [job for job in jobs if not (job.folder / "finished").exists()]
    running: list[tuple[Job, subprocess.Popen[bytes]]] = []
    try:
        while waiting or running:
            if HEARD:
                raise KeyboardInterrupt
            for job in [job for job in waiting if job.needs is None or job.needs.exists()]:
                if len(running) < workers:
                    waiting.remove(job)
                    running.append((job, _start(job)))
            time.sleep(0.5)
            for job, process in list(running):
                if process.poll() is None:
                    continue
                running.remove((job, process))
                if process.returncode:
                    log = job.folder / "log.txt"
                    last = log.read_text().splitlines()[-20:]
                    print(*last, sep="\n", file=sys.stderr)
                    raise InsightError(
                        f"the run {job.folder.name} failed: {last[-1] if last else 'no output'}; "
                        f"its log is {log}"
                    )
                (job.folder / "finished").touch()
            arms = [job for job in jobs if job.needs]
            begun = len(arms) - sum(job in waiting for job in arms)
            detail = f"arm {begun} of {len(arms)}" if begun else "warm start"
            on_steps(sum(map(_done, jobs)), detail)
    finally:
        for _, process in running:
            process.terminate()
        for _, process in running:
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _start(job: Job) -> subprocess.Popen[bytes]:
    job.folder.mkdir(parents=True, exist_ok=True)
    with (job.folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            job.command,
            stdout=log,
            stderr=log,
            env={**os.environ, **ONE_THREAD},
            preexec_fn=partial(end_with, os.getpid()),
        )


def _stop(number: int, frame: Any) -> None:
    HEARD.append(number)
    raise KeyboardInterrupt


def _done(job: Job) -> int:
    """Steps that a job has logged."""
    if (job.folder / "finished").exists():
        return job.steps
    metrics = MetricsReader(job.folder / METRICS_FILE, keep=1)
    metrics.read()
    return 0 if metrics.step is None else metrics.step + 1


def summary(rows: Sequence[SummaryRow]) -> str:
    """What the experiment measured: a question, then a line for each arm.

    Fits a terminal of 80 columns, and reads the same in a log file.
    """
    width = max((len(row.arm) for row in rows), default=0)
    lines = []
    for question, answers in groupby(rows, key=lambda row: row.question):
        lines += ["", *wrap(question, WIDTH)]
        for row in answers:
            head, below = f"  {row.arm:<{width}}  ", " " * (width + 4)
            lines += wrap(row.result, WIDTH, initial_indent=head, subsequent_indent=below)
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """The command; an InsightError becomes one line on standard error and exit status 2."""
    parser = argparse.ArgumentParser("lightning_integration.demo", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="the experiment's YAML file")
    parser.add_argument("--folder", type=Path, help="default: runs/ and the configuration's name")
    parser.add_argument("--models", type=Path, default=Path("runs/models"), help="warm starts")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="runs at once")
    parser.add_argument("--strategies", help="arms of `insight-ext compare` instead")
    parser.add_argument("--features", default="ngrams", help="for those that predict (ngrams)")
    parser.add_argument("--seeds", type=int, help="how many, instead of the configuration's")
    asked = parser.parse_args(arguments)
    folder = asked.folder or Path("runs") / asked.config.stem
    started = time.monotonic()
    HEARD.clear()
    before = {each: signal.signal(each, _stop) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        settings = read_settings(asked.config)
        if asked.strategies:
            arms = trainable_arms(named_arms(asked.strategies), asked.features)
            settings = replace(settings, arms=arms)
        if asked.seeds is not None:
            settings = replace(settings, seeds=list(range(asked.seeds)))
        report = run(settings, folder, asked.models, asked.workers)
    except InsightError as error:
        print(f"experiment: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        kept = f"what is finished and the last checkpoints are kept in {folder}"
        print(f"\nexperiment: stopped; {kept}; the same command goes on", file=sys.stderr)
        return 128 + HEARD[-1]
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    print(summary(summary_rows(folder)))
    print(f"\n{(time.monotonic() - started) / 60:.1f} minutes. Report: {report}")
    return 0
