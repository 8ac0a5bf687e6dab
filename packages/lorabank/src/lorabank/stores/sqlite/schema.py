"""Tables of the SQLite store, and opening a connection to them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from lorabank.errors import StoreError
from lorabank.stores.sqlite.duties import create_tables

APPLICATION_ID = 0x4C6F5241  # "LoRA"
VERSION = 1
# Bytes of the smallest page that SQLite knows.
SMALLEST = 512
# Seconds that SQLite itself waits for another process's write to end.
BUSY = 15.0

TABLES = """
CREATE TABLE adapters (
    user_id TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE TABLE episodes (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    user_key TEXT NOT NULL,
    dead TEXT,
    body BLOB NOT NULL
);
CREATE INDEX episodes_by_user ON episodes (user_key);
CREATE INDEX episodes_waiting ON episodes (number) WHERE dead IS NULL;
CREATE TABLE replay (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    user_key TEXT NOT NULL,
    created_at REAL NOT NULL,
    rows INTEGER NOT NULL,
    size INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX replay_by_user ON replay (user_key, number, rows);
CREATE INDEX replay_by_age ON replay (created_at);
CREATE TABLE replay_total (size INTEGER NOT NULL);
INSERT INTO replay_total VALUES (0);
CREATE TRIGGER replay_grows AFTER INSERT ON replay
    BEGIN UPDATE replay_total SET size = size + new.size; END;
CREATE TRIGGER replay_shrinks AFTER DELETE ON replay
    BEGIN UPDATE replay_total SET size = size - old.size; END;
CREATE TABLE forgotten (
    user_key TEXT PRIMARY KEY,
    since REAL NOT NULL
) WITHOUT ROWID;
"""


def connect(path: str) -> sqlite3.Connection:
    """A connection in autocommit mode, safe to hand from thread to thread one at a time."""
    db = sqlite3.connect(path, timeout=BUSY, isolation_level=None, check_same_thread=False)
    try:
        # FULL: a commit that returned survives power loss, not only the death of the process.
        db.execute("PRAGMA synchronous = FULL")
        # What is deleted is overwritten: a forgotten user's bytes don't stay in free pages.
        db.execute("PRAGMA secure_delete = ON")
    except sqlite3.Error:
        db.close()
        raise
    return db


def create_or_check(db: sqlite3.Connection, path: str) -> None:
    """Create the tables in a new file; refuse a file of another kind, version, or damaged.

    Raises:
        StoreError: it says which.
        sqlite3.Error: what SQLite itself finds.
    """
    # Looked at before anything is written: another application's file stays as it is. SQLite takes
    # a file without even one page for an empty one, and would write over what is left of it.
    if 0 < Path(path).stat().st_size < SMALLEST:
        raise StoreError(f"{path} is not a database, or damaged: too short for one")
    _is_new(db, path)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("BEGIN IMMEDIATE")
    try:
        if _is_new(db, path):
            for statement in _statements():
                db.execute(statement)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {VERSION}")
        create_tables(db)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _is_new(db: sqlite3.Connection, path: str) -> bool:
    """Whether the file is still empty.

    Raises:
        StoreError: it is not ours, or of another version.
    """
    # One statement: another process may be creating the tables at this moment.
    kind, version, tables = db.execute(
        "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_master) "
        "FROM pragma_application_id, pragma_user_version"
    ).fetchone()
    if tables == 0 and kind in (0, APPLICATION_ID):
        return True
    if kind != APPLICATION_ID:
        raise StoreError(f"{path} is a database of something else: choose another file")
    if version != VERSION:
        raise StoreError(f"{path} has format version {version}, this is {VERSION}: upgrade")
    return False


def _statements() -> list[str]:
    """`TABLES` cut into single statements: executescript would commit in between."""
    statements, current = [], ""
    for line in TABLES.strip().splitlines():
        current += line + "\n"
        if sqlite3.complete_statement(current):
            statements.append(current)
            current = ""
    return statements
