"""Prompt selection in slime: two flags, and settings under `insight` in its configuration file.

    --data-source-path insight_ext.adapters.slime.SelectingDataSource
    --rollout-all-samples-process-path insight_ext.adapters.slime.observe
    --custom-config-path FILE     # insight: {selector: insight, outcome: accuracy}

slime makes the data source by its path, asks it for prompts (`get_samples`) while it rolls out, and
hands all groups, those too that its filter dropped, to the function at the second path. A rollout
of slime is a step of the loop.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

from insight_ext.adapters import common
from insight_ext.beliefs.pool import PromptPool
from insight_ext.data.prompt import conversation_text
from insight_ext.errors import ArgumentError
from insight_ext.loop import GroupResult
from insight_ext.runs.layout import to_log

SLIME = "slime"
OBSERVE = "insight_ext.adapters.slime.observe"
OUTCOME = "insight.outcome"
ALL_SAMPLES = "--rollout-all-samples-process-path"
FULLY_ASYNC = "slime.rollout.fully_async_rollout."
ARGS = [
    *("load", "n_samples_per_prompt", "over_sampling_batch_size", "partial_rollout", "reward_key"),
    *("rollout_all_samples_process_path", "rollout_function_path", "rollout_seed", "save"),
]
SOURCE = ["add_samples", "buffer", "buffer_filter", "dataset", "load", "save"]
SAMPLE = ["group_index", "index", "label", "metadata", "prompt", "response", "reward"]


class SelectingDataSource:
    """slime's `RolloutDataSourceWithBuffer`, but which prompts come next a selector chooses.

    Groups that slime aborted and put back come first, as in slime. Everything that is not defined
    here is that of slime's own data source.

    Args:
        args: slime's, with the settings in `args.insight`: options of `SelectionLoop`, such as
            `selector` and `success_threshold`; `outcome`, the entry of a reward with several
            that says whether an answer is correct (`--reward-key` if there is none); `id`, the
            entry of the metadata that holds a prompt's id (hashes of the texts if there is none).

    Attributes:
        loop: for its beliefs and metrics.

    Raises:
        ArgumentError: a slime without the needed names, settings or a data set that cannot work.
        PoolError: ids that are missing or repeat.

    Determinism: a run that is resumed makes the choices of one that was not, with `train.py`.
    """

    def __init__(self, args: Any) -> None:
        common.check_names("args", SLIME, args, ARGS)
        source = common.imported_from(
            SLIME, "slime.rollout.data_source", "RolloutDataSourceWithBuffer"
        )
        self._log = common.imported_from(SLIME, "slime.observability.logging_utils", "log")
        _check(args)
        self.args, self._source = args, source(args)
        common.check_names("data source", SLIME, self._source, SOURCE)
        options = common.settings("insight", getattr(args, "insight", {}))
        self._outcome = options.pop("outcome", args.reward_key)
        pool = _pool(self._source.dataset, options.pop("id", None))
        needed = args.over_sampling_batch_size
        common.check_size(SLIME, "--prompt-data", len(pool), needed, "--rollout-batch-size")
        said = {"rollouts": args.n_samples_per_prompt, "seed": args.rollout_seed}
        # What slime aborts is finished in one of the next rollouts, or never.
        said |= {"folder": args.save, "max_staleness": 16 if args.partial_rollout else 0}
        self.loop = common.make_loop(SLIME, pool, options, needed, **said)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def __len__(self) -> int:
        return len(self.loop.pool)

    def get_samples(self, num_samples: int) -> list[list[Any]]:
        """The next groups: those put back, then chosen ones; each holds its rollouts' samples."""
        source, copies = self._source, self.loop.rollouts
        groups: list[list[Any]] = []
        if source.buffer:
            groups += source.buffer_filter(self.args, None, source.buffer, num_samples)
        for dealt in common.deal_exactly(self.loop, num_samples - len(groups)):
            row = source.dataset.origin_samples[dealt.position]
            samples = [deepcopy(row) for _ in range(copies)]
            for number, sample in enumerate(samples):
                sample.group_index, sample.index = dealt.group, dealt.group * copies + number
            groups.append(samples)
        return groups

    def observe(self, all_groups: list[list[Any]]) -> None:
        """Take in all groups of a rollout; the next one is chosen by what came of them.

        Raises:
            ArgumentError, ObservationError: rewards that cannot be counted.
        """
        results = []
        for group in all_groups:
            # Of a rollout that became several samples, the one with its end.
            ends = [rollout[-1] if isinstance(rollout, list) else rollout for rollout in group]
            rewards = [common.outcome_of(end.reward, self._outcome, OUTCOME) for end in ends]
            texts = [end.response for end in ends]
            results.append(GroupResult(ends[0].group_index, rewards, completions=texts))
        self.loop.report_all(results)
        step = {"selection/step": self.loop.step}
        self._log(self.args, to_log([self.loop.end_step()]) | step, step_key="selection/step")

    def save(self, rollout_id: int) -> None:
        """Write the beliefs, then slime's own state, beside each other.

        Raises:
            ArgumentError: groups were drawn, and none ever came back.
            CheckpointError: the file cannot be written.
        """
        if self.loop.step == 0 and self.loop.in_flight:
            raise ArgumentError(
                f"{ALL_SAMPLES}: expected {OBSERVE} to be called after each "
                "rollout, got no call before the first checkpoint; give this flag, and a "
                "--rollout-function-path that heeds it"
            )
        self.loop.save(_path(self.args.save, rollout_id))
        self._source.save(rollout_id)

    def load(self, rollout_id: int | None = None) -> None:
        """Restore what `save` wrote; a run that starts anew (-1) has nothing to restore.

        Raises:
            CheckpointError: a checkpoint without beliefs, or of another pool or selector.
        """
        if self.args.load is not None and rollout_id is not None and rollout_id >= 0:
            path = _path(self.args.load, rollout_id)
            common.load_beliefs(self.loop, path, "start with --finetune")
        self._source.load(rollout_id)


def observe(args: Any, all_groups: list[list[Any]], data_source: Any) -> None:
    """What slime calls after each rollout (`--rollout-all-samples-process-path`).

    Args:
        args: slime's.
        all_groups: all that were rolled out, the dropped too.
        data_source: the data source, or its method `get_samples`.

    Raises:
        ArgumentError: it is another data source; and see `SelectingDataSource.observe`.
    """
    owner = getattr(data_source, "__self__", data_source)
    common.other_half("--data-source-path", owner, SelectingDataSource).observe(all_groups)


def _check(args: Any) -> None:
    function, process = args.rollout_function_path, args.rollout_all_samples_process_path
    if process is None or function.startswith(FULLY_ASYNC):
        expected = f"{OBSERVE} and slime's own rollout function, which heeds it"
        raise common.left_out(ALL_SAMPLES, expected, f"{process} and {function}")


def _pool(dataset: Any, name: str | None) -> PromptPool:
    """slime's prompts in the order of its file, whatever it shuffles."""
    import pyarrow as pa

    if dataset is None:
        raise ArgumentError(
            "--prompt-data: expected a data set to choose from, got none; give one, without "
            "--disable-rollout-global-dataset"
        )
    common.check_names("data set", SLIME, dataset, ["origin_samples"])
    samples = dataset.origin_samples
    for sample in samples[:1]:
        common.check_names("sample", SLIME, sample, SAMPLE)
    texts = [each.prompt for each in samples]
    columns = {
        "prompt": [text if isinstance(text, str) else conversation_text(text) for text in texts],
        "answer": ["" if each.label is None else str(each.label) for each in samples],
    }
    if name is not None:
        columns["id"] = [each.metadata.get(name) for each in samples]
    return PromptPool.from_dataset(pa.table(columns))


def _path(folder: str, rollout_id: int) -> Path:
    return Path(folder) / "rollout" / f"insight_ext_{rollout_id}.pt"
