"""New values from sound parts, without checking again what has been checked.

`dataclasses.replace` runs every check of a class anew. On the way of an update that is most of the
time, and the parts were checked when they came in. For fields that come from outside, call the
class itself.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from operator import attrgetter
from typing import Any, TypeVar

T = TypeVar("T")


def made(cls: type[T], **parts: Any) -> T:
    """An instance of a slotted, frozen dataclass with exactly these fields, all of them sound."""
    if len(parts) != len(cls.__slots__):  # type: ignore[attr-defined]
        raise TypeError(f"{cls.__name__} needs all its fields: got {sorted(parts)}")
    value = object.__new__(cls)
    for name, part in parts.items():
        object.__setattr__(value, name, part)
    return value


def changed(value: T, **parts: Any) -> T:
    """A slotted, frozen dataclass with some fields exchanged; derived fields are kept as is."""
    cls: type[T] = type(value)
    read, setters = _slots(cls)  # type: ignore[arg-type]
    twin = object.__new__(cls)
    for put, part in zip(setters, read(value), strict=True):
        put(twin, part)
    for name, part in parts.items():
        object.__setattr__(twin, name, part)
    return twin


@lru_cache(maxsize=64)
def _slots(cls: type) -> tuple[Callable[[Any], tuple[Any, ...]], tuple[Callable[..., None], ...]]:
    """What reads all fields of an instance at once, and what sets each."""
    names: tuple[str, ...] = cls.__slots__  # type: ignore[attr-defined]
    return attrgetter(*names), tuple(getattr(cls, name).__set__ for name in names)
