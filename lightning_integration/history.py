"""What a run leaves behind beside its checkpoints, and takes up again when it is resumed."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from torch import Tensor

from insight_ext import BetaPosteriors, Prompt
from lightning_integration.trainer import loggers, rank_zero_only

ROWS_PER_PART = 16_384
BELIEF_BINS = 20

GROUPS = pa.schema(
    {
        "id": pa.string(),
        "index": pa.int64(),
        "step": pa.int64(),
        "successes": pa.int32(),
        "rollouts": pa.int32(),
        "predicted": pa.float32(),
    }
)
BELIEFS = pa.schema(
    {"step": pa.int64(), "unseen": pa.int64(), "means": pa.list_(pa.int64(), BELIEF_BINS)}
)


class PartFiles:
    """A Parquet data set that grows with the run: a folder of part files, ordered by step.

    Each write replaces a whole part by renaming, so a reader sees complete parts only, and a kill
    costs at most the rows that were not flushed. Files and memory stay bounded: a part is closed
    at `ROWS_PER_PART` rows.

    Args:
        folder: where the parts lie; made by the first flush.
        schema: the columns; one of them is `step`, and rows come in its order.
    """

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self.folder = folder
        self.schema = schema
        self._open = schema.empty_table()
        self._fresh: list[pa.Table] = []

    def append(self, columns: Mapping[str, Sequence[Any]]) -> None:
        """Add rows; they reach the disk with the next flush."""
        self._fresh.append(pa.table(dict(columns), schema=self.schema))
        if len(self._open) + sum(map(len, self._fresh)) >= ROWS_PER_PART:
            self.flush()
            self._open = self.schema.empty_table()

    def flush(self) -> None:
        """Write the open part as far as it got."""
        if not self._fresh:
            return
        self._open = pa.concat_tables([self._open, *self._fresh]).combine_chunks()
        self._fresh = []
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / f"part-{self._open['step'][0].as_py():010d}.parquet"
        unfinished = part.with_name(f".{part.name}")
        pq.write_table(self._open, unfinished)
        unfinished.replace(part)

    def rewind(self, step: int) -> None:
        """Drop every row of this step and later ones, so that repeated steps count once."""
        self._open, self._fresh = self.schema.empty_table(), []
        last = None
        for part in sorted(self.folder.glob("part-*.parquet")):
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


class RunHistory:
    """The rolled-out groups of a run (`groups.parquet/`) and its beliefs (`beliefs.parquet/`).

    A row of groups is one prompt's visit: its id and position, the step, successes of rollouts, and
    the success rate predicted before the visit (NaN where the strategy predicts none). A row of
    beliefs is the pool after a step: prompts never visited, and the number of visited prompts whose
    posterior mean falls in each of `BELIEF_BINS` equal bins of [0, 1].

    Args:
        folder: the run's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._groups = PartFiles(folder / "groups.parquet", GROUPS)
        self._beliefs = PartFiles(folder / "beliefs.parquet", BELIEFS)

    def add_groups(
        self,
        step: int,
        prompts: Sequence[Prompt],
        indices: Tensor,
        successes: Tensor,
        rollouts: Tensor,
        predicted: Tensor,
    ) -> None:
        """Record one step's groups; the tensors have shape (B,)."""
        self._groups.append(
            {
                "id": [prompt.id for prompt in prompts],
                "index": indices.tolist(),
                "step": [step] * len(prompts),
                "successes": successes.tolist(),
                "rollouts": rollouts.tolist(),
                "predicted": predicted.tolist(),
            }
        )

    def add_beliefs(self, step: int, posterior: BetaPosteriors) -> None:
        """Record the pool's beliefs after a step. Cost: one pass over the pool."""
        seen = posterior.visits > 0
        means = torch.histc(posterior.mean[seen], bins=BELIEF_BINS, min=0.0, max=1.0)
        unseen = len(posterior) - int(torch.count_nonzero(seen))
        self._beliefs.append({"step": [step], "unseen": [unseen], "means": [means.long().tolist()]})

    def flush(self) -> None:
        """Write what was recorded since the last flush."""
        self._groups.flush()
        self._beliefs.flush()

    def rewind(self, step: int) -> None:
        """Forget this step and later ones; 0 forgets everything."""
        self._groups.rewind(step)
        self._beliefs.rewind(step)


class MetricsFile(loggers.Logger):
    """Logs to `metrics.csv`, in the format of Lightning's CSVLogger, and survives a resume.

    CSVLogger deletes the file of the run that it resumes. This one appends, and after
    `start_training(resumed=True)` drops the rows that the resumed run writes again: those of the
    next step logged and later ones, left by a run that was killed after its last checkpoint.

    Args:
        folder: the run's folder.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self.path = Path(folder) / "metrics.csv"
        self._columns: list[str] | None = None
        self._repeats = False

    @property
    def save_dir(self) -> str:
        return str(self.path.parent)

    @property
    def name(self) -> str:
        return ""

    @property
    def version(self) -> str:
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Settings are in the run's config.yaml."""

    @rank_zero_only
    def start_training(self, *, resumed: bool) -> None:
        """Make room for a run: a new one starts the file anew."""
        self._columns = None
        self._repeats = resumed
        if not resumed:
            self.path.unlink(missing_ok=True)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append one row; a metric not logged before adds a column."""
        row = {**metrics, "step": 0 if step is None else step}
        if self._columns is None or set(row) - set(self._columns):
            rows = self._rows()
            if self._repeats:
                rows = [old for old in rows if int(old["step"]) < row["step"]]
                self._repeats = False
            self._columns = sorted(set(row).union(*rows[:1]))
            self._rewrite(rows)
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, self._columns).writerow(row)

    def _rows(self) -> list[dict[str, str]]:
        if not self.path.exists():
            return []
        with self.path.open(newline="") as file:
            return list(csv.DictReader(file))

    def _rewrite(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_name(f".{self.path.name}")
        with unfinished.open("w", newline="") as file:
            writer = csv.DictWriter(file, self._columns)
            writer.writeheader()
            writer.writerows(rows)
        unfinished.replace(self.path)
