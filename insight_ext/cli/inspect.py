"""`insight-ext inspect`: what a checkpoint keeps of the selection."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from textwrap import wrap
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import Tensor

from insight_ext.beliefs.beta import BetaPosteriors
from insight_ext.beliefs.pool import PromptPool
from insight_ext.beliefs.pool_change import saved_pool
from insight_ext.cli.drawing import beliefs_text
from insight_ext.cli.logs import read_pool
from insight_ext.cli.tables import check_output, hand_over
from insight_ext.data.json_text import plain_numbers
from insight_ext.errors import ArgumentError, CheckpointError, InsightError
from insight_ext.loop.checkpoint import read_selection
from insight_ext.loop.choice import take_over
from insight_ext.selectors import SELECTORS, BeliefSelector, make_selector
from insight_ext.visible_text import visible_text

BINS = 20
WIDTH = 80
NAMED = 5  # prompts that a line lists
# Entries of a strategy's state that say nothing to a reader.
TOLD = {"step", "dealt", "unseen", "ranking", "before", "metrics"}


def run(options: argparse.Namespace) -> None:
    """Read the checkpoint, and the prompts if they are given; hand the beliefs over if asked."""
    check_output(options)
    pool = None if options.pool is None else read_pool(options.pool, options.field)

    def show() -> None:
        inspect(options.checkpoint, options.rows, pool=pool, strategy=options.strategy)

    if options.json or options.output:
        hand_over(options, belief_columns(options.checkpoint), show)
    else:
        show()


def belief_columns(path: Path) -> dict[str, list[Any]]:
    """What a checkpoint knows of each prompt, in the order of the pool, as columns of a table.

    Raises:
        ArgumentError: the strategy keeps no beliefs.
        CheckpointError, BeliefError: see `inspect`.
    """
    _, state = read_selection(path)
    with _damage_told(path):
        ids, selector = saved_pool(state["pool"])[0], state["parts"]["selector"]
        beliefs = _beliefs(selector)
    if beliefs is None:
        raise ArgumentError(
            f"{path}: expected a strategy that keeps beliefs, got {selector['kind']}; leave --json "
            "and --output out"
        )
    alpha, beta = beliefs.current()
    return {
        "id": list(ids),
        "visits": beliefs.visits.tolist(),
        "success": plain_numbers(alpha / (alpha + beta)),
        "alpha": plain_numbers(alpha),
        "beta": plain_numbers(beta),
    }


def inspect(
    path: Path,
    rows: int = 5,
    console: Console | None = None,
    *,
    pool: PromptPool | None = None,
    strategy: str | None = None,
) -> None:
    """Print what a checkpoint says about pool, strategy, beliefs and groups in flight, and why.

    Args:
        path: of the checkpoint.
        rows: prompts to list of each kind, 0 or more: those that would be dealt next with the
            strategy's reasons, those of the strongest evidence and those of the weakest.
        console: where to.
        pool: the prompts, to show their texts beside their ids, and where the strategy needs them
            to say what it would deal next.
        strategy: import path of your own strategy, for the same. One that only the checkpoint names
            is not imported: a file that somebody sent must not run code.

    Raises:
        ArgumentError: rows below 0, a pool of other prompts, a strategy that is none.
        CheckpointError: a file that is missing, truncated, of another kind or format.
        BeliefError: a belief that is not finite or not positive.
    """
    if rows < 0:
        raise ArgumentError(f"rows: expected 0 or more, got {rows}")
    content, state = read_selection(path)
    with _damage_told(path):
        ids, _ = saved_pool(state["pool"])
        facts = dict(_facts(content, state, ids))
        beliefs = _beliefs(state["parts"]["selector"])
        next_ones = _next(state, ids, rows, pool, strategy)
        called = partial(_called, ids, pool)
    console = console or Console()
    console.print(Text(visible_text(str(path)), style="bold"))
    width = max(map(len, facts))
    for name, text in facts.items():
        head, indent = f"{name:{width}}  ", " " * (width + 2)
        lines = wrap(
            visible_text(text), WIDTH - width - 2, break_long_words=False, break_on_hyphens=False
        )
        for at, line in enumerate(lines):
            console.print(Text((indent if at else head) + line), soft_wrap=True)
    console.print(next_ones)
    if beliefs is None:
        console.print(Text("the strategy keeps no beliefs"))
        return
    seen = beliefs.visits > 0
    counts = torch.histc(beliefs.mean[seen], bins=BINS, min=0.0, max=1.0).long().tolist()
    unseen = len(beliefs) - int(torch.count_nonzero(seen))
    console.print(Text(beliefs_text("in the checkpoint", unseen, counts)))
    for name, largest in (("strongest", True), ("weakest", False)):
        if rows and unseen < len(beliefs):
            console.print(_evidence(f"{name} evidence", beliefs, called, rows, largest))


@contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    """A CheckpointError where a state is not what it should be."""
    try:
        yield
    except InsightError:
        raise
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise CheckpointError(
            f"{path}: the selection's state is damaged: {error!r}; take another checkpoint"
        ) from error


def _next(
    state: dict[str, Any], ids: list[str], rows: int, pool: PromptPool | None, strategy: str | None
) -> Table | Text:
    """What the strategy would choose next with its reasons, or why that is not told."""
    if pool is not None and pool.fingerprint != state["pool"]["fingerprint"]:
        raise ArgumentError(
            f"pool: expected the one of the checkpoint, {state['pool']['fingerprint']}, got "
            f"{pool.fingerprint}; give the file that the run read"
        )
    made = state["made"]
    name = strategy or (made["selector"] if made else None)
    if name is None or (name not in SELECTORS and strategy is None):
        return Text("what it would choose next: give your own strategy with --strategy")
    try:
        options = {"seed": state["parts"]["selector"]["settings"].get("seed", 0)}
        options |= made["options"] if made else {}
        selector = make_selector(name, len(ids), pool=pool, **options)
    except ArgumentError as error:
        if pool is not None:
            raise
        return Text(f"what it would choose next: give the prompts with --pool ({error})")
    take_over("selector", selector, "rollouts", state["settings"]["rollouts"])
    selector.load_state_dict(state["parts"]["selector"])
    flying = state["parts"]["flights"]["positions"]["rows"][0][:, 0].unique()
    wanted = min(rows, len(ids) - len(flying))
    if not (wanted and isinstance(selector, BeliefSelector)):
        return Text("")
    chosen = selector.select(wanted, step=state["values"]["step"], exclude=flying)
    reasons = selector.explain(chosen)
    table = _table("what it would choose next", *(name.replace("_", " ") for name in reasons))
    for at, row in zip(chosen.tolist(), zip(*reasons.values(), strict=True), strict=True):
        table.add_row(_called(ids, pool, at), *(f"{value.item():.3g}" for value in row))
    return table


def _called(ids: list[str], pool: PromptPool | None, at: int) -> Text:
    """What a table calls a prompt: its id, and its text if the prompts are there."""
    text = "" if pool is None else f"  {' '.join(pool[at].prompt.split())}"
    return Text(visible_text(ids[at] + text))


def _facts(
    content: dict[str, Any], state: dict[str, Any], ids: list[str]
) -> Iterator[tuple[str, str]]:
    """Pairs of a name and what there is to say."""
    parts, totals = state["parts"], state["parts"]["totals"]["values"]
    if "pytorch-lightning_version" in content:
        at = f"epoch {content.get('epoch', '?')}, {content.get('global_step', 0):,} steps"
        version = content["pytorch-lightning_version"]
        yield "checkpoint", f"{at}, of Lightning {version}; selection in format {state['format']}"
    else:
        yield "checkpoint", f"of a SelectionLoop, in format {state['format']}"
    yield "pool", f"{len(ids):,} prompts, fingerprint {state['pool']['fingerprint']}"
    yield "strategy", ", ".join([parts["selector"]["kind"], *_settings(parts["selector"])])
    yield "loop", ", ".join(f"{name} {value}" for name, value in state["settings"].items())
    yield "steps", f"{state['values']['step']:,}"
    seconds = content.get("train_seconds")
    spent = "" if seconds is None else f" in {seconds:,.0f} seconds of training"
    unscored = f", {totals['unscored']:,} of them not scored" if totals["unscored"] else ""
    yield "rollouts", f"{totals['rollouts']:,} generated{spent}{unscored}"
    yield "in flight", _in_flight(parts["flights"], ids)
    yield "filter", _filter(parts["filter"])


def _settings(selector: dict[str, Any]) -> Iterator[str]:
    """What the strategy's state says about its settings, and what else it keeps."""
    saved = dict(selector["settings"])
    yield f"seed {saved.pop('seed', 'none')}"
    posterior = selector["parts"].get("posterior")
    if posterior is not None:
        settings = dict(posterior["settings"])
        kind = settings.pop("prior_kind")
        prior = settings.pop("prior", posterior["values"].get("prior"))
        yield kind if prior is None else "{} ({:.4g}, {:.4g})".format(kind, *prior)
        saved |= settings
    for name, value in saved.items():
        yield f"{name.replace('_', ' ')} {_short(value)}"
    for section in ("per_prompt", "positions", "values"):
        for name, value in selector[section].items():
            if name not in TOLD:
                yield f"{name} {_short(value[0] if section == 'positions' else value)}"


def _in_flight(saved: dict[str, Any], ids: list[str]) -> str:
    rows = saved["positions"]["rows"][0].tolist()
    steps = sorted({row[2] for row in rows})
    dealt = f", dealt in steps number {steps[0]:,} to {steps[-1]:,}" if steps else ""
    counts = saved["values"]
    told = f"{counts['incomplete']:,} closed incomplete, {counts['duplicates']:,} duplicates"
    return f"{_listed([ids[row[0]] for row in rows], 'groups')}{dealt}; {told}"


def _filter(saved: dict[str, Any] | None) -> str:
    if saved is None:
        return "none"
    settings = ", ".join(f"{name} {value}" for name, value in saved["settings"].items())
    text = f"{saved['kind']} ({settings})" if settings else str(saved["kind"])
    values = saved["values"]
    text += f", {values['steps']:,} steps, {values['rollouts_spent']:,} rollouts"
    memory = saved["positions"].get("prompts")
    return text if memory is None else f"{text}, {len(memory[0]):,} prompts remembered"


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
    saved = selector["parts"].get("posterior")
    if saved is None:
        return None
    settings, shared = saved["settings"], saved["parts"]["shared"]
    prior = saved["of_pool"].get("prior") or settings.get("prior")
    kinds = None
    if shared is not None:  # prompts of a kind have the same counts behind their prior
        counts = torch.stack(tuple(shared["per_prompt"].values()), dim=1)
        kinds = torch.unique(counts, dim=0, return_inverse=True)[1]
    beliefs = BetaPosteriors(
        len(saved["per_prompt"]["alpha"]),
        "empirical" if prior is None else tuple(prior),
        settings["decay"],
        half_life=settings["half_life"],
        kinds=kinds,
    )
    beliefs.load_state_dict(saved)
    return beliefs


def _evidence(
    title: str, beliefs: BetaPosteriors, called: Callable[[int], Text], rows: int, largest: bool
) -> Table:
    """The visited prompts of the most or the least evidence."""
    visited = (beliefs.visits > 0).nonzero()[:, 0]
    alpha, beta = beliefs.current(visited)
    best = torch.argsort(alpha + beta, descending=largest, stable=True)[:rows]
    table = _table(title, "success", "alpha", "beta", "visits", "last step")
    for at in best.tolist():
        index, a, b = int(visited[at]), float(alpha[at]), float(beta[at])
        visits, latest = int(beliefs.visits[index]), int(beliefs.latest[index])
        table.add_row(
            called(index),
            f"{a / (a + b):.2f}",
            f"{a:.1f}",
            f"{b:.1f}",
            f"{visits}",
            f"{latest - 1}",
        )
    return table


def _table(title: str, *columns: str) -> Table:
    """A table of prompts, empty."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("prompt", no_wrap=True, overflow="ellipsis", max_width=48)
    for name in columns:
        table.add_column(name, justify="right")
    return table
