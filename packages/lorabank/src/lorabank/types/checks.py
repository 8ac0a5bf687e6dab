"""Checks of scalar arguments. Each raises InvalidInputError naming the field and the value."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import TypeVar

from lorabank.errors import InvalidInputError

T = TypeVar("T")


def check_number(value: float, field: str, *, low: float, high: float = math.inf) -> None:
    """``value`` is a finite number in [low, high]."""
    if type(value) is float and low <= value <= high and value < math.inf:
        return  # the usual case; NaN compares as false
    if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
        raise InvalidInputError(field, value, "a finite number")
    if not low <= value <= high:
        raise InvalidInputError(field, value, f"a number in [{low:g}, {high:g}]")


def check_positive(value: float, field: str) -> None:
    """``value`` is a finite number above zero."""
    check_number(value, field, low=0.0)
    if value == 0:
        raise InvalidInputError(field, value, "a number above zero")


def check_count(value: int, field: str, *, low: int = 0) -> None:
    """``value`` is an integer of at least ``low``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise InvalidInputError(field, value, f"an integer >= {low}")


def check_choice(value: T, field: str, choices: Collection[T]) -> None:
    """``value`` is one of ``choices``."""
    for choice in choices:
        if type(value) is type(choice) and value == choice:
            return
    raise InvalidInputError(field, value, "one of " + ", ".join(map(repr, choices)))


def check_text(value: str, field: str, *, empty: bool = False) -> None:
    """``value`` is a string that can be encoded as UTF-8, and not empty unless ``empty``."""
    if not isinstance(value, str) or not (value or empty):
        raise InvalidInputError(field, value, "a string" if empty else "a non-empty string")
    if value.isascii():
        return
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        raise InvalidInputError(field, value, "text without lone surrogates") from exc


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond the floats
        return False
