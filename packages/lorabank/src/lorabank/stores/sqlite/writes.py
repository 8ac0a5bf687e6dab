"""What a write does to the tables. Runs in the writing thread, inside a transaction."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Sequence

from lorabank.config import ReplayConfig
from lorabank.errors import VersionConflictError
from lorabank.stores.base import ForgetCounts, PopulationRecord, PopulationState, QueuedEpisode
from lorabank.stores.memory import conflict
from lorabank.stores.sqlite.duties import write_owed
from lorabank.stores.sqlite.records import ChangeRecord, ExperienceRecord

# Users that one statement looks at.
_TOGETHER = 256


class ReplayKeeper:
    """Adds to the replay, and keeps it within its bounds: per user, by age, and in all.

    All of them once per transaction. Users whose transaction was undone are looked at with the
    next one.
    """

    def __init__(self, config: ReplayConfig) -> None:
        self._config = config
        self._now: float | None = None
        self._grown: set[str] = set()

    def add(self, db: sqlite3.Connection, new: ExperienceRecord) -> None:
        """Add a batch."""
        db.execute(
            "INSERT INTO replay (user_key, created_at, rows, size, body) VALUES (?, ?, ?, ?, ?)",
            new,
        )
        self._grown.add(new.user_key)
        self._now = new.created_at

    def tidy(self, db: sqlite3.Connection) -> None:
        """If something was added, drop what is too old or too much."""
        if self._now is None:
            return
        for user_key in _overgrown(db, sorted(self._grown), self._config.max_rows_per_user):
            _trim_user(db, user_key, self._config.max_rows_per_user)
        db.execute("DELETE FROM replay WHERE created_at < ?", (self._now - self._config.ttl,))
        (size,) = db.execute("SELECT size FROM replay_total").fetchone()
        while size > self._config.max_bytes:
            oldest = "SELECT number, size FROM replay ORDER BY number LIMIT 1"
            number, first = db.execute(oldest).fetchone()
            db.execute("DELETE FROM replay WHERE number = ?", (number,))
            size -= first
        self._now = None
        self._grown.clear()


def write_change(db: sqlite3.Connection, change: ChangeRecord, replay: ReplayKeeper) -> int:
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
        replay.add(db, change.experience)
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
        populations=_mark_stale(db, user_key),
    )
    db.execute(
        "INSERT INTO forgotten VALUES (?, ?) "
        "ON CONFLICT DO UPDATE SET since = max(since, excluded.since)",
        (user_key, now),
    )
    write_owed(db, "forget", user_key, now)
    return counts


def write_population(
    db: sqlite3.Connection, namespace: str, population: PopulationRecord
) -> PopulationState:
    """Store a population; stale if a user in it was forgotten since its experiences were read."""
    generation = secrets.randbits(62)  # as with revisions
    delete_population(db, namespace)
    db.executemany(
        "INSERT OR IGNORE INTO population_users VALUES (?, ?)",
        [(key, namespace) for key in population.user_keys],
    )
    gone = db.execute(
        "DELETE FROM population_users WHERE namespace = ? AND user_key IN "
        "(SELECT user_key FROM forgotten WHERE since >= ?)",
        (namespace, population.created_at),
    ).rowcount
    state = PopulationState(generation, gone > 0)
    values = (namespace, generation, state.stale, population.body)
    db.execute("INSERT INTO populations VALUES (?, ?, ?, ?)", values)
    return state


def delete_population(db: sqlite3.Connection, namespace: str) -> bool:
    """Remove a population; whether it was there."""
    db.execute("DELETE FROM population_users WHERE namespace = ?", (namespace,))
    done = db.execute("DELETE FROM populations WHERE namespace = ?", (namespace,))
    return done.rowcount > 0


def write_deleted(db: sqlite3.Connection, user_id: str) -> bool:
    """Remove an adapter alone; whether it was there."""
    return db.execute("DELETE FROM adapters WHERE user_id = ?", (user_id,)).rowcount > 0


def write_without_replay(db: sqlite3.Connection) -> None:
    """The replay is switched off: drop what it held."""
    db.execute("DELETE FROM replay")


def _mark_stale(db: sqlite3.Connection, user_key: str) -> int:
    """Populations that name the user: they have to be made again. How many there were."""
    db.execute(
        "UPDATE populations SET stale = 1 WHERE namespace IN "
        "(SELECT namespace FROM population_users WHERE user_key = ?)",
        (user_key,),
    )
    return db.execute("DELETE FROM population_users WHERE user_key = ?", (user_key,)).rowcount


def _is_late(db: sqlite3.Connection, user_key: str, created_at: float) -> bool:
    """Whether the user was forgotten since then."""
    query = "SELECT 1 FROM forgotten WHERE user_key = ? AND since >= ?"
    return db.execute(query, (user_key, created_at)).fetchone() is not None


def _overgrown(db: sqlite3.Connection, user_keys: Sequence[str], limit: int) -> list[str]:
    """Those who have more than ``limit`` rows; most have not, and are seen by one statement."""
    found: list[str] = []
    for start in range(0, len(user_keys), _TOGETHER):
        some = user_keys[start : start + _TOGETHER]
        marks = ", ".join("?" * len(some))
        rows = db.execute(
            f"SELECT user_key FROM replay WHERE user_key IN ({marks}) "
            "GROUP BY user_key HAVING sum(rows) > ?",
            (*some, limit),
        )
        found += [user_key for (user_key,) in rows]
    return found


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
