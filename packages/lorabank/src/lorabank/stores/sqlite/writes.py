"""What a write does to the tables. Runs in the writing thread, inside a transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from lorabank.codec import encode
from lorabank.config import ReplayConfig
from lorabank.errors import VersionConflictError
from lorabank.stores.base import Change, Experience, ForgetCounts
from lorabank.stores.memory import conflict


def write_change(db: sqlite3.Connection, change: Change, replay: ReplayConfig) -> None:
    """All of a change.

    Raises:
        VersionConflictError: before anything was written.
    """
    adapter = change.adapter
    row = db.execute(
        "SELECT version FROM adapters WHERE user_id = ?", (adapter.user_id,)
    ).fetchone()
    stored = None if row is None else row[0]
    if stored != change.expected:
        raise VersionConflictError(conflict(adapter.user_id, stored, change.expected))
    db.execute(
        "INSERT OR REPLACE INTO adapters VALUES (?, ?, ?, ?)",
        (adapter.user_id, change.user_key, adapter.version, adapter.to_bytes()),
    )
    since = _forgotten_since(db, change.user_key)
    for pattern in change.episodes:
        if pattern.created_at >= since:
            db.execute(
                "INSERT INTO episodes (user_key, body) VALUES (?, ?)",
                (pattern.user_key, encode(pattern, "pattern")),
            )
    if change.experience is not None and replay.enabled:
        _write_experience(db, change.experience, replay)


def write_settled(db: sqlite3.Connection, numbers: Sequence[int], dead: str | None) -> list[int]:
    """Take episodes off the queue; the numbers of those that were not there any more."""
    gone = []
    for number in numbers:
        if dead is None:
            done = db.execute("DELETE FROM episodes WHERE number = ?", (number,))
        else:
            done = db.execute("UPDATE episodes SET dead = ? WHERE number = ?", (dead, number))
        if done.rowcount == 0:
            gone.append(number)
    return gone


def write_forgotten(
    db: sqlite3.Connection, user_id: str, user_key: str, now: float
) -> ForgetCounts:
    """Remove everything of a user, and note since when."""
    counts = ForgetCounts(
        adapters=db.execute("DELETE FROM adapters WHERE user_id = ?", (user_id,)).rowcount,
        episodes=db.execute("DELETE FROM episodes WHERE user_key = ?", (user_key,)).rowcount,
        experiences=db.execute("DELETE FROM replay WHERE user_key = ?", (user_key,)).rowcount,
    )
    db.execute("INSERT OR REPLACE INTO forgotten VALUES (?, ?)", (user_key, now))
    return counts


def _forgotten_since(db: sqlite3.Connection, user_key: str) -> float:
    row = db.execute("SELECT since FROM forgotten WHERE user_key = ?", (user_key,)).fetchone()
    return 0.0 if row is None else float(row[0])


def _write_experience(db: sqlite3.Connection, new: Experience, replay: ReplayConfig) -> None:
    """Add to the replay, and keep it within its bounds: per user, by age, and in all."""
    feedback = new.feedback
    db.execute(
        "INSERT INTO replay (user_key, created_at, rows, size, body) VALUES (?, ?, ?, ?, ?)",
        (
            new.user_key,
            new.created_at,
            len(feedback),
            feedback.nbytes,
            encode(feedback.copy(), "feedback"),
        ),
    )
    _trim_user(db, new.user_key, replay.max_rows_per_user)
    db.execute("DELETE FROM replay WHERE created_at < ?", (new.created_at - replay.ttl,))
    (size,) = db.execute("SELECT size FROM replay_total").fetchone()
    while size > replay.max_bytes:
        number, first = db.execute("SELECT number, size FROM replay ORDER BY number").fetchone()
        db.execute("DELETE FROM replay WHERE number = ?", (number,))
        size -= first


def _trim_user(db: sqlite3.Connection, user_key: str, limit: int) -> None:
    """Keep the newest batches of a user with together at most ``limit`` rows, at least one."""
    newest_first = db.execute(
        "SELECT number, rows FROM replay WHERE user_key = ? ORDER BY number DESC", (user_key,)
    ).fetchall()
    total = 0
    for position, (number, rows) in enumerate(newest_first):
        total += rows
        if position > 0 and total > limit:
            db.execute("DELETE FROM replay WHERE user_key = ? AND number <= ?", (user_key, number))
            return
