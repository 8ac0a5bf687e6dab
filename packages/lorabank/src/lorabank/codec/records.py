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
from typing import Any, TypeAlias, TypeVar, cast

import numpy as np

from lorabank.errors import CodecError

T = TypeVar("T")
Converter: TypeAlias = Callable[[Any, str], Any]
_SCALARS = (bool, int, float, str)
# Fields that were appended since the format was first written, by the name of the record.
APPENDED = {"Adapter": 1}
_PLAIN = frozenset([*_SCALARS, np.ndarray])


def to_record(value: Any) -> Any:
    """Plain lists, scalars, None and float32 arrays."""
    if value is None or type(value) in _PLAIN:
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return [to_record(getattr(value, name)) for name, _ in _schema(type(value))]
    if isinstance(value, tuple):
        return [to_record(item) for item in value]
    if isinstance(value, np.floating | np.integer | np.bool_):
        return value.item()
    return value


def from_record(cls: type[T], record: Any) -> T:
    """Build a dataclass from what `to_record` made of one, now or in an earlier version.

    Later versions append fields with defaults: where a record ends before them, they keep these.

    Raises:
        CodecError: a value of another type, or a wrong number of fields.
        InvalidInputError: the dataclass's own checks.
    """
    schema = _schema(cast("Any", cls))
    least = len(schema) - APPENDED.get(cls.__name__, 0)
    if not isinstance(record, list) or not least <= len(record) <= len(schema):
        raise CodecError(f"{cls.__name__} needs {len(schema)} fields: the bytes are damaged")
    pairs = zip(schema, record, strict=False)
    return cls(**{name: convert(value, name) for (name, convert), value in pairs})


@functools.lru_cache(maxsize=256)
def _schema(cls: Any) -> tuple[tuple[str, Converter], ...]:
    """The fields of a dataclass, each with what reads it; annotations are looked at only once."""
    hints = typing.get_type_hints(cls)
    return tuple((field.name, _converter(hints[field.name])) for field in fields(cls) if field.init)


def _converter(kind: Any) -> Converter:
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        (inner,) = (arg for arg in typing.get_args(kind) if arg is not type(None))
        return functools.partial(_convert_optional, _converter(inner))
    if origin is typing.Literal:
        return functools.partial(_convert_literal, frozenset(typing.get_args(kind)))
    if origin is tuple:
        return functools.partial(_convert_tuple, _converter(typing.get_args(kind)[0]))
    if origin is np.ndarray:
        return _convert_array
    if kind in _SCALARS:
        return _convert_float if kind is float else functools.partial(_convert_scalar, kind)
    return functools.partial(_convert_nested, kind)


def _convert_optional(inner: Converter, value: Any, name: str) -> Any:
    return None if value is None else inner(value, name)


def _convert_literal(choices: frozenset[str], value: Any, name: str) -> Any:
    return _expect(isinstance(value, str) and value in choices, value, name)


def _convert_tuple(inner: Converter, value: Any, name: str) -> Any:
    _expect(isinstance(value, list), value, name)
    return tuple([inner(item, name) for item in value])


def _convert_array(value: Any, name: str) -> Any:
    return _expect(isinstance(value, np.ndarray), value, name)


def _convert_scalar(kind: type, value: Any, name: str) -> Any:
    return _expect(type(value) is kind, value, name)


def _convert_float(value: Any, name: str) -> Any:
    if type(value) is int:
        value = float(value)
    return _expect(type(value) is float and math.isfinite(value), value, name)


def _convert_nested(cls: type, value: Any, name: str) -> Any:  # noqa: ARG001 - a `Converter`
    return from_record(cls, value)


def _expect(fits: bool, value: Any, name: str) -> Any:
    if not fits:
        shown = repr(value)[:80] if type(value) in _SCALARS else type(value).__name__
        raise CodecError(f"{name} can't be {shown}: the data is damaged")
    return value
