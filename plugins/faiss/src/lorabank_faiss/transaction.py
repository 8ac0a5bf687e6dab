"""What can be changed, inside a write transaction that somebody else begins and commits."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Sequence
from typing import Any

from lorabank.errors import EmbeddingSpaceError
from lorabank.turns import give_way, unhurried
from lorabank.types.query import PatternFilter
from lorabank.types.skill import Skill
from lorabank.types.space import EmbeddingSpace
from lorabank_faiss import columns
from lorabank_faiss.records import Batch, Record

_BLOCK = 32
_INSERT = (
    f"INSERT INTO pattern(key, namespace, id, {columns.STORED}, bytes, crc, unit) "
    f"VALUES (?, ?, ?, {', '.join('?' * len(columns.STORED.split(',')))}, ?, ?, ?)"
)


def bound_space(connection: sqlite3.Connection) -> tuple[EmbeddingSpace | None, int | None]:
    """The space that the bank is bound to, and the dimension of what it holds."""
    name, dim, normalised = connection.execute(
        "SELECT space_name, dim, space_normalised FROM bank"
    ).fetchone()
    return (None if name is None else EmbeddingSpace(name, dim, bool(normalised))), dim


def check_dim(space: EmbeddingSpace | None, held: int | None, dim: int) -> None:
    """Raises EmbeddingSpaceError if the bank holds vectors of another dimension."""
    if held is not None and dim != held:
        raise EmbeddingSpaceError(
            f"the store holds {space or f'vectors of dimension {held}'}, not dimension {dim}"
        )


class Transaction:
    """Changes to be made over a connection on which a write transaction has begun."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._execute = connection.execute

    def bind(self, space: EmbeddingSpace) -> None:
        """See `PatternStore.bind`."""
        bound, dim = bound_space(self._connection)
        if bound is not None and bound != space:
            raise EmbeddingSpaceError(f"the store holds {bound}, not {space}")
        check_dim(bound, dim, space.dim)
        if bound is None:
            self._execute(
                "UPDATE bank SET space_name = ?, dim = ?, space_normalised = ?",
                (space.name, space.dim, int(space.normalised)),
            )

    def put(self, batch: Batch) -> None:
        """Store records; those whose id is there are replaced, unless nothing differs."""
        if not batch.records:
            return
        self._keep_dim(batch.dim)
        for name, records in batch.records.items():
            namespace = self._namespace(name)
            welcome = self._not_refused(namespace, records)
            changed, replaced = self._unlike_stored(namespace, welcome)
            self._remove(namespace, replaced)
            self._insert(namespace, changed)

    def delete(self, name: str, where: PatternFilter) -> int:
        """Remove what passes; how many."""
        namespace = self._known(name)
        if namespace is None:
            return 0
        condition, values = columns.conditions(where)
        sequence = self._take(1)
        found = self._execute(
            f"INSERT INTO tombstone(namespace, sequence, key) SELECT namespace, ?, key "
            f"FROM pattern WHERE namespace = ?{condition}",
            (sequence, namespace, *values),
        ).rowcount
        self._bury(namespace, sequence)
        return found

    def refuse(self, name: str, user_key: str, until: float) -> None:
        """See `Refusal.refuse`."""
        self._execute(
            "INSERT INTO refused(namespace, user_key, until) VALUES (?, ?, ?) "
            "ON CONFLICT DO UPDATE SET until = max(until, excluded.until)",
            (self._namespace(name), user_key, until),
        )

    def put_skill(self, skill: Skill, record: bytes) -> None:
        """Store a skill, encoded as ``record``; same id: replaced."""
        bound, _ = bound_space(self._connection)
        if bound is not None and skill.space != bound:
            raise EmbeddingSpaceError(f"the store holds {bound}, not {skill.space}")
        self._keep_dim(skill.space.dim)
        self._execute(
            "INSERT OR REPLACE INTO skill(namespace, id, record) VALUES (?, ?, ?)",
            (self._namespace(skill.namespace), skill.id, record),
        )

    def delete_skill(self, name: str, skill_id: str) -> bool:
        """Whether it was there."""
        statement = "DELETE FROM skill WHERE namespace = ? AND id = ?"
        return self._execute(statement, (self._known(name), skill_id)).rowcount > 0

    def prune(self, namespace: int, sequence: int) -> None:
        """Forget tombstones up to ``sequence``. Indexes older than that will be built anew."""
        self._execute(
            "DELETE FROM tombstone WHERE namespace = ? AND sequence <= ?", (namespace, sequence)
        )
        self._execute(
            "UPDATE namespace SET pruned = max(pruned, ?) WHERE code = ?", (sequence, namespace)
        )

    def changes(self, statement: str, values: tuple[object, ...] | dict[str, object]) -> bool:
        """Whether a statement, of values by place or by name, changed anything."""
        return self._execute(statement, values).rowcount > 0

    def _keep_dim(self, dim: int) -> None:
        bound, held = bound_space(self._connection)
        check_dim(bound, held, dim)
        if held is None:
            self._execute("UPDATE bank SET dim = ?", (dim,))

    def _known(self, name: str) -> int | None:
        found = self._execute("SELECT code FROM namespace WHERE name = ?", (name,)).fetchone()
        return None if found is None else int(found[0])

    def _namespace(self, name: str) -> int:
        self._execute("INSERT OR IGNORE INTO namespace(name) VALUES (?)", (name,))
        code = self._known(name)
        assert code is not None
        return code

    def _take(self, count: int) -> int:
        """Advance the change sequence; the first of ``count`` new numbers."""
        (last,) = self._execute(
            "UPDATE bank SET sequence = sequence + ? RETURNING sequence", (count,)
        ).fetchone()
        return int(last) - count + 1

    def _not_refused(self, namespace: int, records: Sequence[Record]) -> Sequence[Record]:
        """Those that were not made before their user was forgotten."""
        some = "SELECT 1 FROM refused WHERE namespace = ? LIMIT 1"
        if self._execute(some, (namespace,)).fetchone() is None:
            return records
        users = {record.user_key for record in records}
        until = {user: self._refused_until(namespace, user) for user in unhurried(users)}
        return [record for record in records if record.created_at > until[record.user_key]]

    def _refused_until(self, namespace: int, user_key: str) -> float:
        statement = "SELECT until FROM refused WHERE namespace = ? AND user_key = ?"
        found = self._execute(statement, (namespace, user_key)).fetchone()
        return -math.inf if found is None else float(found[0])

    def _unlike_stored(
        self, namespace: int, records: Sequence[Record]
    ) -> tuple[list[Record], list[int]]:
        """The records that are new or differ from what is stored, and the keys they replace."""
        stored = (
            "SELECT key, record = ? FROM pattern JOIN body USING (key) "
            "WHERE namespace = ? AND id = ?"
        )
        changed, replaced = [], []
        for record in unhurried(records):
            found = self._execute(stored, (record.body, namespace, record.id)).fetchone()
            if found is None or not found[1]:
                changed.append(record)
            if found is not None and not found[1]:
                replaced.append(int(found[0]))
        return changed, replaced

    def _remove(self, namespace: int, keys: Sequence[int]) -> None:
        if keys:
            sequence = self._take(1)
            self._execute_many(
                "INSERT INTO tombstone(namespace, sequence, key) VALUES (?, ?, ?)",
                [(namespace, sequence, key) for key in keys],
            )
            self._bury(namespace, sequence)

    def _bury(self, namespace: int, sequence: int) -> None:
        """Remove the rows whose tombstones have this sequence number."""
        dead = "IN (SELECT key FROM tombstone WHERE namespace = ? AND sequence = ?)"
        which = (namespace, sequence)
        self._execute(
            f"UPDATE namespace SET (patterns, checksum, bytes) = (SELECT patterns - count(*), "
            f"checksum - coalesce(sum(crc), 0), namespace.bytes - coalesce(sum(pattern.bytes), 0) "
            f"FROM pattern WHERE key {dead}), changed = ? WHERE code = ?",
            (*which, sequence, namespace),
        )
        self._execute(f"DELETE FROM body WHERE key {dead}", which)
        self._execute(f"DELETE FROM pattern WHERE key {dead}", which)

    def _insert(self, namespace: int, records: Sequence[Record]) -> None:
        if not records:
            return
        first = self._take(len(records))
        numbered = list(enumerate(records, first))
        self._execute_many(
            _INSERT,
            [
                (key, namespace, record.id, *record.columns, record.bytes, record.crc, record.unit)
                for key, record in numbered
            ],
        )
        self._execute_many(
            "INSERT INTO body(key, record) VALUES (?, ?)",
            [(key, record.body) for key, record in numbered],
        )
        self._execute(
            "UPDATE namespace SET patterns = patterns + ?, checksum = checksum + ?, "
            "bytes = bytes + ?, changed = ? WHERE code = ?",
            (
                len(records),
                sum(record.crc for record in records),
                sum(record.bytes for record in records),
                first + len(records) - 1,
                namespace,
            ),
        )

    def _execute_many(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """In pieces: SQLite takes milliseconds for all, and hardly lets the loop in between."""
        for start in range(0, len(rows), _BLOCK):
            give_way()
            self._connection.executemany(statement, rows[start : start + _BLOCK])
