"""Columns of text as numbers: whole batches at once, and row by row only where that fails."""

from __future__ import annotations

from typing import Any

import numpy as np

from lorabank.types.arrays import AnyFloatArray

# What arrow casts to a float; looser texts ("1e5 ", "1_000") are malformed.
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"

# More seconds since 1970 than any log has: the year 5138.
FAR_FUTURE = 1e11


def numbers(column: Any) -> AnyFloatArray:
    """float64 (n,) of a binary or string arrow array; NaN where it is no finite number."""
    import pyarrow as pa
    import pyarrow.compute as pc

    text = _as_text(column)
    try:
        values = pc.cast(text, pa.float64())
    except pa.ArrowInvalid:
        good = pc.match_substring_regex(text, NUMBER)
        values = pc.cast(pc.if_else(good, text, pa.scalar(None, pa.string())), pa.float64())
    found: AnyFloatArray = values.to_numpy(zero_copy_only=False).astype(np.float64, copy=True)
    found[~np.isfinite(found)] = np.nan
    return found


def times(column: Any) -> AnyFloatArray:
    """float64 (n,) seconds: numbers as they are, ISO 8601 texts as unix time; NaN otherwise."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found = numbers(column)
    if not np.isnan(found).any():
        return found
    text = _as_text(column)
    for shape in (r"^\d{4}-\d\d-\d\d$", r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?$"):
        rows = pc.match_substring_regex(text, shape)
        dates = pc.if_else(rows, text, pa.scalar(None, pa.string()))
        found = _fill(found, _unix(dates))
    zoned = pc.match_substring_regex(
        text, r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:?\d\d)$"
    )
    return _fill(found, _unix(pc.if_else(zoned, text, pa.scalar(None, pa.string())), "UTC"))


def in_seconds(time: AnyFloatArray) -> AnyFloatArray:
    """Unix times in milli-, micro- or nanoseconds as seconds; others as they are.

    Told by their size: in seconds, ten to the eleventh would be the year 5138.
    """
    typical = float(np.median(time)) if len(time) else 0.0
    for unit in (1e9, 1e6, 1e3):
        if typical > FAR_FUTURE * unit / 1e3:
            return time / unit
    return time


def _unix(dates: Any, zone: str | None = None) -> AnyFloatArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        stamps = pc.cast(dates, pa.timestamp("us", tz=zone))
    except pa.ArrowInvalid:  # a date that does not exist: find out which
        return np.array([_one(value) for value in dates.to_pylist()], np.float64)
    micro = pc.cast(stamps, pa.int64()).to_numpy(zero_copy_only=False).astype(np.float64)
    seconds: AnyFloatArray = micro / 1e6
    return seconds


def _one(value: str | None) -> float:
    from datetime import UTC, datetime

    try:
        moment = datetime.fromisoformat(value or "")
    except ValueError:
        return float("nan")
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _fill(found: AnyFloatArray, other: AnyFloatArray) -> AnyFloatArray:
    filled: AnyFloatArray = np.where(np.isnan(found), other, found)
    return filled


def _as_text(column: Any) -> Any:
    """Strings; what is not UTF-8 becomes null, and spaces around are dropped."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        text = column.cast(pa.string())
    except pa.ArrowInvalid:
        text = pa.array([_decoded(value) for value in column.to_pylist()], pa.string())
    return pc.utf8_trim_whitespace(text)


def _decoded(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None
