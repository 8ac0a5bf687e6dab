"""What a write does to the tables. Runs in the writing thread, inside a transaction."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Sequence

from lorabank.config import ReplayConfig
from lorabank.errors import VersionConflictError
from lorabank.stores.base import ForgetCounts, QueuedEpisode
from lorabank.stores.memory import conflict
from lorabank.stores.sqlite.duties import write_owed
from lorabank.stores.sqlite.records import ChangeRecord, ExperienceRecord


def write_change(db: sqlite3.Connection, change: ChangeRecord, replay: ReplayConfig) -> int:
    """All of a change; the new revision.

    Raises:
        VersionConflictError: before anything was written.
    """
    # Random, so that it never comes back: not after a delete, not in another process.
    revision = secrets.randbits(62)
    if change.expected is None:
        values = (change.user_id, change.version, revision, change.adapter)
        done = db.execute("INSERT OR IGNORE INTO adapters VALUES (?, ?, ?, ?)", values)
    else:
        done = db.execute(
            "UPDATE adapters SET version = ?, revision = ?, body = ? "
            "WHERE user_id = ? AND revision = ?",
            (change.version, revision, change.adapter, change.user_id, change.expected),
        )
    if done.rowcount == 0:
        raise VersionConflictError(conflict(change.user_id))
    for user_key, created_at, body in change.episodes:
        if not _is_late(db, user_key, created_at):
            db.execute("INSERT INTO episodes (user_key, body) VALUES (?, ?)", (user_key, body))
    if change.experience is not None:
        _write_experience(db, change.experience, replay)
    return revision


def write_settled(
    db: sqlite3.Connection, episodes: Sequence[QueuedEpisode], dead: str | None
) -> list[str]:
    """Take episodes off the queue; the keys of users who were forgotten since they were made."""
    late = set()
    for episode in episodes:
        where = "WHERE number = ? AND dead IS NULL"
        if dead is None:
            db.execute(f"DELETE FROM episodes {where}", (episode.number,))
        else:
            db.execute(f"UPDATE episodes SET dead = ? {where}", (dead, episode.number))
        pattern = episode.pattern
        if _is_late(db, pattern.user_key, pattern.created_at):
            late.add(pattern.user_key)
    for user_key in sorted(late):
        write_owed(db, "forget", user_key)
    return sorted(late)


def write_forgotten(
    db: sqlite3.Connection, user_id: str, user_key: str, now: float
) -> ForgetCounts:
    """Remove everything of a user, and note since when."""
    counts = ForgetCounts(
        adapters=db.execute("DELETE FROM adapters WHERE user_id = ?", (user_id,)).rowcount,
        episodes=db.execute("DELETE FROM episodes WHERE user_key = ?", (user_key,)).rowcount,
        experiences=db.execute("DELETE FROM replay WHERE user_key = ?", (user_key,)).rowcount,
    )
    db.execute(
        "INSERT INTO forgotten VALUES (?, ?) "
        "ON CONFLICT DO UPDATE SET since = max(since, excluded.since)",
        (user_key, now),
    )
    write_owed(db, "forget", user_key, now)
    return counts


def write_deleted(db: sqlite3.Connection, user_id: str) -> bool:
    """Remove an adapter alone; whether it was there."""
    return db.execute("DELETE FROM adapters WHERE user_id = ?", (user_id,)).rowcount > 0


def write_without_replay(db: sqlite3.Connection) -> None:
    """The replay is switched off: drop what it held."""
    db.execute("DELETE FROM replay")


def _is_late(db: sqlite3.Connection, user_key: str, created_at: float) -> bool:
    """Whether the user was forgotten since then."""
    query = "SELECT 1 FROM forgotten WHERE user_key = ? AND since >= ?"
    return db.execute(query, (user_key, created_at)).fetchone() is not None


def _write_experience(db: sqlite3.Connection, new: ExperienceRecord, replay: ReplayConfig) -> None:
    """Add to the replay, and keep it within its bounds: per user, by age, and in all."""
    db.execute(
        "INSERT INTO replay (user_key, created_at, rows, size, body) VALUES (?, ?, ?, ?, ?)", new
    )
    _trim_user(db, new.user_key, replay.max_rows_per_user)
    db.execute("DELETE FROM replay WHERE created_at < ?", (new.created_at - replay.ttl,))
    (size,) = db.execute("SELECT size FROM replay_total").fetchone()
    while size > replay.max_bytes:
        oldest = "SELECT number, size FROM replay ORDER BY number LIMIT 1"
        number, first = db.execute(oldest).fetchone()
        db.execute("DELETE FROM replay WHERE number = ?", (number,))
        size -= first


def _trim_user(db: sqlite3.Connection, user_key: str, limit: int) -> None:
    """Keep the newest batches of a user with together at most ``limit`` rows, at least one."""
    newest_first = db.execute(
        "SELECT number, rows FROM replay WHERE user_key = ? ORDER BY number DESC", (user_key,)
    )
    total = 0
    for position, (number, rows) in enumerate(newest_first):
        total += rows
        if position > 0 and total > limit:
            newest_first.close()
            db.execute("DELETE FROM replay WHERE user_key = ? AND number <= ?", (user_key, number))
            return
