"""One reward or several: their weighted sum is trained on, one of them says what is correct."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from insight_ext import ArgumentError, Prompt
from lightning_integration.grpo.rewards import (
    FailureLimit,
    Reward,
    checked_reward,
    make_reward,
    name_of,
    score_completions,
)


class RewardSum:
    """The rewards of a training; the outcome stands first in everything it has and returns.

    Args:
        rewards: a name in `rewards.REWARDS`, an import path (`package.module:function`), or a
            function; or several of these.
        weights: of each in the sum that is trained on, in the order of `rewards`; 1 if None.
        outcome: the reward that says whether an answer is correct: as it stands in `rewards`, or
            its function's name. Needed where there are several.
        max_failed: share of the latest 1,000 completions on which each may fail.

    Attributes:
        names: of the functions; a metric is logged by each.

    Raises:
        ArgumentError: an unknown reward or outcome, a function of something else, none where there
            are several, weights that do not fit.

    Examples:
        >>> def brevity(prompt, completion):
        ...     return -len(completion) / 10
        >>> both = RewardSum([brevity, "exact_match"], weights=[0.5, 1], outcome="exact_match")
        >>> scores = both.score([Prompt("a", "1+1=", "2")] * 2, ["2", "11"])
        >>> both.names, scores[:, 0].tolist(), both.total(scores).tolist()
        (['exact_match', 'brevity'], [1.0, 0.0], [0.949999988079071, -0.10000000149011612])
    """

    def __init__(
        self,
        rewards: str | Reward | Sequence[str | Reward],
        weights: Sequence[float] | None = None,
        outcome: str | Reward | None = None,
        max_failed: float = 0.1,
    ) -> None:
        given = [rewards] if isinstance(rewards, str) or callable(rewards) else list(rewards)
        functions = [
            make_reward(each) if isinstance(each, str) else checked_reward(each) for each in given
        ]
        names = [name_of(function) for function in functions]
        if len(set(names)) < len(names) or not names:
            raise ArgumentError(
                f"reward: expected at least one, each with a name of its own, got {names}"
            )
        weights = [1.0] * len(names) if weights is None else list(map(float, weights))
        if len(weights) != len(names) or not any(weights) or not all(map(math.isfinite, weights)):
            raise ArgumentError(
                f"reward_weights: expected {len(names)} finite numbers, not all 0, one for each "
                f"of {', '.join(names)}, got {weights}"
            )
        if outcome is None and len(names) == 1:
            outcome = names[0]
        found = [at for at in range(len(names)) if outcome in (given[at], functions[at], names[at])]
        if len(found) != 1:
            raise ArgumentError(
                "outcome: expected the one reward that says whether an answer is correct, one of "
                f"{', '.join(names)}, got {outcome!r}; one that is not to be trained on can be "
                "among them with the weight 0"
            )
        order = found + [at for at in range(len(names)) if at != found[0]]
        self.names = [names[at] for at in order]
        self._functions = [functions[at] for at in order]
        self._weights = [weights[at] for at in order]
        self._limits = [FailureLimit(max_failed) for _ in order]

    def score(
        self,
        prompts: Sequence[Prompt],
        completions: Sequence[str],
        *,
        workers: int = 1,
        seconds: float = 60.0,
    ) -> Tensor:
        """Each reward of each completion; see `score_completions`.

        Returns:
            float32 tensor of shape (G, F) for G completions and F rewards; NaN where one could not
            be scored.
        """
        columns = [
            score_completions(
                function, prompts, completions, workers=workers, seconds=seconds, limit=limit
            )
            for function, limit in zip(self._functions, self._limits, strict=True)
        ]
        known = [[math.nan if each is None else each for each in column] for column in columns]
        return torch.tensor(known, dtype=torch.float32).T

    def total(self, scores: Tensor) -> Tensor:
        """What is trained on: the weighted sum over the last dimension of what `score` returned.

        NaN where a reward of another weight than 0 could not be scored: then nobody knows the sum.
        """
        weights = scores.new_tensor(self._weights)
        used = weights != 0
        return (scores[..., used] * weights[used]).sum(dim=-1)
