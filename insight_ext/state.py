"""State by convention: a class names what it saves, and one place saves, checks and restores it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from insight_ext.errors import CheckpointError
from insight_ext.plugins import plain

if TYPE_CHECKING:
    from insight_ext.beliefs.pool_change import PoolChange

Names = tuple[str, ...]
SECTIONS = ("settings", "of_pool", "per_prompt", "positions", "values", "parts")


class Stateful:
    """Base of everything that a checkpoint keeps. A class says by attribute names what that is.

    Attributes:
        what: how messages call it.
        settings: must be the same in a run that goes on.
        of_pool: must be the same too, unless the pool changed: they follow from its prompts.
        per_prompt: tensors with a row for each prompt of the pool, shape (n, ...).
        positions: int64 tensors of shape (m,) or (m, c), positions in the pool (in the first
            column). A tuple of names instead of a name: the first as said, the others with a row
            for each of its rows.
        values: whatever else changes: tensors that keep their shape, primitives, and dicts of them.
        parts: attributes that are `Stateful` themselves, or None.

    A class names its own only: those of its bases are saved too. A leading underscore of an
    attribute's name is not part of the saved name. What is no plain attribute can be a property
    with a setter.

    Examples:
        >>> class Counter(Stateful):
        ...     what, settings, values = "counter", ("step",), ("count",)
        ...     def __init__(self, step=1):
        ...         self.step, self.count = step, 0
        >>> saved, other = Counter(), Counter()
        >>> saved.count = 3
        >>> other.load_state_dict(saved.state_dict())
        >>> other.count
        3
        >>> Counter(step=2).load_state_dict(saved.state_dict())
        Traceback (most recent call last):
        ...
        insight_ext.errors.CheckpointError: counter: expected step 2, the checkpoint has 1; resume \
with the settings of the run that wrote it
    """

    what: str = "state"
    settings: Names = ()
    of_pool: Names = ()
    per_prompt: Names = ()
    positions: tuple[str | Names, ...] = ()
    values: Names = ()
    parts: Names = ()

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on: copies, as tensors and primitives."""
        parts = {_key(name): getattr(self, name) for name in self._names("parts")}
        return {
            "kind": type(self).__name__,
            **_copy(self._present()),
            "parts": {
                name: None if part is None else part.state_dict() for name, part in parts.items()
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` saved.

        Raises:
            CheckpointError: other settings, another shape, a damaged state; nothing was changed.
        """
        self.check_state(state)
        self._apply(state)

    def check_state(self, state: Mapping[str, Any]) -> None:
        """See that `load_state_dict` will succeed; a class with values of its own checks them too.

        Raises:
            CheckpointError: see `load_state_dict`.
        """
        _check_sections(state, self.what)
        self._expect("kind", type(self).__name__, state["kind"])
        own = self._present()
        own["parts"] = dict.fromkeys(map(_key, self._names("parts")))
        for section in ("settings", "of_pool"):
            for name, value in own[section].items():
                self._expect(name, value, state[section].get(name))
        for section in SECTIONS[2:]:
            missing = own[section].keys() - state[section].keys()
            if missing:
                raise CheckpointError(
                    f"{self.what}: expected {', '.join(sorted(missing))} in the checkpoint, found "
                    "none; it is damaged or of another version"
                )
        for name in self._names("parts"):
            part, saved = getattr(self, name), state["parts"][_key(name)]
            if (part is None) != (saved is None):
                held = None if part is None else type(part).__name__
                found = saved.get("kind", "another part") if isinstance(saved, Mapping) else saved
                self._expect(_key(name), held, found)
            if part is not None:
                part.check_state(saved)
        for name, rows in own["per_prompt"].items():
            self._expect_like(name, rows, state["per_prompt"][name], rows.shape)
        for name, columns in own["positions"].items():
            self._check_table(name, columns, state["positions"][name])
        for name, value in own["values"].items():
            shape = value.shape if isinstance(value, Tensor) else None
            self._expect_like(name, value, state["values"][name], shape)

    def _apply(self, state: Mapping[str, Any]) -> None:
        for name in self._names("per_prompt"):
            getattr(self, name).copy_(state["per_prompt"][_key(name)])
        for names in self._tables():
            for name, column in zip(names, state["positions"][_key(names[0])], strict=True):
                setattr(self, name, _copy(column))
        for name in self._names("values"):
            setattr(self, name, _copy(state["values"][_key(name)]))
        for name in self._names("parts"):
            part = getattr(self, name)
            if part is not None:
                part._apply(state["parts"][_key(name)])

    def _present(self) -> dict[str, dict[str, Any]]:
        """Each section but the parts, by saved names: the attributes themselves, not copies."""
        sections = ("settings", "of_pool", "per_prompt", "values")
        present = {
            section: {_key(name): getattr(self, name) for name in self._names(section)}
            for section in sections
        }
        present["positions"] = {
            _key(table[0]): [getattr(self, name) for name in table] for table in self._tables()
        }
        return present

    def _pool_size(self) -> int | None:
        """Number of prompts, as far as what is saved tells it."""
        for name in self._names("per_prompt"):
            return len(getattr(self, name))
        parts = (getattr(self, name) for name in self._names("parts"))
        sizes = (part._pool_size() for part in parts if part is not None)
        return next((size for size in sizes if size is not None), None)

    def _names(self, section: str) -> list[Any]:
        """What the class, its bases and the object itself say of this section, bases first."""
        says = [*(vars(kind) for kind in reversed(type(self).__mro__)), vars(self)]
        return list(dict.fromkeys(name for each in says for name in each.get(section, ())))

    def _tables(self) -> list[Names]:
        """The entries of `positions`, each as a tuple of names."""
        entries = self._names("positions")
        return [entry if isinstance(entry, tuple) else (entry,) for entry in entries]

    def _expect(self, name: str, expected: Any, saved: Any) -> None:
        if not equal(saved, expected):
            place, wanted, found = _difference(name, expected, saved)
            raise CheckpointError(
                f"{self.what}: expected {place} {_told(wanted)}, the checkpoint has "
                f"{_told(found)}; resume with the settings of the run that wrote it"
            )

    def _expect_like(self, name: str, own: Any, saved: Any, shape: Any = None) -> None:
        """See that a saved value can take the place of the present one."""
        if isinstance(own, Tensor):
            fits = isinstance(saved, Tensor) and saved.dtype == own.dtype
            fits = fits and (saved.ndim == own.ndim if shape is None else saved.shape == shape)
        elif type(own) is int:
            most = 2**31 if name == "step" else 2**63
            fits = type(saved) is int and (0 if name == "step" else -most) <= saved < most
        elif isinstance(own, float):
            fits = isinstance(saved, (int, float)) and not isinstance(saved, bool)
        elif isinstance(own, (list, tuple)):
            fits = isinstance(saved, (list, tuple))
            if fits and own and all(type(each) in (int, float) for each in own):
                fits = len(saved) == len(own)
                fits = fits and all(type(each) in (int, float) for each in saved)
        else:
            fits = own is None or isinstance(saved, type(own))
        if not fits:
            raise CheckpointError(
                f"{self.what}: expected {name} like {_told(own)}, the checkpoint has "
                f"{_told(saved)}; it belongs to a pool of another size, or is damaged"
            )

    def _check_table(self, name: str, own: list[Tensor], saved: Any) -> None:
        if not _is_table(saved) or len(saved) != len(own):
            raise CheckpointError(
                f"{self.what}: expected {name} as {len(own)} columns of one length, the "
                f"checkpoint has {_told(saved)}; it is damaged"
            )
        for mine, column in zip(own, saved, strict=True):
            self._expect_like(name, mine, column)
            if column.shape[1:] != mine.shape[1:]:
                self._expect_like(name, mine, column, mine.shape)
        prompts, size = _prompts(saved[0]), self._pool_size()
        outside = prompts[(prompts < 0) | (size is not None and prompts >= size)]
        if len(outside):
            raise CheckpointError(
                f"{self.what}: expected {name} to hold positions in [0, {size}), the checkpoint "
                f"has {int(outside[0])}; it belongs to another pool, or is damaged"
            )


def carried(
    state: Mapping[str, Any], fresh: Mapping[str, Any], change: PoolChange
) -> dict[str, Any]:
    """A state of an earlier pool as one of the present pool; `state` stays as it is.

    Prompts that start anew are as in a fresh run; positions of prompts that the pool lost go.

    Args:
        state: of `Stateful.state_dict`, in the run on the earlier pool.
        fresh: the same of the present object before it has learned anything.
        change: from the earlier pool to the present one.

    Raises:
        CheckpointError: a damaged state. What else does not fit is left to `load_state_dict`.
    """
    _check_sections(state, "state")
    parts = {}
    for name, part in fresh["parts"].items():
        saved = state["parts"].get(name)
        parts[name] = saved if part is None or saved is None else carried(saved, part, change)
    tables = {}
    for name, columns in state["positions"].items():
        if not _is_table(columns):
            raise CheckpointError(
                f"state: expected {name} as columns of one length, the checkpoint has "
                f"{_told(columns)}; it is damaged"
            )
        holds = change.holds(_prompts(columns[0]))
        kept = [column[holds] for column in columns]
        if kept[0].ndim == 1:
            kept[0] = change.target[kept[0]]
        else:
            kept[0] = torch.cat((change.target[kept[0][:, :1]], kept[0][:, 1:]), dim=1)
        tables[name] = kept
    return {
        **state,
        "of_pool": fresh["of_pool"],
        "per_prompt": {
            name: change.rows(rows, fresh["per_prompt"][name])
            for name, rows in state["per_prompt"].items()
            if name in fresh["per_prompt"]
        },
        "positions": tables,
        "parts": parts,
    }


def _check_sections(state: Any, what: str) -> None:
    """CheckpointError unless it has the entries of a saved state, and all are tables."""
    whole = isinstance(state, Mapping) and state.keys() >= {"kind", *SECTIONS}
    if not whole or not all(isinstance(state[section], Mapping) for section in SECTIONS):
        raise CheckpointError(
            f"{what}: expected a saved state with the entries kind, {', '.join(SECTIONS)}, got "
            f"{_told(state)}; the checkpoint is damaged or of another version"
        )


def _is_table(columns: Any) -> bool:
    """Whether these are columns with a row each for the prompts that the first one names."""
    if not isinstance(columns, list) or not columns:
        return False
    if not all(isinstance(column, Tensor) and column.ndim for column in columns):
        return False
    first: Tensor = columns[0]
    return (
        first.dtype == torch.int64
        and first.ndim <= 2
        and (first.ndim == 1 or first.shape[1] > 0)
        and all(len(column) == len(first) for column in columns)
    )


def _prompts(column: Tensor) -> Tensor:
    """The prompts that a table of positions names, of shape (m,)."""
    return column if column.ndim == 1 else column[:, 0]


def _key(name: str) -> str:
    return name.lstrip("_")


def _copy(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, Mapping):
        return {name: _copy(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_copy(each) for each in value]
    return plain(value)


def equal(saved: Any, expected: Any) -> bool:
    """Whether two saved values are the same, tensors by their elements."""
    if isinstance(expected, Tensor) or isinstance(saved, Tensor):
        both = isinstance(saved, Tensor) and isinstance(expected, Tensor)
        return both and torch.equal(saved, expected)
    if isinstance(expected, (list, tuple)):
        return (
            isinstance(saved, (list, tuple))
            and len(saved) == len(expected)
            and all(equal(*pair) for pair in zip(saved, expected, strict=True))
        )
    return bool(saved == expected)


def _difference(name: str, expected: Any, saved: Any) -> tuple[str, Any, Any]:
    """Where two values that differ do so first, and what either has there.

    Examples:
        >>> _difference("prior", [torch.ones(3), torch.ones(3)], [torch.ones(3), torch.zeros(3)])
        ('prior[1][0]', 1.0, 0.0)
    """
    lists = isinstance(expected, (list, tuple)) and isinstance(saved, (list, tuple))
    if lists and len(expected) == len(saved):
        pairs = enumerate(zip(expected, saved, strict=True))
        at, pair = next((at, pair) for at, pair in pairs if not equal(*pair))
        return _difference(f"{name}[{at}]", *pair)
    tensors = isinstance(expected, Tensor) and isinstance(saved, Tensor)
    if tensors and expected.shape == saved.shape and expected.dtype == saved.dtype:
        place = tuple((expected != saved).nonzero()[0].tolist())
        return f"{name}{list(place)}", expected[place].item(), saved[place].item()
    return name, expected, saved


def _told(value: Any) -> str:
    """A value in a few characters."""
    if isinstance(value, Tensor):
        return f"a {str(value.dtype).removeprefix('torch.')} tensor of shape {tuple(value.shape)}"
    if isinstance(value, Mapping):
        return f"the entries {', '.join(map(str, value)) or 'none'}"
    if isinstance(value, (list, tuple)) and any(isinstance(each, Tensor) for each in value):
        return f"a list of {' and '.join(map(_told, value))}"
    return f"{value}"
