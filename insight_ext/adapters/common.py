"""What the adapters share: what is asked of a trainer, and a loop with the trainer's settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import Any

from insight_ext.beliefs.pool import PromptPool
from insight_ext.errors import ArgumentError, CheckpointError
from insight_ext.loop import SelectionLoop
from insight_ext.loop.loop import Dealt
from insight_ext.plugins import check_options


def check_names(what: str, trainer: str, owner: Any, names: Iterable[str]) -> None:
    """See that an object of a trainer has the names that its adapter relies on.

    Args:
        what: the object, for the message.
        trainer: of which it is.
        owner: the object.
        names: of its attributes; a dot leads into a nested one.

    Raises:
        ArgumentError: some are missing; all of those are named.

    Example:
        >>> check_names("data source", "slime", 1.5, ["real", "real.imag", "buffer"])
        Traceback (most recent call last):
        ...
        insight_ext.errors.ArgumentError: data source: expected slime's with the names that \
selection needs, got a float without buffer; use a release of slime that docs/trainers.md lists
    """
    missing = []
    for name in names:
        try:
            attrgetter(name)(owner)
        except AttributeError:
            missing.append(name)
    if missing:
        kind = getattr(owner, "__name__", f"a {type(owner).__name__}")
        raise ArgumentError(
            f"{what}: expected {trainer}'s with the names that selection needs, got {kind} without "
            f"{', '.join(missing)}; use a release of {trainer} that docs/trainers.md lists"
        )


def imported_from(trainer: str, module: str, name: str) -> Any:
    """What a trainer has under this name.

    Raises:
        ArgumentError: there is no such module, or no such name in it.
    """
    try:
        found = import_module(module)
    except ImportError as error:
        raise ArgumentError(
            f"{trainer}: expected the module {module}, got: {error}; use a release of {trainer} "
            "that docs/trainers.md lists"
        ) from error
    check_names(module, trainer, found, [name])
    return getattr(found, name)


def make_loop(
    trainer: str, pool: PromptPool, options: Mapping[str, Any], **said: Any
) -> SelectionLoop:
    """A loop from what a user wrote in a trainer's configuration.

    Args:
        trainer: its name.
        pool: its prompts.
        options: of `SelectionLoop`, by their names.
        said: what the trainer says where the user does not; what it says of `rollouts` holds.

    Raises:
        ArgumentError: an unknown option, another number of rollouts, a value outside its domain.
    """
    check_options("selection", SelectionLoop, options)
    rollouts = said["rollouts"]
    if options.get("rollouts", rollouts) != rollouts:
        raise ArgumentError(
            f"rollouts: expected {rollouts}, as in {trainer}'s own settings, got "
            f"{options['rollouts']}; set it there alone"
        )
    return SelectionLoop(pool, **{**said, **options})


def deal_exactly(loop: SelectionLoop, k: int, *, step: int | None = None) -> list[Dealt]:
    """The next k prompts, for a trainer that cannot take fewer.

    Where a step was dealt the whole pool, the prompts come again, as those of the step after it.

    Args:
        loop: deals them.
        k: how many, 0 or more.
        step: see `SelectionLoop.deal`.

    Example:
        >>> from insight_ext import Prompt
        >>> pool = PromptPool(Prompt(name, name, "") for name in "ab")
        >>> loop = SelectionLoop(pool, "file_order")
        >>> [dealt.prompt.id for dealt in deal_exactly(loop, 4)]
        ['a', 'b', 'a', 'b']
    """
    step = loop.step if step is None else step
    dealt: list[Dealt] = []
    while len(dealt) < k:
        dealt += loop.deal(min(k - len(dealt), len(loop.pool)), step=step)
        step += 1
    return dealt


def report_prompt(loop: SelectionLoop, position: int, rewards: Any) -> None:
    """Report for a trainer that says which prompt a result belongs to, and not which group.

    It is that of the prompt's oldest group; where all of them were closed meanwhile, it is counted
    as that of a prompt that was not dealt.

    Raises:
        ObservationError: see `SelectionLoop.report`.
    """
    group = loop.group_of(position)
    if group is None:
        loop.observe(position, rewards)
    else:
        loop.report(group, rewards)


def outcome_of(entries: Mapping[str, Any], name: str | None, setting: str) -> Any:
    """The reward that says whether an answer is correct, of one that has several entries.

    Args:
        entries: of the reward.
        name: of the entry.
        setting: where a user names it, for the message.

    Raises:
        ArgumentError: no such entry.

    Example:
        >>> outcome_of({"accuracy": 1.0, "brevity": 0.2}, "accuracy", "outcome")
        1.0
    """
    if name is None or name not in entries:
        raise ArgumentError(
            f"{setting}: expected the entry of a reward that says whether an answer is correct, "
            f"one of {', '.join(map(str, entries))}, got {name!r}; name it there"
        )
    return entries[name]


def load_beliefs(loop: SelectionLoop, path: Path, otherwise: str) -> None:
    """Restore what belongs to a trainer's checkpoint.

    Args:
        loop: to be restored.
        path: where its file should be.
        otherwise: what to do to go on from the weights alone.

    Raises:
        CheckpointError: no such file, and see `SelectionLoop.load`.
    """
    if not path.is_file():
        raise CheckpointError(
            f"{path}: expected the beliefs of the run that wrote this checkpoint, got no file; "
            f"to go on from these weights with new beliefs, {otherwise}"
        )
    loop.load(path)
