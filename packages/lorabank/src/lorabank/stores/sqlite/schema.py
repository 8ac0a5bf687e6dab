"""Tables of the SQLite store, and opening a connection to them."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from lorabank.errors import StoreError
from lorabank.logs import get_logger
from lorabank.stores.sqlite.duties import create_tables

log = get_logger(__name__)

APPLICATION_ID = 0x4C6F5241  # "LoRA"
VERSION = 2
# Bytes of the smallest page that SQLite knows.
SMALLEST = 512
# Seconds that SQLite itself waits for another process's write to end.
BUSY = 15.0
# Pages in the write-ahead log at which a commit copies them into the file. Usually that has been
# done beside the commits (`lorabank.stores.sqlite.checkpoints`); this bounds the log if not.
CHECKPOINT = 32_000
# Milliseconds to wait for readers before the log is left as it is.
EMPTYING = 500
# Seconds between tries while the log is being copied: SQLite itself does not wait for that.
AGAIN = 0.005

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
# Since version 2.
POPULATIONS = """
CREATE TABLE populations (
    namespace TEXT PRIMARY KEY,
    generation INTEGER NOT NULL,
    stale INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE TABLE population_users (
    user_key TEXT NOT NULL,
    namespace TEXT NOT NULL,
    PRIMARY KEY (user_key, namespace)
) WITHOUT ROWID;
CREATE INDEX population_users_by_namespace ON population_users (namespace);
"""


def connect(path: str) -> sqlite3.Connection:
    """A connection in autocommit mode, safe to hand from thread to thread one at a time."""
    db = sqlite3.connect(path, timeout=BUSY, isolation_level=None, check_same_thread=False)
    try:
        # FULL: a commit that returned survives power loss, not only the death of the process.
        db.execute("PRAGMA synchronous = FULL")
        # What is deleted is overwritten: a forgotten user's bytes don't stay in free pages.
        db.execute("PRAGMA secure_delete = ON")
        db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT}")
    except sqlite3.Error:
        db.close()
        raise
    return db


def _truncate(db: sqlite3.Connection) -> bool:
    """Whether the log could not be cut off, as somebody reads from it, or copies it, for long."""
    for _ in range(round(EMPTYING / 1000 / AGAIN)):
        busy, frames, _ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        # -1: somebody else is at a checkpoint, such as the one that runs beside our own writes.
        if not busy or frames >= 0:
            break
        time.sleep(AGAIN)
    return bool(busy)


def empty_log(db: sqlite3.Connection) -> bool:
    """Copy the write-ahead log into the file, and cut it off; False if something keeps it."""
    try:
        db.execute(f"PRAGMA busy_timeout = {EMPTYING}")
        try:
            busy = _truncate(db)
        finally:
            db.execute(f"PRAGMA busy_timeout = {1000 * BUSY:.0f}")
    except sqlite3.Error as exc:  # what was to be written is written: this is tried again
        log.warning("the log could not be emptied", error=str(exc))
        return False
    return not busy


def _write_ahead(db: sqlite3.Connection) -> None:
    """Have the file use a write-ahead log. SQLite does not wait for others while that changes, as
    it does once in the life of a file that several open at once when it is new."""
    until = time.monotonic() + BUSY
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= until:
                raise
            time.sleep(AGAIN)
        else:
            return


def create_or_check(db: sqlite3.Connection, path: str) -> None:
    """Create the tables that are not there yet; refuse a file of another kind, or damaged.

    A file of an earlier version becomes one of this; one of a later version is refused.

    Raises:
        StoreError: it says which.
        sqlite3.Error: what SQLite itself finds.
    """
    # Looked at before anything is written: another application's file stays as it is. SQLite takes
    # a file without even one page for an empty one, and would write over what is left of it.
    if 0 < Path(path).stat().st_size < SMALLEST:
        raise StoreError(f"{path} is not a database, or damaged: too short for one")
    _version(db, path)
    _write_ahead(db)
    db.execute("BEGIN IMMEDIATE")
    try:
        version = _version(db, path)
        missing = {0: TABLES + POPULATIONS, 1: POPULATIONS}.get(version)
        if missing is not None:
            for statement in _statements(missing):
                db.execute(statement)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {VERSION}")
        create_tables(db)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _version(db: sqlite3.Connection, path: str) -> int:
    """Version of the tables; 0 if the file is still empty.

    Raises:
        StoreError: it is not ours, or of a version that is not known here.
    """
    # One statement: another process may be creating the tables at this moment.
    kind, version, tables = db.execute(
        "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_master) "
        "FROM pragma_application_id, pragma_user_version"
    ).fetchone()
    if tables == 0 and kind in (0, APPLICATION_ID):
        return 0
    if kind != APPLICATION_ID:
        raise StoreError(f"{path} is a database of something else: choose another file")
    if not 1 <= version <= VERSION:
        raise StoreError(f"{path} has format version {version}, this is {VERSION}: upgrade")
    return int(version)


def _statements(tables: str) -> list[str]:
    """SQL cut into single statements: executescript would commit in between."""
    statements, current = [], ""
    for line in tables.strip().splitlines():
        current += line + "\n"
        if sqlite3.complete_statement(current):
            statements.append(current)
            current = ""
    return statements
