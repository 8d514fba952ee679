"""What a run writes into its folder: when and where it began, every rollout group, the beliefs."""

from __future__ import annotations

import fcntl
import json
import math
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from insight_ext.atomic_file import write_atomically
from insight_ext.beliefs.beta import BetaPosteriors
from insight_ext.beliefs.group import Group, is_success
from insight_ext.data.json_text import json_text
from insight_ext.errors import ArgumentError, InsightError
from insight_ext.plugins import need
from insight_ext.runs.facts import write_facts
from insight_ext.runs.layout import (
    ANSWERS_FILE,
    BELIEF_BINS,
    BELIEFS_FILE,
    GROUPS_FILE,
    PARTS,
    SAMPLES_FILE,
    Sample,
    answers_schema,
    beliefs_schema,
    groups_schema,
)
from insight_ext.visible_text import reason

ROWS_PER_PART = 16_384
LOCK_FILE = ".lock"


class PartFiles:
    """A Parquet data set that grows with the run: a folder of part files, ordered by step.

    Each write replaces a whole part by renaming, so a reader sees complete parts only, and a kill
    costs at most the rows that were not flushed. Files and memory stay bounded: a part is closed
    at `ROWS_PER_PART` rows.

    Args:
        folder: where the parts lie; made by the first flush.
        schema: the columns; one of them is `step`, and rows come in its order.
    """

    def __init__(self, folder: Path, schema: Any) -> None:
        self.folder = folder
        self.schema = schema
        self._open = schema.empty_table()
        self._fresh: list[Any] = []

    def append(self, columns: Mapping[str, Sequence[Any]]) -> None:
        """Add rows; they reach the disk with the next flush."""
        import pyarrow as pa

        self._fresh.append(pa.table(dict(columns), schema=self.schema))
        if len(self._open) + sum(map(len, self._fresh)) >= ROWS_PER_PART:
            self.flush()
            self._open = self.schema.empty_table()

    def flush(self) -> None:
        """Write the open part as far as it got."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not self._fresh:
            return
        self._open = pa.concat_tables([self._open, *self._fresh]).combine_chunks()
        self._fresh = []
        if not len(self._open):
            return
        part = self.folder / f"part-{self._open['step'][0].as_py():010d}.parquet"
        try:
            with room_for(self.folder):
                write_atomically(part, lambda beside: pq.write_table(self._open, beside))
        except InsightError:
            self._open, self._fresh = self.schema.empty_table(), [self._open]  # for the next flush
            raise

    def rewind(self, step: int) -> None:
        """Drop every row of this step and later ones, so that repeated steps count once."""
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        self._open, self._fresh = self.schema.empty_table(), []
        last = None
        for part in sorted(self.folder.glob(PARTS)):
            if int(part.stem.removeprefix("part-")) >= step:
                part.unlink()
            else:
                last = part
        if last is not None:
            rows = pq.read_table(last, schema=self.schema)
            rows = rows.filter(pc.field("step") < step)
            if len(rows) < ROWS_PER_PART:
                self._fresh = [rows]
                self.flush()


class SampleFile:
    """The file of sampled answers, which grows with the run, a line for each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fresh: list[Sample] = []
        self._held: set[tuple[str, bool]] = set()  # ids, and whether there is an answer's text

    def append(self, samples: Iterable[Sample]) -> None:
        """Add samples; they reach the disk with the next flush."""
        for sample in samples:
            self._fresh.append(sample)
            self._held.add((sample.id, bool(sample.completion)))

    def append_first(self, sample: Sample) -> None:
        """Add it if it says more of its prompt than all before it: an answer, or that it failed."""
        if not {(sample.id, True), (sample.id, bool(sample.completion))} & self._held:
            self.append([sample])

    def flush(self) -> None:
        """Write what is new."""
        if not self._fresh:
            return
        # Rewards are float32: 0.1, and not 0.10000000149011612.
        rows = ({**each._asdict(), "reward": float(f"{each.reward:.7g}")} for each in self._fresh)
        with room_for(self.path):
            self.path.touch()
            end = self.path.stat().st_size
            try:
                with self.path.open("a", encoding="utf-8") as file:
                    file.writelines(json_text(row) + "\n" for row in rows)
            except OSError:
                os.truncate(self.path, end)  # no half line, after which others come
                raise
        self._fresh = []

    def rewind(self, step: int) -> None:
        """Drop every sample of this step and later ones, and a line that a kill cut off."""
        self._fresh, self._held = [], set()
        if not self.path.exists():
            return
        kept = ""
        with self.path.open(encoding="utf-8") as file:
            for line in file:
                row = json.loads(line) if line.endswith("\n") else {"step": step}
                if row["step"] < step:
                    kept += line
                    self._held.add((str(row["id"]), bool(row["completion"])))
        write_atomically(self.path, lambda beside: beside.write_text(kept, encoding="utf-8"))


class RunWriter:
    """Writes a run's rolled-out groups, beliefs and samples; see `insight_ext.runs.layout`.

    Args:
        folder: the run's folder; locked until `close`, or the end of the process.
        step: rows of this step and later ones are dropped: the run will write them again.
        answers: whether `add_answers` will be called.

    Raises:
        ArgumentError: another loop writes this folder.
        InsightError: pyarrow is missing.

    Warns:
        UserWarning: the groups of an earlier run are replaced, since this one begins at step 0.
    """

    def __init__(self, folder: str | Path, step: int = 0, *, answers: bool = False) -> None:
        need("folder", "pyarrow")
        folder = Path(folder)
        self._lock = lock_folder(folder)
        self._groups = PartFiles(folder / GROUPS_FILE, groups_schema())
        self._beliefs = PartFiles(folder / BELIEFS_FILE, beliefs_schema())
        self._answers = PartFiles(folder / ANSWERS_FILE, answers_schema())
        self._samples = SampleFile(folder / SAMPLES_FILE)
        self._files: list[PartFiles | SampleFile] = [
            self._groups,
            self._beliefs,
            self._samples,
            *([self._answers] if answers else []),
        ]
        if not step and any(self._groups.folder.glob(PARTS)):
            warnings.warn(
                f"{folder}: expected no record of an earlier run, since this one begins at step 0, "
                "got one, which is replaced; resume that run, or give each run a folder of its own",
                stacklevel=2,
            )
        write_facts(folder, resumed=step > 0)
        for file in self._files:
            file.rewind(step)

    def add_groups(
        self,
        step: int,
        ids: Sequence[str],
        indices: Tensor,
        successes: Tensor,
        rollouts: Tensor,
        predicted: Tensor,
    ) -> None:
        """Record one step's groups; the tensors have shape (B,)."""
        self._groups.append(
            {
                "id": ids,
                "index": indices.tolist(),
                "step": [step] * len(ids),
                "successes": successes.tolist(),
                "rollouts": rollouts.tolist(),
                "predicted": predicted.tolist(),
            }
        )

    def add_answers(
        self, step: int, ids: Sequence[str], groups: Sequence[Group], success_threshold: float
    ) -> None:
        """Record every answer of one step's groups, `ids` those of their prompts."""
        rows: dict[str, list[Any]] = {name: [] for name in answers_schema().names}
        for name, group in zip(ids, groups, strict=True):
            size = len(group.rewards)
            unknown = [None] * size
            scored = [None if math.isnan(reward) else reward for reward in group.rewards]
            rows["id"] += [name] * size
            rows["index"] += [group.prompt] * size
            rows["step"] += [step] * size
            rows["group"] += [group.id] * size
            rows["reward"] += scored
            rows["success"] += [
                r if r is None else is_success(r, success_threshold) for r in scored
            ]
            rows["perplexity"] += group.perplexity or unknown
            rows["entropy"] += group.entropy or unknown
        self._answers.append(rows)

    def add_beliefs(self, step: int, posterior: BetaPosteriors) -> None:
        """Record the pool's beliefs after a step. Cost: one pass over the pool."""
        seen = posterior.visits > 0
        means = torch.histc(posterior.mean[seen], bins=BELIEF_BINS, min=0.0, max=1.0)
        unseen = len(posterior) - int(torch.count_nonzero(seen))
        self._beliefs.append({"step": [step], "unseen": [unseen], "means": [means.long().tolist()]})

    def add_samples(self, samples: Iterable[Sample]) -> None:
        """Record answers."""
        self._samples.append(samples)

    def add_first_sample(self, sample: Sample) -> None:
        """Record it unless there is one of its prompt, see `SampleFile.append_first`."""
        self._samples.append_first(sample)

    def flush(self) -> None:
        """Write what was recorded since the last flush."""
        for file in self._files:
            file.flush()

    def close(self) -> None:
        """Write the rest and let others write the folder."""
        try:
            self.flush()
        finally:
            self._lock.close()


@contextmanager
def room_for(path: Path) -> Iterator[None]:
    """A disk that is full, or a file that nobody may write, as one sentence.

    Raises:
        InsightError: an OSError came.
    """
    try:
        yield
    except OSError as error:
        raise InsightError(
            f"{path}: cannot write the run's record: {reason(error)}; the last checkpoint is kept; "
            "make room and resume"
        ) from error


def lock_folder(folder: Path) -> IO[str]:
    """The folder's lock file, held by this process until it is closed or the process ends.

    Raises:
        ArgumentError: somebody else holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = (folder / LOCK_FILE).open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise ArgumentError(
            f"{folder}: expected a folder that no other run writes, but one does; wait for it or "
            "choose another folder"
        ) from error
    return lock
