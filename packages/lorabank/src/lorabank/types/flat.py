"""A bank's answer as one flat tuple, for whoever keeps many of them and seldom looks inside.

Python's collector of cycles walks every object of a class each time that it looks at all that a
process holds, and stops every thread meanwhile. A plain tuple of text, numbers and arrays it leaves
alone after its first look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import islice
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple, TypeAlias

from lorabank.types.hyperparameters import Hints, Hyperparameters
from lorabank.types.pattern import ArmOutcome, Match, Outcome, Pattern, TrialOutcome
from lorabank.types.strategy import ArmEffect, Estimate, Strategy, TrialSummary
from lorabank.types.values import restored

Flat: TypeAlias = tuple[Any, ...]
# What is written in front of: a value of any other type, and the elements of a tuple of them.
_OTHER, _TUPLE = -1, -2
# Of each class the fields that hold values of these classes, or tuples of such.
_NESTED: dict[type, tuple[str, ...]] = {
    Match: ("pattern",),
    Pattern: ("hyperparameters", "outcome", "trial"),
    Outcome: (),
    TrialOutcome: ("arms", "defaults"),
    ArmOutcome: (),
    Hyperparameters: (),
    Hints: (),
    Strategy: ("hints", "effects", "patterns", "summary"),
    ArmEffect: ("confirmed",),
    Estimate: (),
    TrialSummary: (),
}
_CLASSES = tuple(_NESTED)


class _Shape(NamedTuple):
    """How values of a class are written: plain fields, then nested ones, and back in order."""

    cls: type
    number: int
    plain: int
    nested: int
    read: Callable[[Any], tuple[Any, ...]]
    in_order: Callable[[Sequence[Any]], tuple[Any, ...]]


def flat(value: object) -> Flat:
    """The parts of a bank's answer, or of a tuple of such, one after the other.

    A value of another class, such as a foreign bank's own, is in it as it is.
    """
    parts: list[Any] = []
    _write(value, parts)
    return tuple(parts)


def from_flat(parts: Flat) -> Any:
    """A new value that is equal in every part; arrays are the same ones."""
    return _read(iter(parts))


def _write(value: object, parts: list[Any]) -> None:
    kind: Any = type(value)
    if kind in _NESTED:
        shape = _shape(kind)
        found = shape.read(value)
        parts.append(shape.number)
        parts += found[: shape.plain]
        for part in found[shape.plain :]:
            _write(part, parts)
    elif isinstance(value, tuple) and kind is tuple and value and type(value[0]) in _NESTED:
        parts += (_TUPLE, len(value))
        for part in value:
            _write(part, parts)
    else:
        parts += (_OTHER, value)


def _read(parts: Iterator[Any]) -> Any:
    number = next(parts)
    if number == _OTHER:
        return next(parts)
    if number == _TUPLE:
        return tuple([_read(parts) for _ in range(next(parts))])
    shape = _shape(_CLASSES[number])
    found = list(islice(parts, shape.plain))
    found += [_read(parts) for _ in range(shape.nested)]
    return restored(shape.cls, shape.in_order(found))


@cache
def _shape(cls: Any) -> _Shape:
    names: tuple[str, ...] = cls.__slots__
    nested = _NESTED[cls]
    written = [*(name for name in names if name not in nested), *nested]
    places = [written.index(name) for name in names]
    plain = len(written) - len(nested)
    number = _CLASSES.index(cls)
    return _Shape(cls, number, plain, len(nested), attrgetter(*written), itemgetter(*places))
