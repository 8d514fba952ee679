"""The trainer's weights on their way to an inference engine, and the check that they arrived."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from insight_ext import ArgumentError, EngineError
from insight_ext.atomic_file import write_atomically
from lightning_integration.rollouts.engine import Completion, Sampling

# Largest mean difference of log-probabilities, in nats, between two programs that run the same
# weights in this format; `benchmarks/bench_vllm.py` measures 7e-6 in float32, 0.015 in bfloat16.
TOLERANCES = {torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 1e-1}

PROBES = 4
PROBE_PROMPT = 32  # tokens
# Not 1: an engine that reports the probabilities before the temperature must be found out.
PROBE_SAMPLING = Sampling(8, temperature=0.8, seed=1)


def checkpoint_weights(model: PreTrainedModel) -> Iterator[tuple[str, Tensor]]:
    """Every weight with its name, a head tied to the embedding too; shards are gathered.

    vLLM never looks at a tied head again after loading, so it is told that there is none
    (`untied`), and the head is sent under its own name.
    """
    for name, weight in model.state_dict().items():
        gathered = weight.full_tensor() if hasattr(weight, "full_tensor") else weight
        yield name, gathered.detach()


def untied(overrides: dict[str, object] | None = None) -> dict[str, object]:
    """The `hf_overrides` with which an engine keeps a head of its own."""
    return {**(overrides or {}), "tie_word_embeddings": False}


def save_checkpoint(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path
) -> None:
    """A checkpoint folder in which a tied head has its own tensor."""
    save_description(model, tokenizer, folder)
    weights = {name: weight.contiguous() for name, weight in checkpoint_weights(model)}
    seen: set[int] = set()
    for name, weight in weights.items():
        if weight.data_ptr() in seen:
            weights[name] = weight.clone()  # the format has no shared tensors
        seen.add(weight.data_ptr())
    write_atomically(
        folder / "model.safetensors", lambda beside: save_file(weights, beside, {"format": "pt"})
    )


def save_description(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path
) -> None:
    """All of a checkpoint folder but the weights."""
    folder.mkdir(parents=True, exist_ok=True)
    model.config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@dataclass(frozen=True)
class LogprobCheck:
    """Compares an engine's log-probabilities with the trainer's model.

    The engine continues a few fixed sequences of tokens at a temperature other than 1, ignoring the
    end token; the model says how likely it finds the same tokens. The mean absolute difference must
    not exceed a tolerance. Weights that a sync leaves out are noticed once they have drifted that
    far, and at once if the engine started from random ones.

    Args:
        tolerance: nats, a mean over tokens; None for `TOLERANCES` of the coarser format.
        prompts: each of the same length.
    """

    tolerance: float | None
    prompts: list[list[int]]

    def __post_init__(self) -> None:
        if self.tolerance is not None and not self.tolerance >= 0:
            raise ArgumentError(f"tolerance: expected 0 nats or more, got {self.tolerance}")

    @classmethod
    def of(
        cls,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        room: int,
        tolerance: float | None,
    ) -> LogprobCheck:
        """The check for a model and an engine that reads texts of up to `room` tokens.

        Determinism: a function of the arguments.
        """
        words = min(len(tokenizer), model.get_input_embeddings().num_embeddings)
        length = max(1, min(PROBE_PROMPT, room - PROBE_SAMPLING.max_new_tokens))
        rng = random.Random(0)
        return cls(
            tolerance, [[rng.randrange(words) for _ in range(length)] for _ in range(PROBES)]
        )

    def run(
        self,
        model: PreTrainedModel,
        dtype: torch.dtype,
        answer: Callable[[list[list[int]], Sampling], Sequence[Completion]],
        told: str,
    ) -> dict[str, float]:
        """Ask the engine, ask the model, compare.

        Args:
            model: the trainer's.
            dtype: of the engine's weights.
            answer: one completion of each prompt by the engine.
            told: how the weights got there, for the error.

        Returns:
            `check_ms`, and `logprob_difference` in nats.

        Raises:
            EngineError: the difference is above the tolerance, or not a number.
        """
        started = perf_counter()
        completions = answer(self.prompts, PROBE_SAMPLING)
        difference = _difference(model, self.prompts, completions)
        formats = [dtype, model.dtype]
        allowed = self.tolerance
        if allowed is None:
            allowed = max(TOLERANCES.get(each, 0.0) for each in formats)
        if not difference <= allowed:
            raise EngineError(
                f"weight sync ({told}): expected the engine's log-probabilities within {allowed:g} "
                f"nats of those of the trainer's model, a mean over {PROBES} short texts, got "
                f"{difference:.3g}; the engine holds other weights than the trainer, or reports "
                "other log-probabilities than those it draws from. Start it with "
                "hf_overrides={'tie_word_embeddings': False} and logprobs_mode=processed_logprobs, "
                "or try another route; if it only computes less exactly, raise tolerance in "
                "engine_options"
            )
        return {
            "check_ms": 1e3 * (perf_counter() - started),
            "logprob_difference": difference,
        }


@torch.no_grad()
def _difference(
    model: PreTrainedModel, prompts: list[list[int]], completions: Sequence[Completion]
) -> float:
    """Mean absolute difference of log-probabilities at the probe's temperature, in nats."""
    drawn = torch.tensor([completion.ids for completion in completions], device=model.device)
    claimed = torch.tensor([c.logprobs for c in completions], device=model.device)
    texts = torch.cat((torch.tensor(prompts, device=model.device), drawn), dim=1)
    training = model.training
    model.eval()
    try:
        logits = model(input_ids=texts[:, :-1], logits_to_keep=drawn.shape[1]).logits
    finally:
        model.train(training)
    logprobs = (logits.float() / PROBE_SAMPLING.temperature).log_softmax(dim=-1)
    return float((logprobs.gather(-1, drawn[..., None]).squeeze(-1) - claimed).abs().mean())
