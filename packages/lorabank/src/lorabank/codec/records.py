"""Dataclasses to plain msgpack values and back, driven by the dataclasses' own annotations.

The annotations are the schema. Known are: bool, int, float, str, float32 arrays, ``X | None``,
``Literal``, ``tuple[X, ...]`` and nested dataclasses. Whatever does not fit raises CodecError.

New fields go to the end of a dataclass with a default: a record written before they were there is
shorter, and is read with their defaults. A choice of a ``Literal`` of strings is written as its
place among them, so new choices go to the end as well.
"""

from __future__ import annotations

import functools
import math
import types
import typing
from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Any, TypeAlias, TypeVar, cast

import numpy as np

from lorabank.errors import CodecError
from lorabank.types.arrays import check_finite

T = TypeVar("T")
Converter: TypeAlias = Callable[[Any, str], Any]
_SCALARS = (bool, int, float, str)


def to_record(value: Any) -> list[Any]:
    """Plain lists, scalars, None and arrays, of a dataclass.

    Raises:
        CodecError: a field's value is none that `from_record` would take.
        InvalidInputError: an array holds NaN or infinity.
    """
    cls = cast("Any", type(value))
    record = [write(getattr(value, name), name) for name, _, _, write in _schema(cls)]
    shortest = len(record) - _optional(cls)
    while len(record) > shortest and record[-1] is None:
        record.pop()
    return record


def from_record(cls: type[T], record: Any) -> T:
    """Build a dataclass from what `to_record` made of one, now or in an earlier version.

    Later versions append fields with defaults: where a record ends before them, they keep these.

    Raises:
        CodecError: a value of another type, or a wrong number of fields.
        InvalidInputError: the dataclass's own checks.
    """
    fewest, fields_read = _reading(cls)  # type: ignore[arg-type]
    if not isinstance(record, list) or not fewest <= len(record) <= len(fields_read):
        raise CodecError(f"{cls.__name__} needs {len(fields_read)} fields: the bytes are damaged")
    parts = {
        name: value if type(value) is plain else convert(value, name)
        for (name, plain, convert), value in zip(fields_read, record)  # noqa: B905 - slower
    }
    return cls(**parts)


@functools.cache
def _reading(cls: Any) -> tuple[int, tuple[tuple[str, type | None, Converter], ...]]:
    """How many fields a record must have, and how each is read: its name and two of `_schema`."""
    return _fewest(cls), tuple(field[:3] for field in _schema(cls))


@functools.lru_cache(maxsize=256)
def _fewest(cls: Any) -> int:
    """How many fields a record must have: those after them have defaults."""
    needed = [
        field.default is MISSING and field.default_factory is MISSING
        for field in fields(cls)
        if field.init
    ]
    return max((i + 1 for i, need in enumerate(needed) if need), default=0)


@functools.lru_cache(maxsize=256)
def _optional(cls: Any) -> int:
    """How many fields at the end have None for their default."""
    defaults = {field.name: field.default for field in fields(cls)}
    names = [name for name, *_ in _schema(cls)]
    return next(
        (i for i, name in enumerate(reversed(names)) if defaults[name] is not None), len(names)
    )


@functools.lru_cache(maxsize=256)
def _schema(cls: Any) -> tuple[tuple[str, type | None, Converter, Converter], ...]:
    """The fields of a dataclass, each with what reads it and what makes it plain.

    The type is one whose values are read as they are, so that most need no call.

    Annotations are looked at only once.
    """
    hints = typing.get_type_hints(cls)
    kinds = [
        (field.name, hints[field.name])
        for field in fields(cls)
        if field.init and field.metadata.get("stored", True)
    ]
    as_is = {str: str, int: int, bool: bool}
    return tuple((name, as_is.get(kind), _converter(kind), _writer(kind)) for name, kind in kinds)


def _converter(kind: Any) -> Converter:
    origin = _origin(kind)
    if origin in (typing.Union, types.UnionType):
        (inner,) = (arg for arg in typing.get_args(kind) if arg is not type(None))
        return functools.partial(_convert_optional, _converter(inner))
    if origin is typing.Literal:
        return functools.partial(_convert_literal, typing.get_args(kind))
    if origin is tuple:
        return functools.partial(_convert_tuple, _converter(typing.get_args(kind)[0]))
    if origin is np.ndarray:
        return _convert_array
    if kind in _SCALARS:
        return _convert_float if kind is float else functools.partial(_convert_scalar, kind)
    return functools.partial(_convert_nested, kind)


def _origin(kind: Any) -> Any:
    """What a generic is one of; numpy's ``NDArray`` may be a type alias by statement (PEP 695)."""
    origin = typing.get_origin(kind)
    while hasattr(origin, "__value__"):
        origin = typing.get_origin(origin.__value__)
    return origin


def _convert_optional(inner: Converter, value: Any, name: str) -> Any:
    return None if value is None else inner(value, name)


def _convert_literal(choices: tuple[str, ...], value: Any, name: str) -> Any:
    if type(value) is int and 0 <= value < len(choices):
        return choices[value]
    return _expect(isinstance(value, str) and value in choices, value, name)


def _convert_tuple(inner: Converter, value: Any, name: str) -> Any:
    _expect(isinstance(value, list), value, name)
    return tuple([inner(item, name) for item in value])


def _convert_array(value: Any, name: str) -> Any:
    return _expect(isinstance(value, np.ndarray), value, name)


def _convert_scalar(kind: type, value: Any, name: str) -> Any:
    return _expect(type(value) is kind, value, name)


def _convert_float(value: Any, name: str) -> Any:
    if type(value) is float and math.isfinite(value):
        return value
    if type(value) is int:
        value = float(value)
    return _expect(type(value) is float and math.isfinite(value), value, name)


def _convert_nested(cls: type, value: Any, name: str) -> Any:  # noqa: ARG001 - a `Converter`
    return from_record(cls, value)


def _writer(kind: Any) -> Converter:
    origin = _origin(kind)
    if origin in (typing.Union, types.UnionType):
        (inner,) = (arg for arg in typing.get_args(kind) if arg is not type(None))
        return functools.partial(_convert_optional, _writer(inner))
    if origin is tuple:
        return functools.partial(_write_tuple, _writer(typing.get_args(kind)[0]))
    if origin is np.ndarray:
        return _write_array
    if kind in _SCALARS:
        return _write_float if kind is float else functools.partial(_write_scalar, kind)
    if origin is typing.Literal:
        return functools.partial(_write_literal, typing.get_args(kind))
    return functools.partial(_write_nested, kind)


def _write_tuple(inner: Converter, value: Any, name: str) -> Any:
    _expect(isinstance(value, tuple), value, name)
    return [inner(item, name) for item in value]


def _write_array(value: Any, name: str) -> Any:
    _convert_array(value, name)
    if value.dtype.kind == "f":
        check_finite(value, name)
    return value


def _write_scalar(kind: type, value: Any, name: str) -> Any:
    if type(value) is kind:
        return value
    return _convert_scalar(kind, _plain(value), name)


def _write_float(value: Any, name: str) -> Any:
    if type(value) is not float or not math.isfinite(value):
        value = _convert_float(_plain(value), name)
    # One byte instead of nine, and read as the same float (minus zero would not be).
    short = value.is_integer() and -32 <= value < 128 and (value or math.copysign(1, value) > 0)
    return int(value) if short else value


def _write_literal(choices: tuple[str, ...], value: Any, name: str) -> Any:
    return choices.index(_expect(isinstance(value, str) and value in choices, value, name))


def _write_nested(cls: type, value: Any, name: str) -> Any:
    _expect(isinstance(value, cls), value, name)
    return to_record(value)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.floating | np.integer | np.bool_) else value


def _expect(fits: bool, value: Any, name: str) -> Any:
    if not fits:
        shown = repr(value)[:80] if type(value) in _SCALARS else type(value).__name__
        raise CodecError(f"{name} can't be {shown}: the data is damaged")
    return value
