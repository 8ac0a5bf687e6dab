"""`SqliteStore`: patterns and skills in one SQLite file; a search looks at every pattern.

SQLite blocks, so it runs in a worker thread, each call one transaction. A call that is cancelled
there runs to its end, so nothing is ever left half done.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import TypeVar

import anyio
import anyio.to_thread
import numpy as np

from lorabank import errors
from lorabank.codec import decode, encode
from lorabank.protocols import Capability, StoreStats
from lorabank.types.arrays import FloatArray, as_vector
from lorabank.types.checks import check_count
from lorabank.types.pattern import Match, Pattern
from lorabank.types.query import PatternFilter
from lorabank.types.skill import Skill
from lorabank.types.space import EmbeddingSpace

T = TypeVar("T")
SCHEMA = """
CREATE TABLE IF NOT EXISTS space (one PRIMARY KEY CHECK (one = 1), name, dim, normalised);
CREATE TABLE IF NOT EXISTS pattern (namespace, id, data, PRIMARY KEY (namespace, id));
CREATE TABLE IF NOT EXISTS skill (namespace, id, data, PRIMARY KEY (namespace, id));
"""
PATIENCE = 30.0  # seconds that a call waits for other processes


class SqliteStore:
    """A `PatternStore`; the protocol says what the methods promise."""

    capabilities = frozenset(Capability) - {Capability.TRIALS, Capability.REFUSE}

    def __init__(self, path: str) -> None:
        self.space: EmbeddingSpace | None = None
        self._path, self._closed = path, False
        self._limiter = anyio.CapacityLimiter(1)

    async def load(self) -> None:
        self.space = await self._run(_space)

    async def bind(self, space: EmbeddingSpace) -> None:
        insert = "INSERT OR IGNORE INTO space VALUES (1, ?, ?, ?)"
        row = (space.name, space.dim, space.normalised)
        self.space = await self._run(lambda db: (db.execute(insert, row), _space(db))[1])
        self._check(space == self.space, space)

    async def put_many(self, patterns: Sequence[Pattern]) -> None:
        for pattern in patterns:
            if not isinstance(pattern, Pattern):
                raise errors.InvalidInputError("patterns", pattern, "Pattern objects")
            self._check_dim(as_vector(pattern.context, "pattern.context"))
        await self._run(lambda db: _put(db, "pattern", patterns))

    async def get(self, namespace: str, ids: Sequence[str]) -> list[Pattern]:
        def get(db: sqlite3.Connection) -> list[Pattern]:
            select = "SELECT data FROM pattern WHERE namespace = ? AND id = ?"
            rows = [db.execute(select, (namespace, i)).fetchone() for i in ids]
            return [decode(Pattern, "pattern", row[0]) for row in rows if row]

        return await self._run(get)

    async def search(
        self, namespace: str, vector: FloatArray, k: int, where: PatternFilter
    ) -> list[Match]:
        check_count(k, "k")
        query = as_vector(vector, "vector")
        self._check_dim(query)

        def search(db: sqlite3.Connection) -> list[Match]:
            found = (Match(p, _cosine(p.context, query)) for p in _passing(db, namespace, where))
            return sorted(found, key=lambda match: (-match.score, match.pattern.id))[:k]

        return await self._run(search)

    async def scan(
        self, namespace: str, where: PatternFilter, after: str | None, limit: int
    ) -> list[Pattern]:
        check_count(limit, "limit")
        return await self._run(
            lambda db: list(islice(_passing(db, namespace, where, after or ""), limit))
        )

    async def delete(self, namespace: str, where: PatternFilter) -> int:
        def delete(db: sqlite3.Connection) -> int:
            gone = [(namespace, pattern.id) for pattern in _passing(db, namespace, where)]
            db.executemany("DELETE FROM pattern WHERE namespace = ? AND id = ?", gone)
            return len(gone)

        return await self._run(delete)

    async def put_skill(self, skill: Skill) -> None:
        self._check(skill.space == self.space, skill.space)
        await self._run(lambda db: _put(db, "skill", [skill]))

    async def list_skills(self, namespace: str) -> list[Skill]:
        return await self._run(lambda db: list(_records(db, Skill, "skill", namespace)))

    async def delete_skill(self, namespace: str, skill_id: str) -> bool:
        delete, row = "DELETE FROM skill WHERE namespace = ? AND id = ?", (namespace, skill_id)
        return await self._run(lambda db: db.execute(delete, row).rowcount) > 0

    async def stats(self, namespace: str) -> StoreStats:
        def count(db: sqlite3.Connection, table: str) -> int:
            select = f"SELECT count(*) FROM {table} WHERE namespace = ?"
            return int(db.execute(select, (namespace,)).fetchone()[0])

        return await self._run(lambda db: StoreStats(count(db, "pattern"), count(db, "skill")))

    async def aclose(self) -> None:
        self._closed = True

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def transaction() -> T:
            if self._closed:
                raise errors.BankClosedError(f"{self._path} is closed")
            with closing(sqlite3.connect(self._path, timeout=PATIENCE, isolation_level=None)) as db:
                db.executescript(SCHEMA)
                with db:  # commits, or rolls back
                    db.execute("BEGIN IMMEDIATE")
                    return work(db)

        try:
            return await anyio.to_thread.run_sync(transaction, limiter=self._limiter)
        except sqlite3.Error as exc:
            raise errors.BankUnavailableError(f"{self._path}: {exc}") from exc

    def _check_dim(self, vector: FloatArray) -> None:
        self._check(self.space is not None and len(vector) == self.space.dim, len(vector))

    def _check(self, fits: bool, given: object) -> None:
        if not fits:
            raise errors.EmbeddingSpaceError(f"the file holds {self.space}, not {given}")


def _space(db: sqlite3.Connection) -> EmbeddingSpace | None:
    row = db.execute("SELECT name, dim, normalised FROM space").fetchone()
    return row and EmbeddingSpace(row[0], row[1], bool(row[2]))


def _put(db: sqlite3.Connection, kind: str, records: Sequence[Pattern | Skill]) -> None:
    rows = ((record.namespace, record.id, encode(record, kind)) for record in records)
    db.executemany(f"INSERT OR REPLACE INTO {kind} VALUES (?, ?, ?)", rows)


def _records(
    db: sqlite3.Connection, cls: type[T], kind: str, namespace: str, after: str = ""
) -> Iterator[T]:
    select = f"SELECT data FROM {kind} WHERE namespace = ? AND id > ? ORDER BY id"
    return (decode(cls, kind, row[0]) for row in db.execute(select, (namespace, after)))


def _passing(
    db: sqlite3.Connection, namespace: str, where: PatternFilter, after: str = ""
) -> Iterator[Pattern]:
    return filter(where.matches, _records(db, Pattern, "pattern", namespace, after))


def _cosine(one: FloatArray, other: FloatArray) -> float:
    wide, against = one.astype(np.float64), other.astype(np.float64)
    lengths = float(np.linalg.norm(wide) * np.linalg.norm(against))
    return float(np.clip(wide @ against / lengths, -1.0, 1.0).round(6)) if lengths > 0 else 0.0
