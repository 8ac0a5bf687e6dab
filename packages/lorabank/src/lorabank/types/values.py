"""New values from sound parts, without checking again what has been checked.

`dataclasses.replace` runs every check of a class anew. On the way of an update that is most of the
time, and the parts were checked when they came in. For fields that come from outside, call the
class itself.

A frozen dataclass sets each field through a call. So a twin is filled that has the same slots and
is not frozen, which is five times as fast; then it becomes the class that it stands for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import make_dataclass
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar

T = TypeVar("T")


def made(cls: type[T], **parts: Any) -> T:
    """An instance of a slotted, frozen dataclass with exactly these fields, all of them sound."""
    value = _twin(cls)(**parts)  # type: ignore[arg-type]
    value.__class__ = cls
    return value  # type: ignore[no-any-return]


def restored(cls: type[T], parts: Iterable[Any]) -> T:
    """An instance of a slotted, frozen dataclass of all its fields, as `parts_of` gives them."""
    value = _twin(cls)(*parts)  # type: ignore[arg-type]
    value.__class__ = cls
    return value  # type: ignore[no-any-return]


def parts_of(value: Any) -> tuple[Any, ...]:
    """All fields of a slotted, frozen dataclass, in order."""
    cls: type = type(value)
    return _reader(cls)(value)


def changed(value: T, **parts: Any) -> T:
    """A slotted, frozen dataclass with some fields exchanged; derived fields are kept as is."""
    cls: type[T] = type(value)
    twin = _twin(cls)(*_reader(cls)(value))  # type: ignore[arg-type]
    for name, part in parts.items():
        setattr(twin, name, part)
    twin.__class__ = cls
    return twin  # type: ignore[no-any-return]


@cache
def _twin(cls: type) -> Callable[..., Any]:
    """A class of the same layout that takes all fields, and can be written to."""
    # With nothing else in it: whoever is first waits for it, and that may be an event loop.
    bare: dict[str, Any] = {"namespace": {"__doc__": cls.__doc__}, "repr": False, "eq": False}
    return make_dataclass(cls.__name__, cls.__slots__, slots=True, **bare)  # type: ignore[attr-defined]


@cache
def _reader(cls: type) -> Callable[[Any], tuple[Any, ...]]:
    """What reads all fields of an instance at once."""
    return attrgetter(*cls.__slots__)  # type: ignore[attr-defined]
