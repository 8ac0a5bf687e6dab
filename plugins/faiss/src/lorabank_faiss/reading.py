"""Queries that read. Each sees one state of the database if a transaction has begun."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from lorabank import codec
from lorabank.errors import BankRejectedError, InvalidInputError
from lorabank.protocols import StoreStats
from lorabank.turns import give_way, unhurried
from lorabank.types.arrays import IntArray
from lorabank.types.pattern import Pattern
from lorabank.types.query import PatternFilter
from lorabank.types.skill import Skill
from lorabank_faiss import columns

_BLOCK = 64  # rows that are read between two turns of the event loop
_FEW_TOMBSTONES = 1_000


class State(NamedTuple):
    """What a namespace says of itself; an index that agrees with it is up to date."""

    code: int
    changed: int
    pruned: int
    patterns: int
    checksum: int


def state_of(connection: sqlite3.Connection, name: str) -> State | None:
    """The namespace's state; None if nothing was ever stored in it."""
    if not columns.storable(name):
        return None
    found = connection.execute(
        "SELECT code, changed, pruned, patterns, checksum FROM namespace WHERE name = ?", (name,)
    ).fetchone()
    return None if found is None else State(*found)


def large_namespaces(connection: sqlite3.Connection, limit: int) -> list[str]:
    """Names of those with more than ``limit`` patterns."""
    found = connection.execute("SELECT name FROM namespace WHERE patterns > ?", (limit,))
    return [name for (name,) in found]


def with_many_tombstones(connection: sqlite3.Connection, limit: int) -> list[tuple[int, int]]:
    """Code and last change of namespaces up to ``limit`` patterns that have more tombstones."""
    found = connection.execute(
        "SELECT code, changed FROM namespace JOIN "
        "(SELECT namespace, count(*) AS dead FROM tombstone GROUP BY namespace) "
        "ON namespace = code WHERE patterns <= ? AND dead > max(?, patterns)",
        (limit, _FEW_TOMBSTONES),
    )
    return [(code, changed) for code, changed in found]


def blocks(rows: sqlite3.Cursor) -> Iterator[list[Any]]:
    """All rows, some at a time.

    SQLite lets go of the interpreter's lock for each row, but for less time than it takes a
    waiting event loop to wake up; making an array of thousands of rows never does.
    """
    while block := rows.fetchmany(_BLOCK):
        yield block
        give_way()


def keys_of(rows: sqlite3.Cursor) -> IntArray:
    """The one column of all rows, int64 (n,)."""
    return np.fromiter((key for block in blocks(rows) for (key,) in block), np.int64)


def get(connection: sqlite3.Connection, name: str, ids: Sequence[str]) -> list[Pattern]:
    """See `PatternStore.get`."""
    state = state_of(connection, name)
    if state is None:
        return []
    statement = "SELECT record FROM pattern JOIN body USING (key) WHERE namespace = ? AND id = ?"
    wanted = [pattern_id for pattern_id in ids if columns.storable(pattern_id)]
    found = (connection.execute(statement, (state.code, one)).fetchone() for one in wanted)
    return [codec.decode(Pattern, "pattern", row[0]) for row in unhurried(found) if row is not None]


def scan(
    connection: sqlite3.Connection, name: str, where: PatternFilter, after: str | None, limit: int
) -> list[Pattern]:
    """See `PatternStore.scan`."""
    state = state_of(connection, name)
    if after is not None and not columns.storable(after):
        raise InvalidInputError("after", after, "an id")
    if state is None:
        return []
    condition, values = columns.conditions(where)
    found = connection.execute(
        f"SELECT record FROM pattern JOIN body USING (key) "
        f"WHERE namespace = ?{condition} AND id > ? ORDER BY id LIMIT ?",
        (state.code, *values, after or "", min(limit, 1 << 62)),
    )
    return [codec.decode(Pattern, "pattern", record) for (record,) in unhurried(found)]


def skills(connection: sqlite3.Connection, name: str) -> list[Skill]:
    """See `PatternStore.list_skills`."""
    state = state_of(connection, name)
    found = connection.execute(
        "SELECT record FROM skill WHERE namespace = ? ORDER BY id", (state and state.code,)
    )
    return [codec.decode(Skill, "skill", record) for (record,) in unhurried(found, 1)]


def stats(connection: sqlite3.Connection, name: str) -> StoreStats:
    """See `PatternStore.stats`. ``bytes`` counts vectors and encoded patterns."""
    if not columns.storable(name):
        return StoreStats(0, 0, 0)
    found = connection.execute(
        "SELECT patterns, (SELECT count(*) FROM skill WHERE namespace = code), bytes "
        "FROM namespace WHERE name = ?",
        (name,),
    ).fetchone()
    return StoreStats(*found) if found else StoreStats(0, 0, 0)


def by_key(
    connection: sqlite3.Connection, selected: str, keys: Sequence[int], *, strict: bool = True
) -> dict[int, tuple[Any, ...]]:
    """Columns of ``pattern``, or ``record``, by key.

    Raises: BankRejectedError if one is missing, unless ``strict`` is false.
    """
    found: dict[int, tuple[Any, ...]] = {}
    for start in range(0, len(keys), _BLOCK):
        give_way()
        some = keys[start : start + _BLOCK]
        marks = ", ".join("?" * len(some))
        table = "body" if selected == "record" else "pattern"
        statement = f"SELECT key, {selected} FROM {table} WHERE key IN ({marks})"
        found.update((row[0], row[1:]) for row in connection.execute(statement, some))
    if strict and len(found) < len(keys):
        missing = len(keys) - len(found)
        raise BankRejectedError(f"{missing} patterns of the index are not in the database")
    return found
