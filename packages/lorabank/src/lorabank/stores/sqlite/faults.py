"""SQLite's errors in the store's own words."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from lorabank.errors import StoreError, StoreUnavailableError

_PASSING = {
    sqlite3.SQLITE_BUSY: "another process has been writing for too long",
    sqlite3.SQLITE_LOCKED: "another connection has been writing for too long",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk failed",
    sqlite3.SQLITE_NOMEM: "out of memory",
}
_LASTING = {
    sqlite3.SQLITE_CORRUPT: "the file is damaged: restore it from a backup",
    sqlite3.SQLITE_NOTADB: "the file is not a database, or damaged",
    sqlite3.SQLITE_READONLY: "the file or its folder is read-only: give write permission",
    sqlite3.SQLITE_CANTOPEN: "the file can't be opened: check the path and its permissions",
    sqlite3.SQLITE_PERM: "no permission to use the file",
    sqlite3.SQLITE_TOOBIG: "a record is too large for SQLite",
}


@contextmanager
def translated(path: str = "the store's file") -> Iterator[None]:
    """Raise a `StoreError` in place of any `sqlite3.Error`."""
    try:
        yield
    except sqlite3.Error as exc:
        code = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code in _PASSING:
            raise StoreUnavailableError(f"{path}: {_PASSING[code]} ({exc})") from exc
        reason = _LASTING.get(code, "SQLite refused")
        raise StoreError(f"{path}: {reason} ({exc})") from exc
