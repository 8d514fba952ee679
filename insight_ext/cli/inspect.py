"""`python -m insight_ext inspect`: what a checkpoint keeps of the selection."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import Tensor

from insight_ext.beliefs.beta import BetaPosteriors
from insight_ext.beliefs.pool_change import saved_pool
from insight_ext.cli.drawing import beliefs_text
from insight_ext.errors import ArgumentError, CheckpointError, InsightError
from insight_ext.loop.checkpoint import read_checkpoint, selection_in

BINS = 20
NAMED = 5  # prompts that a line lists
# Entries of a strategy's state that are told in words.
TOLD = {"strategy", "seed", "selections", "pending", "posterior"}


def inspect(path: Path, rows: int = 5, console: Console | None = None) -> None:
    """Print what a checkpoint says about pool, strategy, beliefs and groups that are out.

    Args:
        path: of the checkpoint.
        rows: prompts of the strongest and of the weakest evidence to list, 0 or more.
        console: where to.

    Raises:
        ArgumentError: rows below 0.
        CheckpointError: a file that is missing, truncated, of another kind or format.
        BeliefError: a belief that is not finite or not positive.
    """
    if rows < 0:
        raise ArgumentError(f"rows: expected 0 or more, got {rows}")
    content = read_checkpoint(path)
    state = selection_in(content, path)
    try:
        ids, _ = saved_pool(state["pool"])
        facts = dict(_facts(content, state, ids))
        beliefs = _beliefs(state["selector"])
    except InsightError:
        raise
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise CheckpointError(
            f"{path}: the selection's state is damaged: {error!r}; take another checkpoint"
        ) from error
    console = console or Console()
    console.print(Text(str(path), style="bold"))
    width = max(map(len, facts))
    for name, text in facts.items():
        console.print(Text(f"{name:{width}}  {text}"), soft_wrap=True)
    if beliefs is None:
        console.print(Text("the strategy keeps no beliefs"))
        return
    seen = beliefs.visits > 0
    counts = torch.histc(beliefs.mean[seen], bins=BINS, min=0.0, max=1.0).long().tolist()
    unseen = len(beliefs) - int(torch.count_nonzero(seen))
    console.print(Text(beliefs_text("in the checkpoint", unseen, counts)))
    for name, largest in (("strongest", True), ("weakest", False)):
        if rows and unseen < len(beliefs):
            console.print(_evidence(f"{name} evidence", beliefs, ids, rows, largest))


def _facts(
    content: dict[str, Any], state: dict[str, Any], ids: list[str]
) -> Iterator[tuple[str, str]]:
    """Pairs of a name and what there is to say."""
    selector, loader = state["selector"], state["loader"]
    version = content["pytorch-lightning_version"]
    at = f"epoch {content.get('epoch', '?')}, step {content.get('global_step', 0):,}"
    yield "checkpoint", f"{at}, of Lightning {version}; selection in format {state['format']}"
    yield "pool", f"{len(ids):,} prompts, fingerprint {state['pool']['fingerprint']}"
    yield "strategy", ", ".join([str(selector.get("strategy", "an own one")), *_settings(selector)])
    dealt = f"{loader['drawn']:,} batches dealt, {loader['observed']:,} observed"
    if "selections" in selector:
        dealt = f"{selector['selections']:,}; {dealt}"
    yield "selections", dealt
    if "rollouts_generated" in state:
        seconds = f" in {state['train_seconds']:,.0f} seconds of training"
        yield "rollouts", f"{state['rollouts_generated']:,} generated{seconds}"
    pending = [ids[i] for selection in selector.get("pending", ()) for i in selection.tolist()]
    yield "in flight", _listed(pending, "prompts")
    yield "groups out", _ledger(state["ledger"], ids)
    yield "filter", _filter(state["filter"])


def _settings(selector: dict[str, Any]) -> Iterator[str]:
    """What the strategy's state says about its settings, and what else it keeps."""
    if "seed" in selector:
        yield f"seed {selector['seed']}"
    posterior = selector.get("posterior")
    if posterior is not None:
        own = any(isinstance(side, Tensor) for side in posterior["prior"])
        yield "a prior for each prompt" if own else f"prior {tuple(posterior['prior'])}"
        yield f"decay {posterior['decay']}"
        yield f"half-life {posterior['half_life'] or 'none'}"
    for name in sorted(selector.keys() - TOLD):
        yield f"{name} {_short(selector[name])}"


def _ledger(ledger: dict[str, Any] | None, ids: list[str]) -> str:
    if ledger is None:
        return "none: results come with their step"
    out = _listed([ids[row[1]] for row in ledger["open"]], "prompts")
    steps = sorted({row[2] for row in ledger["open"]})
    dealt = f", dealt in steps {steps[0]:,} to {steps[-1]:,}" if steps else ""
    counts = f"{ledger['incomplete']:,} closed incomplete, {ledger['duplicates']:,} duplicates"
    return f"{out}{dealt}; {counts}"


def _filter(saved: dict[str, Any] | None) -> str:
    if saved is None:
        return "none"
    settings = ", ".join(f"{name} {value}" for name, value in saved["settings"].items())
    text = f"{saved['kind']} ({settings})" if settings else str(saved["kind"])
    values, positions = saved["values"], saved["positions"]
    text += f", {values['steps']:,} steps, {values['rollouts_spent']:,} rollouts"
    remembered = [f", {len(columns[0]):,} prompts remembered" for columns in positions.values()]
    return text + "".join(remembered)


def _short(value: Any) -> str:
    """A value of a state in a few characters."""
    if isinstance(value, Tensor):
        return f"of shape {tuple(value.shape)}"
    if isinstance(value, (dict, list, tuple)):
        return f"of {len(value)} entries"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _listed(names: list[str], what: str) -> str:
    if not names:
        return "none"
    shown = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
    return f"{len(names):,} {what} ({shown})"


def _beliefs(selector: dict[str, Any]) -> BetaPosteriors | None:
    saved = selector.get("posterior")
    if saved is None:
        return None
    first, second = saved["prior"]
    beliefs = BetaPosteriors(
        len(saved["alpha"]), (first, second), saved["decay"], half_life=saved["half_life"]
    )
    beliefs.load_state_dict(saved)
    return beliefs


def _evidence(
    title: str, beliefs: BetaPosteriors, ids: list[str], rows: int, largest: bool
) -> Table:
    """The visited prompts of the most or the least evidence."""
    visited = (beliefs.visits > 0).nonzero()[:, 0]
    alpha, beta = beliefs.current(visited)
    best = torch.argsort(alpha + beta, descending=largest, stable=True)[:rows]
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("prompt", no_wrap=True, overflow="ellipsis", max_width=32)
    for name in ("success", "alpha", "beta", "visits", "last visit"):
        table.add_column(name, justify="right")
    for at in best.tolist():
        index, a, b = int(visited[at]), float(alpha[at]), float(beta[at])
        visits, latest = int(beliefs.visits[index]), int(beliefs.latest[index])
        table.add_row(
            Text(ids[index]), f"{a / (a + b):.2f}", f"{a:.1f}", f"{b:.1f}", f"{visits}", f"{latest}"
        )
    return table
