"""The tables, and how a connection is made.

``pattern`` holds what filters and searches read (a column for each field of `PatternFilter`, the
unit vector and its checksum), ``body`` the whole pattern as codec bytes. A pattern's ``key`` is
taken from the bank's change sequence: replacing a pattern deletes one key and adds a larger one, so
an index catches up by reading keys above the last one it knows, and tombstones since then.

``refused`` says of users who were forgotten until when: what they did up to then is left out.

``namespace`` counts what is there and sums the checksums, so that an index can be checked.
Tombstones up to ``pruned`` are gone: an index older than that is built anew.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from pathlib import Path

from lorabank.errors import BankRejectedError
from lorabank.logs import get_logger
from lorabank_faiss.faults import is_busy

_log = get_logger("lorabank_faiss")
FILE = "patterns.sqlite3"
_APPLICATION = 0x4C6F5246  # "LoRF"
_VERSION = 1
_PAUSE = 0.02
_PAGE = 8192  # holds four patterns of dimension 384, or five of their vectors
_EMPTYING = 500  # milliseconds to wait for readers before the log is left as it is
_CHECKPOINT_PAGES = 4000  # 32 MB: pages that are written again and again are copied less often
_TABLES = """
CREATE TABLE bank(
  bank_id TEXT NOT NULL, sequence INTEGER NOT NULL, dim INTEGER,
  space_name TEXT, space_normalised INTEGER);
CREATE TABLE namespace(
  code INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, changed INTEGER NOT NULL DEFAULT 0,
  pruned INTEGER NOT NULL DEFAULT 0, patterns INTEGER NOT NULL DEFAULT 0,
  checksum INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0);
CREATE TABLE pattern(
  key INTEGER PRIMARY KEY, namespace INTEGER NOT NULL, id TEXT NOT NULL, user_key TEXT NOT NULL,
  user_hash INTEGER NOT NULL, created_at REAL NOT NULL, reward REAL, success INTEGER,
  objective INTEGER NOT NULL, rank INTEGER NOT NULL, has_trial INTEGER NOT NULL,
  bytes INTEGER NOT NULL, crc INTEGER NOT NULL, unit BLOB NOT NULL);
CREATE UNIQUE INDEX pattern_by_id ON pattern(namespace, id);
CREATE INDEX pattern_by_key ON pattern(namespace);
CREATE INDEX pattern_by_user ON pattern(namespace, user_key, id);
CREATE INDEX pattern_by_time ON pattern(namespace, created_at);
CREATE INDEX pattern_with_trial ON pattern(namespace, id) WHERE has_trial = 1;
CREATE TABLE body(key INTEGER PRIMARY KEY, record BLOB NOT NULL);
CREATE TABLE tombstone(
  namespace INTEGER NOT NULL, sequence INTEGER NOT NULL, key INTEGER NOT NULL,
  PRIMARY KEY(namespace, sequence, key)) WITHOUT ROWID;
CREATE TABLE skill(
  namespace INTEGER NOT NULL, id TEXT NOT NULL, record BLOB NOT NULL,
  PRIMARY KEY(namespace, id)) WITHOUT ROWID;
CREATE TABLE lease(name TEXT PRIMARY KEY, holder TEXT NOT NULL, expires REAL NOT NULL);
"""

# Banks from before it existed get it as well.
_REFUSED = """
CREATE TABLE IF NOT EXISTS refused(
  namespace INTEGER NOT NULL, user_key TEXT NOT NULL, until REAL NOT NULL,
  PRIMARY KEY(namespace, user_key)) WITHOUT ROWID
"""


def connect(path: Path, busy_timeout: float, *, cache_mb: int = 8) -> sqlite3.Connection:
    """A connection whose transactions are begun and ended by hand; any thread may use it.

    Every commit is on disk before it returns (WAL, ``synchronous=FULL``).
    """
    connection = sqlite3.connect(
        path, timeout=busy_timeout, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA secure_delete=ON")
        connection.execute(f"PRAGMA cache_size=-{cache_mb * 1024}")
        connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit={64 << 20}")
    except sqlite3.Error:  # such as of a damaged file
        connection.close()
        raise
    return connection


def empty_log(connection: sqlite3.Connection, busy_timeout: float) -> bool:
    """Copy the write-ahead log into the database, and cut it off; False if something keeps it.

    Deleted rows are overwritten in the database, but the log has their pages as they were.
    """
    try:
        connection.execute(f"PRAGMA busy_timeout={_EMPTYING}")
        try:
            (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            connection.execute(f"PRAGMA busy_timeout={1000 * busy_timeout:.0f}")
    except sqlite3.Error as exc:  # the deletion is on disk: this is tried again with the next
        _log.warning("the log could not be emptied", error=str(exc))
        return False
    if busy:
        _log.warning("the log of what was deleted is kept by a reader, until the next deletion")
    return not busy


def prepare(path: Path, busy_timeout: float) -> None:
    """Make the directory and the database if they are not there, and check them if they are.

    Raises:
        BankRejectedError: a database of another application or a newer version.
        sqlite3.Error, OSError: as they come.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + busy_timeout
    while True:
        try:
            return _prepare_once(path, busy_timeout)
        except sqlite3.OperationalError as exc:
            # Switching to WAL while others do the same fails at once, without waiting.
            if not is_busy(exc) or time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE)


def _prepare_once(path: Path, busy_timeout: float) -> None:
    connection = connect(path, busy_timeout)
    try:
        connection.execute(f"PRAGMA page_size={_PAGE}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("BEGIN IMMEDIATE")
        if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            _create(connection)
        _check(connection)
        connection.execute(_REFUSED)
        connection.execute("COMMIT")
    finally:
        connection.close()


def _create(connection: sqlite3.Connection) -> None:
    for statement in _TABLES.split(";\n"):
        if statement.strip():
            connection.execute(statement)
    connection.execute(
        "INSERT INTO bank(bank_id, sequence) VALUES (?, 0)", (secrets.token_hex(16),)
    )
    connection.execute(f"PRAGMA application_id={_APPLICATION}")
    connection.execute(f"PRAGMA user_version={_VERSION}")


def _check(connection: sqlite3.Connection) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != _APPLICATION:
        raise BankRejectedError("the directory holds another application's database")
    if version != _VERSION:
        raise BankRejectedError(
            f"the bank has format version {version}, known here is {_VERSION}: "
            "upgrade lorabank-faiss"
        )
