"""What filters read, in two forms: columns in memory, and conditions of SQL.

Both mean what `PatternFilter.matches` means. Without an outcome reward is NaN (NULL in SQL) and
success -1 (NULL): no condition on the outcome holds.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lorabank.types.arrays import BoolArray, IntArray
from lorabank.types.pattern import OBJECTIVES, Pattern
from lorabank.types.query import PatternFilter

DTYPE = np.dtype(
    [
        ("user", np.int64),
        ("created_at", np.float64),
        ("reward", np.float64),
        ("success", np.int8),
        ("objective", np.int8),
        ("rank", np.int64),
        ("has_trial", np.int8),
    ]
)
# The same fields, selected in the same order.
SELECTED = "user_hash, created_at, reward, coalesce(success, -1), objective, rank, has_trial"
STORED = "user_key, user_hash, created_at, reward, success, objective, rank, has_trial"
# Places among these.
USER_KEY, CREATED_AT = 0, 2
_OBJECTIVE_CODES = {name: code for code, name in enumerate(OBJECTIVES)}
_MOST = np.iinfo(np.int64).max


def stored(pattern: Pattern) -> tuple[Any, ...]:
    """Values of the columns `STORED`."""
    outcome = pattern.outcome
    return (
        pattern.user_key,
        user_hash(pattern.user_key),
        float(pattern.created_at),
        None if outcome is None else float(outcome.reward),
        None if outcome is None else int(outcome.success),
        _OBJECTIVE_CODES[pattern.objective],
        min(pattern.rank, _MOST),
        int(pattern.trial is not None),
    )


def user_hash(key: str) -> int:
    """A signed 64-bit number for a user's key; keys that can't be stored get one too."""
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def passing(columns: NDArray[np.void], users: IntArray, where: PatternFilter) -> BoolArray:
    """Which rows pass, bool (n,).

    ``users`` is the column of that name by itself: most users ask for others' patterns or their
    own, so no answer can be remembered, and a column beside others takes five times as long.
    """
    mask = np.ones(len(columns), np.bool_)
    for test in _tests(columns, users, where):
        mask &= test
    return mask


def conditions(where: PatternFilter) -> tuple[str, list[Any]]:
    """SQL to put behind ``WHERE namespace = ?`` (empty, or beginning with AND), and its values."""
    parts = [(text, value) for text, value in _conditions(where) if value is not None]
    return "".join(f" AND {text}" for text, _ in parts), [value for _, value in parts]


def storable(text: str) -> bool:
    """Whether text can be in the database at all (no lone surrogates)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _tests(columns: NDArray[np.void], users: IntArray, where: PatternFilter) -> Iterator[BoolArray]:
    if where.user_key is not None:
        yield users == user_hash(where.user_key)
    if where.exclude_user_key is not None:
        yield users != user_hash(where.exclude_user_key)
    if where.objective is not None:
        yield columns["objective"] == _OBJECTIVE_CODES.get(where.objective, -1)
    if where.rank is not None:
        yield columns["rank"] == min(where.rank, _MOST)
    if where.since is not None:
        yield columns["created_at"] >= where.since
    if where.until is not None:
        yield columns["created_at"] < where.until
    if where.has_trial is not None:
        yield columns["has_trial"] == int(where.has_trial)
    if where.min_reward is not None:
        yield columns["reward"] >= where.min_reward
    if where.success is not None:
        yield columns["success"] == int(where.success)


def _conditions(where: PatternFilter) -> Iterator[tuple[str, Any]]:
    yield "user_key = ?", _text(where.user_key)
    yield "user_key <> ?", _text(where.exclude_user_key)
    objective = where.objective
    yield "objective = ?", None if objective is None else _OBJECTIVE_CODES.get(objective, -1)
    yield "rank = ?", None if where.rank is None else min(where.rank, _MOST)
    yield _compared("created_at >= ?", where.since)
    yield _compared("created_at < ?", where.until)
    if where.has_trial is not None:  # a literal, so that the partial index can serve it
        yield f"has_trial = {int(where.has_trial)} AND ?", 1
    yield _compared("reward >= ?", where.min_reward)
    yield "success = ?", None if where.success is None else int(where.success)


def _text(value: str | None) -> str | bytes | None:
    # A blob equals no text: the answer for a key that no stored pattern can have.
    return value if value is None or storable(value) else b""


def _compared(text: str, value: float | None) -> tuple[str, float | None]:
    if value is None or not math.isnan(value):
        return text, None if value is None else float(value)
    return "? IS NULL", 1.0  # nothing compares with NaN, but SQLite would bind it as NULL
