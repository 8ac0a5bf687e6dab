"""Dataclasses to plain msgpack values and back, driven by the dataclasses' own annotations.

The annotations are the schema. Known are: bool, int, float, str, float32 arrays, ``X | None``,
``Literal``, ``tuple[X, ...]`` and nested dataclasses. Whatever does not fit raises CodecError.
"""

from __future__ import annotations

import functools
import math
import types
import typing
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, cast

import numpy as np

from lorabank.errors import CodecError

T = TypeVar("T")
_SCALARS = (bool, int, float, str)


def to_record(value: Any) -> Any:
    """Plain lists, scalars, None and float32 arrays."""
    if is_dataclass(value) and not isinstance(value, type):
        return [to_record(getattr(value, name)) for name, _ in _schema(type(value))]
    if isinstance(value, tuple):
        return [to_record(item) for item in value]
    if isinstance(value, np.floating | np.integer | np.bool_):
        return value.item()
    return value


def from_record(cls: type[T], record: Any) -> T:
    """Build a dataclass from what `to_record` made of one.

    Raises:
        CodecError: a value of another type, or a wrong number of fields.
        InvalidInputError: the dataclass's own checks.
    """
    schema = _schema(cast("Any", cls))
    if not isinstance(record, list) or len(record) != len(schema):
        raise CodecError(f"{cls.__name__} needs {len(schema)} fields: the bytes are damaged")
    pairs = zip(schema, record, strict=True)
    return cls(**{name: _convert(kind, value, name) for (name, kind), value in pairs})


@functools.lru_cache(maxsize=256)
def _schema(cls: Any) -> tuple[tuple[str, Any], ...]:
    hints = typing.get_type_hints(cls)
    return tuple((field.name, hints[field.name]) for field in fields(cls) if field.init)


def _convert(kind: Any, value: Any, name: str) -> Any:
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return _convert_optional(kind, value, name)
    if origin is typing.Literal:
        return _expect(isinstance(value, str) and value in typing.get_args(kind), value, name)
    if origin is tuple:
        _expect(isinstance(value, list), value, name)
        return tuple(_convert(typing.get_args(kind)[0], item, name) for item in value)
    if origin is np.ndarray:
        return _expect(isinstance(value, np.ndarray), value, name)
    if kind in _SCALARS:
        return _convert_scalar(kind, value, name)
    return from_record(kind, value)


def _convert_optional(kind: Any, value: Any, name: str) -> Any:
    if value is None:
        return None
    (inner,) = (arg for arg in typing.get_args(kind) if arg is not type(None))
    return _convert(inner, value, name)


def _convert_scalar(kind: Any, value: Any, name: str) -> Any:
    if kind is float and type(value) is int:
        value = float(value)
    _expect(type(value) is kind, value, name)
    if kind is float:
        _expect(math.isfinite(value), value, name)
    return value


def _expect(fits: bool, value: Any, name: str) -> Any:
    if not fits:
        shown = repr(value)[:80] if type(value) in _SCALARS else type(value).__name__
        raise CodecError(f"{name} can't be {shown}: the data is damaged")
    return value
