"""Tables of duties and leases, and what is done to them."""

from __future__ import annotations

import sqlite3

from lorabank.stores.base import GRACE, Duty, DutyKind
from lorabank.stores.duties import MOST

_TABLES = (
    "CREATE TABLE IF NOT EXISTS duties (number INTEGER PRIMARY KEY AUTOINCREMENT, "
    "kind TEXT NOT NULL, key TEXT NOT NULL, due REAL NOT NULL, UNIQUE (kind, key))",
    "CREATE INDEX IF NOT EXISTS duties_by_number ON duties (kind, number)",
    "CREATE TABLE IF NOT EXISTS leases (name TEXT PRIMARY KEY, holder TEXT NOT NULL, "
    "expires REAL NOT NULL) WITHOUT ROWID",
)


def create_tables(db: sqlite3.Connection) -> None:
    """Add them if they are not there: files from before they existed get them, too."""
    for statement in _TABLES:
        db.execute(statement)


def write_owed(
    db: sqlite3.Connection, kind: DutyKind, key: str, since: float | None = None
) -> None:
    """Note a duty under a new number; after a forgetting at ``since`` it is due a little later."""
    due = 0.0 if since is None else since + GRACE
    db.execute("DELETE FROM duties WHERE kind = ? AND key = ?", (kind, key))
    db.execute("INSERT INTO duties (kind, key, due) VALUES (?, ?, ?)", (kind, key, due))


def read_duties(db: sqlite3.Connection, kind: DutyKind, now: float, key: str | None) -> list[Duty]:
    """See `AdapterStore.duties`."""
    rows = db.execute(
        "SELECT key, number, since FROM duties "
        "LEFT JOIN forgotten ON kind = 'forget' AND user_key = key "
        "WHERE kind = :kind AND due <= :now AND (:key IS NULL OR key = :key) "
        "ORDER BY number LIMIT :most",
        {"kind": kind, "now": now, "key": key, "most": MOST},
    )
    return [Duty(kind, found, number, since) for found, number, since in rows]


def write_discharged(db: sqlite3.Connection, duty: Duty) -> None:
    """See `AdapterStore.discharge`."""
    db.execute("DELETE FROM duties WHERE number = ?", (duty.number,))


def write_lease(db: sqlite3.Connection, name: str, holder: str, now: float, seconds: float) -> bool:
    """See `AdapterStore.lease`."""
    done = db.execute(
        "INSERT INTO leases VALUES (:name, :holder, :now + :seconds) ON CONFLICT DO UPDATE "
        "SET holder = excluded.holder, expires = excluded.expires "
        "WHERE holder = :holder OR expires <= :now",
        {"name": name, "holder": holder, "now": now, "seconds": seconds},
    )
    return done.rowcount > 0
