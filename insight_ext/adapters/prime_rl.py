"""Prompt selection in prime-rl: a task sampler for its curriculum.

prime-rl makes its samplers by their names in the configuration, so this one is put in by a program
that is started in place of `orchestrator`; docs/trainers.md has it. prime-rl asks the sampler for
one task at a time (`next`), as many as are in flight, and hands it every group that is finished,
admitted to the training or not (`observe`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from insight_ext.adapters.common import check_names, deal_exactly, make_loop, report_prompt
from insight_ext.beliefs.pool import PromptPool
from insight_ext.data.prompt import Prompt
from insight_ext.errors import ArgumentError, CheckpointError, PoolError
from insight_ext.plugins import whole

PRIME = "prime-rl"


class SelectingSampler:
    """prime-rl's `TaskSampler`: which task comes next.

    Args:
        tasks: of one environment, finitely many; `Task.key` is a prompt's id.
        selector: see `SelectionLoop`.
        rollouts: prime-rl's `group_size`.
        groups: finished groups after which beliefs move, `batch_size / group_size` of prime-rl's.
        options: of `SelectionLoop`. `max_staleness` is 16 here: groups that prime-rl cancels never
            come back, and are given up after as many steps.

    Attributes:
        loop: for its beliefs.

    Raises:
        ArgumentError: tasks or options that cannot work.
        PoolError: keys that are missing or repeat.

    Determinism: after a resume the tasks in flight come first, since their rollouts died with the
    run; with none in flight, choices are those of a run that was not interrupted.
    """

    def __init__(
        self, tasks: Any, selector: str = "insight", *, rollouts: int, groups: int, **options: Any
    ) -> None:
        if not isinstance(tasks, Sequence) or len(tasks) == 0:
            raise ArgumentError(
                f"tasks: expected a list of them to choose from, got a {type(tasks).__name__} "
                "without an end or of none; give the environment's tasks a number"
            )
        groups = whole("groups", groups, 1)
        check_names("task", PRIME, tasks[0], ["data.prompt_text", "key"])
        keys = [task.key for task in tasks]
        if None in keys:
            raise PoolError(f"task {keys.index(None)}: expected a key, got none; give each its own")
        self.tasks, self.groups = tasks, groups
        texts = [task.data.prompt_text for task in tasks]
        pool = PromptPool(Prompt(key, text, "") for key, text in zip(keys, texts, strict=True))
        options = {"selector": selector, **options}
        self.loop = make_loop(PRIME, pool, options, groups, rollouts=rollouts, max_staleness=16)
        self._back = 0  # groups that came back in the present step
        self._metrics: dict[str, float] = {}

    def __iter__(self) -> SelectingSampler:
        return self

    def __next__(self) -> Any:
        """The next task."""
        return self.tasks[deal_exactly(self.loop, 1)[0].position]

    def observe(self, group: Sequence[Any]) -> None:
        """Take in a finished group; beliefs move when as many as a step has are back.

        Raises:
            PoolError: of a task that is not among the sampler's.
            ObservationError: rewards that cannot be counted.
        """
        traces = [trace for episode in group for trace in episode.traces if trace.agent.trainable]
        rewards = [None if trace.has_error else trace.reward for trace in traces]
        texts = [trace.last_reply for trace in traces]
        position = self.loop.pool.position(group[0].task.key)
        report_prompt(self.loop, position, rewards or [None], texts or [""])
        self._back += 1
        if self._back == self.groups:
            self._metrics, self._back = self.loop.end_step(), 0

    def state_dict(self) -> dict[str, Any]:
        """What prime-rl puts into `progress.pt`."""
        return {"loop": self.loop.state_dict(), "back": self._back}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            CheckpointError: of another sampler, or see `SelectionLoop.load_state_dict`.
        """
        if state_dict.keys() != {"loop", "back"}:
            raise CheckpointError(
                "progress.pt: expected the state of a SelectingSampler, got one of another sampler "
                f"with {', '.join(map(str, state_dict))}; resume with that one, or with "
                "ckpt.skip_progress to start with new beliefs"
            )
        self.loop.load_state_dict(state_dict["loop"])
        self._back = state_dict["back"]

    def metrics(self) -> dict[str, float]:
        """Those of the latest step that ended; prime-rl logs them."""
        return self._metrics
