"""The loss of group relative policy optimisation, as pure functions.

Source: GRPO (arXiv 2402.03300); token mean over the batch and separate clips from DAPO
(arXiv 2503.14476).
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lightning_integration.rollouts.transformers import positions


def group_advantages(rewards: Tensor, standardize: bool = True) -> Tensor:
    """How much better than its group each rollout is.

    Args:
        rewards: float, shape (B, K): K rollouts of each of B prompts; B may be 0. NaN for a rollout
            that could not be scored: it is in no mean, and its advantage is 0.
        standardize: divide by the group's (population) standard deviation.

    Returns:
        float tensor of shape (B, K); each row has mean 0, and exactly 0 throughout where all K
        rewards are equal.

    Examples:
        >>> group_advantages(torch.tensor([[1.0, 0.0, 0.0, 1.0], [0.1, 0.1, 0.1, 0.1]])).tolist()
        [[1.0, -1.0, -1.0, 1.0], [0.0, 0.0, 0.0, 0.0]]
    """
    if rewards.isnan().any():
        advantages = torch.zeros_like(rewards)
        for row, own in zip(advantages, rewards, strict=True):
            scored = ~own.isnan()
            if scored.any():
                row[scored] = group_advantages(own[scored][None], standardize)[0]
        return advantages
    centred = rewards - rewards.mean(dim=1, keepdim=True)
    # The mean of equal floats is not always that float; its rounding must not become a signal.
    equal = rewards.amax(dim=1, keepdim=True) == rewards.amin(dim=1, keepdim=True)
    # Without groups torch would warn about a deviation of nothing.
    if standardize and len(rewards):
        centred = centred / rewards.std(dim=1, keepdim=True, correction=0)
    return centred.masked_fill(equal, 0.0)


def clipped_policy_loss(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    clip_low: float = 0.2,
    clip_high: float = 0.28,
) -> Tensor:
    """The clipped objective of each token, to be minimised.

    `-min(r A, clip(r, 1 - clip_low, 1 + clip_high) A)` with r = exp(logprobs - old_logprobs).

    Args:
        logprobs, old_logprobs: under the present policy and the one that drew the tokens, same
            shape, in nats.
        advantages: broadcasts to that shape.

    Examples:
        >>> new, old = torch.tensor([0.5]).log(), torch.tensor([0.25]).log()
        >>> [round(clipped_policy_loss(new, old, torch.tensor([a])).item(), 4) for a in (1.0, -1.0)]
        [-1.28, 2.0]
    """
    ratio = (logprobs - old_logprobs).exp()
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high)
    return -torch.minimum(ratio * advantages, clipped * advantages)


def kl_to_reference(logprobs: Tensor, reference: Tensor) -> Tensor:
    """Each token's estimate of KL(policy || reference): `exp(d) - d - 1`, d = reference - logprobs.

    Unbiased for tokens drawn from the policy, and never negative.

    Examples:
        >>> kl_to_reference(torch.tensor([0.5]).log(), torch.tensor([0.5]).log()).item()
        0.0
    """
    difference = reference - logprobs
    return difference.exp() - difference - 1


def completion_logprobs(
    model: PreTrainedModel,
    prompt_ids: Tensor,
    prompt_mask: Tensor,
    completion_ids: Tensor,
    completion_mask: Tensor,
    temperature: float = 1.0,
    samples: int = 1,
) -> Tensor:
    """Log-probability of each completion token at this temperature: float32, shape (G, T).

    Args:
        prompt_ids, prompt_mask, completion_ids, completion_mask: as in `Rollouts`.
        temperature: positive.
        samples: adjacent rows with the same prompt. Above 1, the prompt is read once for all of
            them, in the backward pass too; the model's cache has to be one that can be repeated.
    """
    ids, mask = torch.cat((prompt_ids, completion_ids), dim=1), (prompt_mask, completion_mask)
    mask = torch.cat(mask, dim=1).long()
    start = 0
    heads: tuple[Tensor, ...] = ()
    cache = None
    if samples > 1:
        read = model(
            input_ids=prompt_ids[::samples],
            attention_mask=prompt_mask[::samples].long(),
            position_ids=positions(prompt_mask[::samples]),
            use_cache=True,
            logits_to_keep=1,
        )
        cache = read.past_key_values
        cache.batch_repeat_interleave(samples)
        heads = (read.logits.repeat_interleave(samples, dim=0),)
        start = prompt_ids.shape[1]
    kept = completion_ids.shape[1] - len(heads)
    if kept:
        read = model(
            input_ids=ids[:, start:-1],
            attention_mask=mask[:, :-1],
            position_ids=positions(mask)[:, start:-1],
            past_key_values=cache,
            use_cache=cache is not None,
            logits_to_keep=kept,
        )
        heads = (*heads, read.logits)
    logprobs = (torch.cat(heads, dim=1).float() / temperature).log_softmax(dim=-1)
    return logprobs.gather(-1, completion_ids.unsqueeze(-1)).squeeze(-1)
