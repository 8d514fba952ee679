"""A pool of beliefs held in parts by the ranks of a process group."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from insight_ext.beliefs.beta import BetaPosteriors, checked_results, each_once
from insight_ext.distributed import shard_files
from insight_ext.distributed.exchange import NOTHING, Exchange, as_bytes, as_text
from insight_ext.errors import ArgumentError, CheckpointError
from insight_ext.kernel.ops import (
    Selection,
    as_subset,
    check_score,
    check_seed,
    merge_top_k,
    select_top_k,
)
from insight_ext.kernel.scores import Score, WeightedInformation


class ShardedPool:
    """One Beta belief per prompt, for pools that outgrow a machine: each rank holds its share.

    Rank r of R holds the prompts from `r * size // R` up to `(r + 1) * size // R`. A selection is
    made from each rank's share by the kernel, and the ranks' k best are merged by THE order;
    results go from the rank that rolled a prompt out to the one that holds it. Prompts are named by
    their places in the whole pool throughout.

    Every method that takes part in an exchange (the constructor, `select`, `observe`, `save`,
    `load`) is called by all ranks together. What is wrong on one of them is raised on all, and
    changes nothing on any.

    Args:
        size: prompts of the whole pool, at least one for each rank.
        prior: (alpha, beta) of a prompt never visited, two numbers.
        decay, half_life: see `BetaPosteriors`.
        group: whose ranks hold the pool; None is the default group, or this process alone where
            torch.distributed is not initialised.
        device: where this rank's beliefs live; the group's backend must take tensors there.

    Attributes:
        local: `BetaPosteriors` of this rank's prompts, the first of which is prompt `first`.
        first, size, rank, ranks: as above.

    Raises:
        ArgumentError: an argument outside its domain, or other settings on another rank.

    Determinism: selections and beliefs have the bits that one process would give them, for any
    number of ranks.

    Source: docs/sharding.md.

    Example:
        >>> pool = ShardedPool(1000, decay=0.5)   # under torchrun: 1000 / R of them on each rank
        >>> chosen = pool.select(2, seed=7).indices
        >>> pool.observe(chosen, successes=[5, 0], rollouts=8)
        >>> pool.select(1000, seed=7).indices[-2:].equal(chosen)
        True
    """

    def __init__(
        self,
        size: int,
        prior: tuple[float, float] = (1.0, 1.0),
        decay: float = 1.0,
        half_life: float | None = None,
        group: dist.ProcessGroup | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self._exchange = Exchange(group, device)
        self.rank, self.ranks = self._exchange.rank, self._exchange.ranks

        def settings() -> tuple[str, Tensor]:
            if isinstance(size, bool) or not isinstance(size, int) or size < self.ranks:
                raise ArgumentError(
                    f"size: expected an int, at least 1 for each of {self.ranks} ranks, "
                    f"got {size!r}"
                )
            if isinstance(prior, tuple) and any(isinstance(side, Tensor) for side in prior):
                raise ArgumentError("prior: expected two numbers, for all prompts, got tensors")
            self.size, self.first = size, self.rank * size // self.ranks
            count = (self.rank + 1) * size // self.ranks - self.first
            self.local = BetaPosteriors(count, prior, decay, device, half_life)
            self.settings = {
                "size": size,
                "prior": [float(side) for side in prior],
                "decay": float(decay),
                "half_life": None if half_life is None else float(half_life),
            }
            return f"{self.settings}", NOTHING

        self._exchange.together("settings", settings)

    def __len__(self) -> int:
        return self.size

    @property
    def step(self) -> int:
        """The present step, by which evidence fades; the caller advances it, on all ranks."""
        return self.local.step

    @step.setter
    def step(self, step: int) -> None:
        self.local.step = step

    def select(
        self,
        k: int,
        score: Score = WeightedInformation(),  # noqa: B008
        *,
        seed: int = 0,
        candidates: Any = None,
        exclude: Any = None,
        sorted: bool = True,
    ) -> Selection:
        """The k prompts of the whole pool whose score is largest, on every rank.

        Args:
            k, score, seed, sorted: see `select_top_k`; the same on every rank.
            candidates: int64 places in the whole pool to choose from, the same on every rank;
                all if None.
            exclude: likewise places not to choose.

        Returns:
            What `select_top_k` returns for the whole pool, on the device of the beliefs.

        Raises:
            ArgumentError: see `select_top_k`; or other arguments, or another step, elsewhere.
            BeliefError: a belief that is not finite and positive on any rank.

        Cost: the pass over this rank's share, and one collective of 12 k + 16 bytes a rank (a
            second one where k is larger than at the latest selection).
        """

        def best() -> tuple[str, Tensor]:
            if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= self.size:
                raise ArgumentError(f"k: expected 1 to the pool's {self.size} prompts, got {k!r}")
            check_seed(seed)
            check_score(score)
            chosen = self._places("candidates", candidates)
            excluded = self._places("exclude", exclude)
            said = (
                f"k={k}, {score}, seed={seed}, sorted={sorted}, step={self.step}, "
                f"candidates={_mark(chosen)}, exclude={_mark(excluded)}"
            )
            found = self._select_local(k, score, seed, chosen, excluded)
            return said, torch.cat([column.view(torch.uint8) for column in found])

        messages = self._exchange.together("select", best)
        counts = [len(message) // 12 for message in messages]  # an index and a score
        indices = [m[: 8 * n] for m, n in zip(messages, counts, strict=True)]
        scores = [m[8 * n :] for m, n in zip(messages, counts, strict=True)]
        merged = merge_top_k(
            torch.cat(indices).view(torch.int64),
            torch.cat(scores).view(torch.float32),
            k,
            seed=seed,
            sorted=sorted,
        )
        return Selection(*(column.to(self.local.alpha.device) for column in merged))

    def _places(self, name: str, values: Any) -> Tensor | None:
        """`candidates` or `exclude` as int64 places in the whole pool, on the CPU."""
        if values is None:
            return None
        places = as_subset(name, values, "cpu").cpu()
        if places.dtype != torch.int64:
            raise ArgumentError(f"{name}: expected int64 places in the pool, got {places.dtype}")
        bad = ((places < 0) | (places >= self.size)).nonzero()
        if len(bad):
            raise ArgumentError(
                f"{name}: expected indices in [0, {self.size}), "
                f"got {int(places[bad[0]])} at position {int(bad[0])}"
            )
        return places

    def _own(self, places: Tensor) -> Tensor:
        """Which of these prompts this rank holds."""
        return (places >= self.first) & (places < self.first + len(self.local))

    def _select_local(
        self, k: int, score: Score, seed: int, candidates: Tensor | None, exclude: Tensor | None
    ) -> Selection:
        """The k best of this rank's prompts, or all that are eligible."""
        alpha, beta = self.local.current()
        left = len(self.local)
        listed: dict[str, Tensor] = {}
        if exclude is not None:
            listed["exclude"] = torch.unique(exclude[self._own(exclude)] - self.first)
            left -= len(listed["exclude"])
        if candidates is not None:
            own = torch.unique(candidates[self._own(candidates)] - self.first)
            own = own[~torch.isin(own, listed.pop("exclude", own[:0]))]
            listed["candidates"], left = own, len(own)
        if not left:
            return Selection(alpha.new_empty(0, dtype=torch.int64), alpha.new_empty(0))
        listed = {name: places.to(alpha.device) for name, places in listed.items()}
        return select_top_k(
            alpha, beta, min(k, left), score, seed=seed, sorted=False, first=self.first, **listed
        )

    def observe(self, indices: Any, successes: Any, rollouts: Any) -> None:
        """Take in what this rank rolled out; every prompt's holder updates its belief.

        The same as `BetaPosteriors.observe` of all ranks' results, one rank's after the other's: a
        prompt that several ranks rolled out counts as one visit.

        Args:
            indices: this rank's, integers of shape (m,), places in the whole pool; any m, 0 too.
            successes, rollouts: see `BetaPosteriors.observe`.

        Raises:
            ObservationError: see `BetaPosteriors.observe`; names the rank.

        Cost: one collective of 24 m + 16 bytes a rank, m the largest (a second one where m is more
            than at the latest call).
        """

        def results() -> tuple[str, Tensor]:
            columns = checked_results(self.size, indices, successes, rollouts)
            return f"step={self.step}", torch.stack(columns).view(torch.uint8).flatten()

        messages = self._exchange.together("observe", results)
        everybodys = torch.cat([message.view(torch.int64).view(3, -1) for message in messages], 1)
        columns = each_once(list(everybodys[:, self._own(everybodys[0])]))
        visited, wins, tries = (column.to(self.local.alpha.device) for column in columns)
        self.local.add(visited - self.first, wins, tries)

    def save(self, folder: str | Path) -> None:
        """Replaces the checkpoint in a folder that all ranks share.

        Each rank writes its own file of a new version; once all are on the disk, rank 0 makes that
        version the checkpoint. Killed at any moment, or with no space left, the old one is whole.

        Raises:
            CheckpointError: a file that could not be written; the old checkpoint is untouched.

        Cost: 16 bytes a prompt on the disk, twice that while the old version is there too.
        """
        folder, together = Path(folder), self._exchange.together

        def version() -> tuple[str, Tensor]:
            return "", as_bytes(shard_files.next_version(folder))

        chosen = as_text(together("version", version)[0])  # rank 0's

        def shard() -> tuple[str, Tensor]:
            columns = {name: getattr(self.local, name).cpu() for name in shard_files.COLUMNS}
            shard_files.write_shard(folder, chosen, self.rank, self.settings, self.first, columns)
            return f"step={self.step}", torch.tensor([self.first]).view(torch.uint8)

        def commit() -> tuple[str, Tensor]:
            if self.rank == 0:
                shard_files.commit(
                    folder, shard_files.Manifest(self.settings, self.step, chosen, starts)
                )
            return "", NOTHING

        try:
            starts = [int(first.view(torch.int64)) for first in together("shard", shard)]
            together("commit", commit)
        except Exception:
            if not shard_files.is_checkpoint(folder, chosen):
                shard_files.remove(folder, chosen, self.rank)
            raise

    def load(self, folder: str | Path) -> None:
        """Restores a checkpoint that any number of ranks wrote; each reads what it will hold.

        Raises:
            CheckpointError: none there, other settings, or a truncated or foreign file; no belief
                of any rank was changed.
        """
        folder = Path(folder)
        step, parts = 0, list[tuple[int, dict[str, Tensor]]]()

        def read() -> tuple[str, Tensor]:
            nonlocal step, parts
            manifest = shard_files.read_manifest(folder)
            for key, value in self.settings.items():
                if manifest.settings.get(key) != value:
                    raise CheckpointError(
                        f"{folder}: expected {key} {value}, the checkpoint has "
                        f"{manifest.settings.get(key)}; resume with the settings of the run that "
                        "wrote it"
                    )
            end = self.first + len(self.local)
            step, parts = manifest.step, shard_files.read_parts(folder, manifest, self.first, end)
            return f"{manifest}", NOTHING

        self._exchange.together("load", read, CheckpointError)
        for first, columns in parts:
            for name, values in columns.items():
                place = first - self.first
                getattr(self.local, name)[place : place + len(values)].copy_(values)
        self.step = step


def _mark(places: Tensor | None) -> str:
    """A list of prompts in short, for comparison and to be read."""
    if places is None:
        return "None"
    mark = hashlib.blake2b(places.numpy().tobytes(), digest_size=8).hexdigest()
    return f"{len(places)} prompts ({mark})"
