"""What is read from the tables. Runs in the reading thread, decoding included."""

from __future__ import annotations

import sqlite3

from lorabank.adapter import Adapter
from lorabank.codec import decode
from lorabank.stores.base import (
    ForgetCounts,
    PopulationState,
    QueuedEpisode,
    StoreCounts,
    Stored,
    StoredPopulation,
)
from lorabank.turns import unhurried
from lorabank.types.batches import Parts
from lorabank.types.feedback import Feedback
from lorabank.types.pattern import Pattern
from lorabank.types.values import parts_of

# Batches of the replay per read, so that other readers get their turn in between.
PAGE = 256
# More rows than any table holds; SQLite has no larger number.
MOST = 2**63 - 1


def read_adapter(db: sqlite3.Connection, user_id: str) -> Stored | None:
    """The adapter with its revision, or None."""
    query = "SELECT body, revision FROM adapters WHERE user_id = ?"
    row = db.execute(query, (user_id,)).fetchone()
    return None if row is None else Stored(decode(Adapter, "adapter", row[0]), row[1])


def read_users(db: sqlite3.Connection, after: str | None, limit: int) -> list[str]:
    """A page of user ids."""
    rows = db.execute(
        "SELECT user_id FROM adapters WHERE user_id > ? ORDER BY user_id LIMIT ?",
        (after or "", min(limit, MOST)),
    )
    return [user_id for (user_id,) in rows]


def read_queue(db: sqlite3.Connection, limit: int) -> list[QueuedEpisode]:
    """The oldest episodes that wait."""
    rows = db.execute(
        "SELECT number, body FROM episodes WHERE dead IS NULL ORDER BY number LIMIT ?",
        (min(limit, MOST),),
    )
    return [
        QueuedEpisode(number, decode(Pattern, "pattern", body)) for number, body in unhurried(rows)
    ]


def read_experiences(
    db: sqlite3.Connection, after: tuple[str, int], since: float
) -> list[tuple[str, int, Parts]]:
    """(user key, number, parts of a batch): a page of the replay, by user and then by number."""
    rows = db.execute(
        "SELECT user_key, number, body FROM replay "
        "WHERE (user_key, number) > (?, ?) AND created_at >= ? "
        "ORDER BY user_key, number LIMIT ?",
        (*after, since, PAGE),
    )
    return [
        (key, number, parts_of(decode(Feedback, "feedback", body)))
        for key, number, body in unhurried(rows)
    ]


def read_population_state(db: sqlite3.Connection, namespace: str) -> PopulationState | None:
    """What is stored of a population, without its body."""
    query = "SELECT generation, stale FROM populations WHERE namespace = ?"
    row = db.execute(query, (namespace,)).fetchone()
    return None if row is None else PopulationState(row[0], bool(row[1]))


def read_population(db: sqlite3.Connection, namespace: str) -> StoredPopulation | None:
    """A namespace's population, or None."""
    query = "SELECT generation, stale, body FROM populations WHERE namespace = ?"
    row = db.execute(query, (namespace,)).fetchone()
    if row is None:
        return None
    return StoredPopulation(row[2], PopulationState(row[0], bool(row[1])))


def read_remains(db: sqlite3.Connection, user_id: str, user_key: str) -> ForgetCounts:
    """What is there of a user."""
    return ForgetCounts(
        adapters=_count(db, "adapters WHERE user_id = ?", user_id),
        episodes=_count(db, "episodes WHERE user_key = ?", user_key),
        experiences=_count(db, "replay WHERE user_key = ?", user_key),
        populations=_count(db, "population_users WHERE user_key = ?", user_key),
    )


def read_counts(db: sqlite3.Connection) -> StoreCounts:
    """How much is there."""
    (size,) = db.execute("SELECT size FROM replay_total").fetchone()
    return StoreCounts(
        adapters=_count(db, "adapters"),
        queued=_count(db, "episodes WHERE dead IS NULL"),
        dead=_count(db, "episodes WHERE dead IS NOT NULL"),
        experiences=_count(db, "replay"),
        experience_bytes=int(size),
    )


def _count(db: sqlite3.Connection, what: str, *values: str) -> int:
    (count,) = db.execute(f"SELECT count(*) FROM {what}", values).fetchone()
    return int(count)
