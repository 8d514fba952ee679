"""`python -m lightning_integration sample`: answers of saved models to a data set, scored.

With them the curators work on a data set and a model alone, without any training:

    python -m lightning_integration sample --model MODEL --prompts pool.jsonl --output a.parquet
    insight-ext curate point_biserial --log a.parquet --output kept.jsonl
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from insight_ext import ArgumentError, Prompt, PromptPool
from insight_ext.atomic_file import unfinished, write_text
from insight_ext.beliefs.group import check_threshold, is_success
from insight_ext.cli.logs import read_pool
from insight_ext.filters import perplexity
from insight_ext.offline.tables import write_columns
from insight_ext.plugins import check_at_least, parsed_options
from insight_ext.progress import Progress
from lightning_integration.demo.model import load_model
from lightning_integration.grpo.rewards import Reward, make_reward, score_completions
from lightning_integration.rollouts import (
    Asked,
    RolloutEngine,
    Rollouts,
    Sampling,
    check_rollouts,
    find_engine,
    make_engine,
)
from lightning_integration.rollouts.completions import vocabulary

ENDINGS = (".jsonl", ".parquet")
SETTINGS_FILE = ".settings.json"


def sample(
    models: Sequence[str | Path],
    pool: PromptPool,
    output: str | Path,
    *,
    answers: int = 64,
    reward: str = "exact_match",
    success_threshold: float = 1.0,
    max_new_tokens: int = 256,
    temperature: float = 1.0,
    engine: str = "transformers",
    engine_options: Mapping[str, Any] | None = None,
    dtype: str = "float32",
    device: str = "cpu",
    prompts_per_call: int = 16,
    reward_workers: int = 1,
    seed: int = 0,
    on_prompts: Callable[[int], object] = lambda done: None,
) -> None:
    """Draw answers to every prompt from every model, score them, and write a row for each.

    Columns are `id`, `epoch` (0 for the first model), `number` (of the answer), `completion`,
    `reward` and `success` (null where it could not be scored), `perplexity`, and `entropy` where
    the engine tells it. `read_answers` and `read_log` read them; to `lim` each model is an epoch.

    The output is a folder of parts, each whole or not there: a command that was stopped goes on
    where it was, and what it writes is what it would have written.

    Args:
        models: Hugging Face model folders; several are checkpoints of one run, in order.
        pool: the prompts.
        output: the folder, whose name ends in `.jsonl` or `.parquet` and says the format.
        answers: to each prompt, at least 1; the paper of `point_biserial` has 64.
        reward, success_threshold, max_new_tokens, temperature, engine, engine_options: see
            `GRPOModule`.
        dtype: of the weights, see `load_model`.
        device: where the model lies, as torch names it.
        prompts_per_call: prompts that the engine is asked at once, and a part holds; at least 1.
        reward_workers: see `score_completions`.
        seed: of the answers.
        on_prompts: called after each part with the number of prompts that are done, of all models.

    Raises:
        ArgumentError: an argument outside its domain, or an output of other settings.
        EngineError: an engine that returns other answers than asked for, see `check_rollouts`.
        ObservationError: see `score_completions`.

    Determinism: the answers of a part depend on its prompts, the model, the settings and the seed.
    """
    output = Path(output)
    check_at_least(1, answers=answers, prompts_per_call=prompts_per_call)
    if output.suffix not in ENDINGS:
        raise ArgumentError(f"{output}: expected a name that ends in {' or '.join(ENDINGS)}")
    Sampling(max_new_tokens, temperature)
    if check_threshold(success_threshold) == "auto":
        raise ArgumentError(
            "success_threshold: expected a number, got auto, which follows from rewards in training"
        )
    score = make_reward(reward)
    find_engine(engine, engine_options or {})
    settings = {
        "models": list(map(str, models)),
        "prompts": pool.fingerprint,
        "answers": answers,
        "reward": reward,
        "success_threshold": success_threshold,
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        "engine": engine,
        "engine_options": dict(engine_options or {}),
        "dtype": dtype,
        "prompts_per_call": prompts_per_call,
        "seed": seed,
    }
    _begin(output, settings)
    saved = _SavedModels(models, engine, engine_options or {}, dtype, device)
    for step in range(len(models)):
        for start in range(0, len(pool), prompts_per_call):
            prompts = [pool[at] for at in range(start, min(start + prompts_per_call, len(pool)))]
            part = output / f"part-{step:04d}-{start:010d}{output.suffix}"
            if not part.exists():
                drawing = saved.engine(step)
                sampling = Sampling(
                    max_new_tokens,
                    temperature,
                    seed=random.Random(f"{seed}/{step}/{start}").getrandbits(62),
                    entropy=bool(getattr(drawing, "tells_entropy", False)),
                )
                asked = [prompt.messages or prompt.prompt for prompt in prompts]
                rollouts = check_rollouts(
                    drawing.generate(asked, answers, sampling),
                    Asked(engine, len(asked), answers, max_new_tokens, saved.vocabulary),
                )
                rows = _rows(rollouts, prompts, step, score, success_threshold, reward_workers)
                write_columns(part, rows)
            on_prompts(step * len(pool) + start + len(prompts))


def _begin(output: Path, settings: Mapping[str, Any]) -> None:
    """Make the folder, or see that the parts that it holds were made with these settings."""
    file = output / SETTINGS_FILE
    if file.exists() and any(output.glob("part-*")):
        try:
            before = dict(json.loads(file.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise ArgumentError(
                f"{file}: expected this command's settings, got: {error}; choose another output"
            ) from error
        for name, value in json.loads(json.dumps(settings)).items():
            if before.get(name) != value:
                raise ArgumentError(
                    f"{output}: expected {name} {before.get(name)!r}, as what it holds was made "
                    f"with, got {value!r}; choose another output"
                )
        return
    output.mkdir(parents=True, exist_ok=True)
    if not file.exists() and any(each != unfinished(file) for each in output.iterdir()):
        raise ArgumentError(f"{output}: expected a new folder, or one that this command began")
    write_text(file, json.dumps(settings, indent=1))


class _SavedModels:
    """An engine with the weights of one saved model after the other, loaded when needed."""

    def __init__(
        self,
        folders: Sequence[str | Path],
        name: str,
        options: Mapping[str, Any],
        dtype: str,
        device: str,
    ) -> None:
        self.folders, self.name, self.options = folders, name, options
        self.dtype, self.device = dtype, device
        self._model: PreTrainedModel | None = None
        self._engine: RolloutEngine | None = None
        self._step = -1

    @property
    def vocabulary(self) -> int:
        """Token ids are below this, once there is a model."""
        assert self._model is not None, "made by the first call of engine"
        return vocabulary(self._model)

    def engine(self, step: int) -> RolloutEngine:
        """The engine with the weights of this model.

        Raises:
            ArgumentError: a model that does not load, or of another architecture than the first.
        """
        if self._engine is not None and step == self._step:
            return self._engine
        model, tokenizer = load_model(self.folders[step], self.dtype)
        if self._model is None or self._engine is None:
            self._model = model.to(self.device)
            self._engine = make_engine(self.name, self._model, tokenizer, **self.options)
        else:
            try:
                self._model.load_state_dict(model.state_dict())
            except RuntimeError as error:
                raise ArgumentError(
                    f"models: expected checkpoints of one run, got another architecture in "
                    f"{self.folders[step]}; sample them by a command each"
                ) from error
        self._engine.sync(self._model)
        self._step = step
        return self._engine


def _rows(
    rollouts: Rollouts,
    prompts: Sequence[Prompt],
    epoch: int,
    reward: Reward,
    success_threshold: float,
    workers: int,
) -> dict[str, list[Any]]:
    """The columns of a part."""
    n = len(rollouts) // len(prompts)
    of = [prompt for prompt in prompts for _ in range(n)]
    worth = score_completions(reward, of, rollouts.texts, workers=workers)
    rewards = [None if each is None or math.isnan(each) else each for each in worth]
    columns: dict[str, list[Any]] = {
        "id": [prompt.id for prompt in of],
        "epoch": [epoch] * len(of),
        "number": list(range(n)) * len(prompts),
        "completion": rollouts.texts,
        "reward": rewards,
        "success": [r if r is None else is_success(r, success_threshold) for r in rewards],
        "perplexity": perplexity(rollouts.logprobs, rollouts.completion_mask).tolist(),
    }
    if rollouts.entropy is not None:
        columns["entropy"] = rollouts.entropy.tolist()
    return columns


def run(arguments: list[str]) -> None:
    """The command."""
    options = vars(_parser().parse_args(arguments))
    pool = read_pool(options.pop("prompts"), options.pop("field"))
    engine_options = parsed_options(options.pop("engine_option"))
    models, output = options.pop("model"), options.pop("output")
    progress = Progress("answers", len(models) * len(pool), "prompts")
    sample(
        models,
        pool,
        output,
        engine_options=engine_options,
        on_prompts=progress.update,
        **options,
    )
    print(output)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lightning_integration sample", description=(__doc__ or "").partition("\n")[0]
    )
    add = parser.add_argument
    add("--model", nargs="+", required=True, metavar="FOLDER", help="several: checkpoints of a run")
    add("--prompts", type=Path, required=True, help="a file, a folder or a pattern")
    add("--field", action="append", default=[], metavar="PART=FIELD", help="id, prompt or answer")
    add("--output", type=Path, required=True, help="a folder named .jsonl or .parquet")
    add("--answers", type=int, default=64, help="to each prompt (64)")
    add("--reward", default="exact_match", help="a name, or module:function (exact_match)")
    add("--success-threshold", type=float, default=1.0, help="smallest reward of a success (1.0)")
    add("--max-new-tokens", type=int, default=256, help="the longest answer (256)")
    add("--temperature", type=float, default=1.0, help="of the answers (1.0)")
    add("--engine", default="transformers", help="transformers, vllm, or an import path")
    add("--engine-option", action="append", default=[], metavar="NAME=VALUE", help="of the engine")
    add("--dtype", default="float32", help="of the weights (float32)")
    add("--device", default="cpu", help="where the model lies, such as cuda (cpu)")
    add("--prompts-per-call", type=int, default=16, help="asked at once (16)")
    add("--reward-workers", type=int, default=1, help="threads of the reward (1)")
    add("--seed", type=int, default=0, help="of the answers (0)")
    return parser
