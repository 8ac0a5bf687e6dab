"""Dataclasses to plain msgpack values and back, driven by the dataclasses' own annotations.

The annotations are the schema. Known are: bool, int, float, str, float32 arrays, ``X | None``,
``Literal``, ``tuple[X, ...]`` and nested dataclasses. Whatever does not fit raises CodecError.
"""

from __future__ import annotations

import functools
import math
import types
import typing
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, cast

import numpy as np

from lorabank.errors import CodecError

T = TypeVar("T")
_SCALARS = (bool, int, float, str)
_PLAIN = frozenset([*_SCALARS, type(None), np.ndarray])


def to_record(value: Any) -> Any:
    """Plain lists, scalars, None and float32 arrays."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is tuple:
        return [to_record(item) for item in value]
    if is_dataclass(kind):
        return [to_record(getattr(value, name)) for name in _names(kind)]
    if isinstance(value, tuple):
        return [to_record(item) for item in value]
    if isinstance(value, np.floating | np.integer | np.bool_):
        return value.item()
    return value


@functools.lru_cache(maxsize=256)
def _names(cls: Any) -> tuple[str, ...]:
    return tuple(name for name, _ in _schema(cls))


def from_record(cls: type[T], record: Any) -> T:
    """Build a dataclass from what `to_record` made of one.

    Raises:
        CodecError: a value of another type, or a wrong number of fields.
        InvalidInputError: the dataclass's own checks.
    """
    readers = _readers(cast("Any", cls))
    if not isinstance(record, list) or len(record) != len(readers):
        raise CodecError(f"{cls.__name__} needs {len(readers)} fields: the bytes are damaged")
    pairs = zip(readers, record, strict=True)
    return cls(**{name: read(value, name) for (name, read), value in pairs})


@functools.lru_cache(maxsize=256)
def _schema(cls: Any) -> tuple[tuple[str, Any], ...]:
    hints = typing.get_type_hints(cls)
    return tuple((field.name, hints[field.name]) for field in fields(cls) if field.init)


# What turns a plain value into a field's value, given the field's name for messages. Made once per
# annotation: looking at annotations takes longer than reading the values.
_Reader = Callable[[Any, str], Any]


@functools.lru_cache(maxsize=256)
def _readers(cls: Any) -> tuple[tuple[str, _Reader], ...]:
    return tuple((name, _reader(kind)) for name, kind in _schema(cls))


def _reader(kind: Any) -> _Reader:
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        (inner,) = (arg for arg in typing.get_args(kind) if arg is not type(None))
        return _optional(_reader(inner))
    if origin is typing.Literal:
        choices = frozenset(typing.get_args(kind))
        return lambda value, name: _expect(isinstance(value, str) and value in choices, value, name)
    if origin is tuple:
        return _tuple(_reader(typing.get_args(kind)[0]))
    if origin is np.ndarray:
        return lambda value, name: _expect(isinstance(value, np.ndarray), value, name)
    if kind is float:
        return _float
    if kind in _SCALARS:
        return lambda value, name: value if type(value) is kind else _expect(False, value, name)
    return lambda value, _name: from_record(kind, value)


def _optional(inner: _Reader) -> _Reader:
    return lambda value, name: None if value is None else inner(value, name)


def _tuple(item: _Reader) -> _Reader:
    def read(value: Any, name: str) -> Any:
        _expect(isinstance(value, list), value, name)
        return tuple(item(one, name) for one in value)

    return read


def _float(value: Any, name: str) -> Any:
    if type(value) is int:
        value = float(value)
    if type(value) is not float or not math.isfinite(value):
        return _expect(False, value, name)
    return value


def _expect(fits: bool, value: Any, name: str) -> Any:
    if not fits:
        shown = repr(value)[:80] if type(value) in _SCALARS else type(value).__name__
        raise CodecError(f"{name} can't be {shown}: the data is damaged")
    return value
