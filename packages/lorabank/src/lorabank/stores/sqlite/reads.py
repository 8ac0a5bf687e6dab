"""What is read from the tables. Runs in the reading thread."""

from __future__ import annotations

import sqlite3

from lorabank.stores.base import ForgetCounts, StoreCounts


def read_adapter(db: sqlite3.Connection, user_id: str) -> bytes | None:
    """The adapter's bytes, or None."""
    row = db.execute("SELECT body FROM adapters WHERE user_id = ?", (user_id,)).fetchone()
    return None if row is None else bytes(row[0])


def read_users(db: sqlite3.Connection, after: str | None, limit: int) -> list[str]:
    """A page of user ids."""
    rows = db.execute(
        "SELECT user_id FROM adapters WHERE user_id > ? ORDER BY user_id LIMIT ?",
        (after or "", limit),
    )
    return [user_id for (user_id,) in rows]


def read_queue(db: sqlite3.Connection, limit: int) -> list[tuple[int, str, bytes]]:
    """(number, user key, bytes) of the oldest episodes that wait."""
    return db.execute(
        "SELECT number, user_key, body FROM episodes WHERE dead IS NULL ORDER BY number LIMIT ?",
        (limit,),
    ).fetchall()


def read_experiences(db: sqlite3.Connection) -> list[tuple[str, bytes]]:
    """(user key, bytes) of the replay, by user and then by time."""
    return db.execute("SELECT user_key, body FROM replay ORDER BY user_key, number").fetchall()


def read_remains(db: sqlite3.Connection, user_id: str, user_key: str) -> ForgetCounts:
    """What is there of a user."""
    return ForgetCounts(
        adapters=_count(db, "adapters WHERE user_id = ?", user_id),
        episodes=_count(db, "episodes WHERE user_key = ?", user_key),
        experiences=_count(db, "replay WHERE user_key = ?", user_key),
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
