"""A segment: up to `CAPACITY` patterns with their vectors and the columns that filters read.

Appending leaves a `View` of earlier rows as it was, so a worker thread may search one without a
lock. Removing does not: while a thread looks at a segment, it is copied first (see `Namespace`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import compress
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from lorabank.types.arrays import BoolArray, FloatArray
from lorabank.types.pattern import OBJECTIVES, Pattern
from lorabank.types.query import EVERYTHING, PatternFilter
from lorabank_memory.records import Record, Records, id_of, pattern_of, records_of

Array = TypeVar("Array", bound=NDArray[Any])

CAPACITY = 2048
_FIRST_CAPACITY = 16
_LARGEST = int(np.iinfo(np.int64).max)
_OBJECTIVE_CODES = {name: code for code, name in enumerate(OBJECTIVES)}

# A user's key is compared by Python's 64-bit keyed string hash; nothing of it stays behind when
# the pattern is removed. Without an outcome reward is NaN and success -1: no condition holds.
_COLUMNS = np.dtype(
    [
        ("user", np.int64),
        ("created_at", np.float64),
        ("reward", np.float64),
        ("rank", np.int64),
        ("objective", np.int8),
        ("success", np.int8),
        ("has_trial", np.bool_),
    ]
)


class View(NamedTuple):
    """What a segment held once: ``unit`` float32 (n, dim), ``columns`` and ``records`` (n,)."""

    unit: FloatArray
    columns: NDArray[np.void]
    records: Records


class Rows(NamedTuple):
    """Patterns with distinct ids made ready for a segment, so that adding them can't fail.

    ``unit`` is float32 (n, dim), ``columns`` and ``records`` (n,).
    """

    ids: Sequence[str]
    unit: FloatArray
    columns: NDArray[np.void]
    records: Records

    @classmethod
    def of(cls, patterns: Sequence[Pattern]) -> Rows:
        """Patterns with their unit vectors, and what filters read of them."""
        unit = unit_vectors(np.stack([pattern.context for pattern in patterns]))
        columns = np.array([_columns_of(pattern) for pattern in patterns], _COLUMNS)
        return cls([p.id for p in patterns], unit, columns, records_of(patterns, len(patterns)))

    def cut(self, start: int, stop: int) -> Rows:
        """The rows start..stop-1."""
        part = slice(start, stop)
        return Rows(self.ids[part], self.unit[part], self.columns[part], self.records[part])


class Segment:
    """A growing block of rows, found by id."""

    def __init__(self, dim: int) -> None:
        self._unit: FloatArray = np.empty((_FIRST_CAPACITY, dim), np.float32)
        self._columns = np.empty(_FIRST_CAPACITY, _COLUMNS)
        self._records: Records = np.empty(_FIRST_CAPACITY, np.object_)
        self._rows: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays, and of the contexts that the patterns hold."""
        contexts = len(self) * self._unit.shape[1] * self._unit.itemsize
        return int(self._unit.nbytes + self._columns.nbytes + contexts)

    def get(self, pattern_id: str) -> Pattern:
        """The pattern of this id, which must be here."""
        return pattern_of(self._records[self._rows[pattern_id]])

    def those_that_pass(self, ids: Iterable[str], where: PatternFilter) -> list[str]:
        """Those of these ids, all of them here, whose pattern passes."""
        ids = list(ids)
        rows = [self._rows[pattern_id] for pattern_id in ids]
        return list(compress(ids, passing(self._columns[rows], where).tolist()))

    def extend(self, rows: Rows) -> None:
        """Add rows at the end; they must fit."""
        start, count = len(self), len(self) + len(rows.ids)
        if count > len(self._unit):
            capacity = min(max(2 * len(self._unit), count), CAPACITY)
            self._unit = _grown(self._unit, capacity)
            self._columns = _grown(self._columns, capacity)
            self._records = _grown(self._records, capacity)
        self._unit[start:count] = rows.unit
        self._columns[start:count] = rows.columns
        self._records[start:count] = rows.records
        self._rows.update(zip(rows.ids, range(start, count), strict=True))

    def view(self) -> View:
        """The rows of this moment; costs no copy."""
        count = len(self)
        return View(self._unit[:count], self._columns[:count], self._records[:count])

    def rows(self) -> Rows:
        """All of them, for another segment."""
        view = self.view()
        return Rows([id_of(record) for record in view.records], *view)

    def copy(self) -> Segment:
        """The same rows; from here on the two change apart."""
        twin = Segment(self._unit.shape[1])
        twin._unit, twin._columns = self._unit.copy(), self._columns.copy()
        twin._records, twin._rows = self._records.copy(), self._rows.copy()
        return twin

    def remove(self, pattern_id: str) -> None:
        """Drop a row, which must be here: the last row takes its place. Views break."""
        last = len(self) - 1
        row = self._rows.pop(pattern_id)
        if row != last:
            moved: Record = self._records[last]
            self._unit[row], self._columns[row] = self._unit[last], self._columns[last]
            self._records[row], self._rows[id_of(moved)] = moved, row
        self._unit[last], self._records[last] = 0, None  # nothing of what is deleted stays behind


def passing(columns: NDArray[np.void], where: PatternFilter) -> BoolArray:
    """Which rows (n,) pass the filter, bool (n,): `PatternFilter.matches`, vectorised."""
    mask = np.ones(len(columns), np.bool_)
    if where == EVERYTHING:
        return mask
    for test in _tests(columns, where):
        mask &= test
    return mask


def unit_vectors(vectors: FloatArray) -> FloatArray:
    """Rows at length one, float32 (n, dim); zero rows stay zero."""
    wide = vectors.astype(np.float64)
    norms = np.sqrt(np.matmul(wide[:, None, :], wide[:, :, None])[:, 0])
    norms[norms == 0] = 1.0
    wide /= norms
    return wide.astype(np.float32)


def _tests(columns: NDArray[np.void], where: PatternFilter) -> Iterable[BoolArray]:
    if where.user_key is not None:
        yield columns["user"] == hash(where.user_key)
    if where.exclude_user_key is not None:
        yield columns["user"] != hash(where.exclude_user_key)
    if where.objective is not None:
        yield columns["objective"] == _OBJECTIVE_CODES.get(where.objective, -1)
    if where.rank is not None:
        yield columns["rank"] == where.rank
    if where.since is not None:
        yield columns["created_at"] >= where.since
    if where.until is not None:
        yield columns["created_at"] < where.until
    if where.has_trial is not None:
        yield columns["has_trial"] == where.has_trial
    if where.min_reward is not None:
        yield columns["reward"] >= where.min_reward
    if where.success is not None:
        yield columns["success"] == int(where.success)


def _columns_of(pattern: Pattern) -> tuple[int, float, float, int, int, int, bool]:
    outcome = pattern.outcome
    return (
        hash(pattern.user_key),
        float(pattern.created_at),
        np.nan if outcome is None else float(outcome.reward),
        min(pattern.rank, _LARGEST),
        _OBJECTIVE_CODES[pattern.objective],
        -1 if outcome is None else int(outcome.success),
        pattern.trial is not None,
    )


def _grown(array: Array, rows: int) -> Array:
    larger: Array = np.empty_like(array, shape=(rows, *array.shape[1:]))
    larger[: len(array)] = array
    return larger
