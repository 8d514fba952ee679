"""What the adapters share: what is asked of a trainer, and a loop with the trainer's settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar

from insight_ext.beliefs.pool import PromptPool
from insight_ext.errors import ArgumentError, CheckpointError, ObservationError
from insight_ext.loop import GroupResult, SelectionLoop
from insight_ext.loop.loop import Dealt
from insight_ext.plugins import check_options

T = TypeVar("T")
OWN = {"filter", "filter_options", "ranks"}  # of the loop's options, the trainer's own


def check_names(what: str, trainer: str, owner: Any, names: Iterable[str]) -> None:
    """See that an object of a trainer has the names that its adapter relies on.

    Args:
        what: the object, for the message.
        trainer: of which it is.
        owner: the object.
        names: of its attributes; a dot leads into a nested one.

    Raises:
        ArgumentError: some are missing; all of those are named.

    Examples:
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


def check_size(trainer: str, where: str, prompts: int, needed: int, setting: str) -> None:
    """See that there are as many prompts as a trainer asks for at once.

    Args:
        trainer: its name.
        where: a user names the prompts.
        prompts: how many there are.
        needed: how many are asked for.
        setting: what says so.

    Raises:
        ArgumentError: there are fewer.

    Examples:
        >>> check_size("slime", "--prompt-data", 7, 8, "--rollout-batch-size")
        Traceback (most recent call last):
        ...
        insight_ext.errors.ArgumentError: --prompt-data: expected 8 prompts or more, which slime \
asks for at once, got 7; set a smaller --rollout-batch-size
    """
    if prompts < needed:
        raise ArgumentError(
            f"{where}: expected {needed} prompts or more, which {trainer} asks for at once, got "
            f"{prompts}; set a smaller {setting}"
        )


def check_setting(name: str, got: object, expected: object, otherwise: str) -> None:
    """See that one of a trainer's own settings is as selection needs it.

    Raises:
        ArgumentError: it is not; `otherwise` says why, and what to do.

    Examples:
        >>> check_setting("workers", 8, 0, "they would choose ahead; set it so")
        Traceback (most recent call last):
        ...
        insight_ext.errors.ArgumentError: workers: expected 0, got 8; they would choose ahead; \
set it so
    """
    if got != expected:
        raise ArgumentError(f"{name}: expected {expected}, got {got}; {otherwise}")


def left_out(setting: str, expected: str, got: object) -> ArgumentError:
    """The error of two settings of which one was given without the other.

    Examples:
        >>> raise left_out("--data-source-path", "SelectingDataSource", None)
        Traceback (most recent call last):
        ...
        insight_ext.errors.ArgumentError: --data-source-path: expected SelectingDataSource, got \
None, with which no result reaches the beliefs; give both settings or none
    """
    return ArgumentError(
        f"{setting}: expected {expected}, got {got}, with which no result reaches the beliefs; "
        "give both settings or none"
    )


def other_half(setting: str, found: Any, kind: type[T]) -> T:
    """What another setting should have brought, see `left_out`.

    Args:
        setting: its name.
        found: what is there.
        kind: of what should be there.

    Raises:
        ArgumentError: it is of another kind.
    """
    if not isinstance(found, kind):
        expected = f"{kind.__module__}.{kind.__name__}"
        raise left_out(setting, expected, f"a {type(found).__name__}")
    return found


def settings(where: str, given: Any) -> dict[str, Any]:
    """What a user wrote under this name in a trainer's configuration.

    Raises:
        ArgumentError: it is something else than settings by their names.

    Examples:
        >>> settings("data.insight", "mopps")
        Traceback (most recent call last):
        ...
        insight_ext.errors.ArgumentError: data.insight: expected settings by name, such as \
{selector: insight}, got 'mopps'; write them so
    """
    if not isinstance(given, Mapping):
        raise ArgumentError(
            f"{where}: expected settings by name, such as {{selector: insight}}, got "
            f"{given!r:.80}; write them so"
        )
    return dict(given)


def make_loop(
    trainer: str, pool: PromptPool, options: Mapping[str, Any], per_step: int | None, **said: Any
) -> SelectionLoop:
    """A loop from what a user wrote in a trainer's configuration.

    Args:
        trainer: its name.
        pool: its prompts.
        options: of `SelectionLoop`, by their names.
        per_step: prompts of a step, where the trainer says so beforehand; a run that is resumed
            with another number warns (`SelectionLoop.told`).
        said: what the trainer says where the user does not; what it says of `rollouts` holds.

    Raises:
        ArgumentError: an unknown option, one that is the trainer's own, another number of rollouts,
            a value outside its domain.
    """
    check_options("selection", SelectionLoop, options)
    for name in OWN & options.keys():
        raise ArgumentError(
            f"{name}: expected none, since {trainer} decides which groups it trains on and which "
            f"processes there are, got {options[name]!r:.80}; leave it out"
        )
    rollouts = said["rollouts"]
    if options.get("rollouts", rollouts) != rollouts:
        raise ArgumentError(
            f"rollouts: expected {rollouts}, as in {trainer}'s own settings, got "
            f"{options['rollouts']}; set it there alone"
        )
    loop = SelectionLoop(pool, **{**said, **options})
    loop.told = {} if per_step is None else {"prompts_per_step": per_step}
    return loop


def deal_exactly(loop: SelectionLoop, k: int, *, step: int | None = None) -> list[Dealt]:
    """The next k prompts, for a trainer that cannot take fewer.

    Where a step was dealt the whole pool, the prompts come again, as those of the step after it.

    Args:
        loop: deals them.
        k: how many, 0 or more.
        step: see `SelectionLoop.deal`.

    Examples:
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


def report_prompt(
    loop: SelectionLoop, position: int, rewards: Any, completions: Sequence[str] | None = None
) -> None:
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
        loop.report(group, rewards, completions=completions)


def report_answers(
    loop: SelectionLoop,
    answers: Iterable[int],
    rewards: Sequence[Any],
    *,
    of: int | None = None,
    **known: Sequence[Any],
) -> None:
    """Report for a trainer that has answers one by one, those of a group beside each other.

    Args:
        loop: is told.
        answers: of each its group times `loop.rollouts`, plus its number in the group; fewer than
            rewards where the last were not dealt.
        rewards: of each.
        of: answers of a whole group, of which more may come; None: there are no others, whatever
            the numbers are.
        known: `perplexity`, `entropy` and `completions` of each, see `GroupResult`; of a completion
            that is a list of messages what the last one says is kept.

    Raises:
        ObservationError: not as many of those, and see `SelectionLoop.report_all`; nothing
            was taken in.

    Examples:
        >>> from insight_ext import Prompt
        >>> loop = SelectionLoop(PromptPool(Prompt(id, id, "") for id in "ab"), rollouts=2)
        >>> groups = [dealt.group for dealt in loop.deal(2)]
        >>> groups
        [0, 1]
        >>> report_answers(loop, [0, 1, 2, 3], [1.0, 0.0, 1.0, 1.0], of=2)
        >>> loop.end_step()["frac_mixed"]
        0.5
    """
    for name, values in known.items():
        if len(values) != len(rewards):
            raise ObservationError(
                f"{name}: expected one for each of {len(rewards)} answers, got {len(values)}; "
                "nothing was taken in"
            )
    if "completions" in known:
        known["completions"] = list(map(_text, known["completions"]))
    results = []
    rows = zip(answers, rewards, *known.values(), strict=False)
    for group, part in groupby(rows, key=lambda row: row[0] // loop.rollouts):
        numbers, own, *theirs = zip(*part, strict=True)
        first = 0 if of is None else numbers[0] % loop.rollouts
        results.append(GroupResult(group, own, first, of, **dict(zip(known, theirs, strict=True))))
    loop.report_all(results)


def _text(completion: Any) -> str:
    """A completion as people read it."""
    messages = isinstance(completion, list) and completion
    return str(completion[-1].get("content", "") if messages else completion)


def outcome_of(reward: Any, name: str | None, setting: str) -> Any:
    """What says whether an answer is correct: a reward, or of one with several entries this one.

    Args:
        reward: of an answer.
        name: of the entry.
        setting: where a user names it, for the message.

    Raises:
        ArgumentError: no such entry.

    Examples:
        >>> outcome_of({"accuracy": 1.0, "brevity": 0.2}, "accuracy", "outcome")
        1.0
    """
    if not isinstance(reward, Mapping):
        return reward
    if name is None or name not in reward:
        raise ArgumentError(
            f"{setting}: expected the entry of a reward that says whether an answer is correct, "
            f"one of {', '.join(map(str, reward))}, got {name!r}; name it there"
        )
    return reward[name]


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
        raise without_beliefs(path, otherwise)
    loop.load(path)


def without_beliefs(path: str | Path, otherwise: str) -> CheckpointError:
    """The error of a checkpoint that holds no beliefs, see `load_beliefs`."""
    return CheckpointError(
        f"{path}: expected the beliefs of the run that wrote this checkpoint, got none; "
        f"to go on from these weights with new beliefs, {otherwise}"
    )
