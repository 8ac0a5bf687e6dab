"""From SQLite's and the system's errors to the bank's."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from lorabank.errors import BankError, BankRejectedError, BankUnavailableError, CodecError

_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_PASSING = {
    sqlite3.SQLITE_FULL: "no space is left on the disk",
    sqlite3.SQLITE_IOERR: "reading or writing the disk failed",
    sqlite3.SQLITE_NOMEM: "no memory is left",
    sqlite3.SQLITE_INTERRUPT: "the operation was interrupted",
    sqlite3.SQLITE_PROTOCOL: "other processes hold the database's locks",
}
_LASTING = {
    sqlite3.SQLITE_READONLY: "the directory or the database is read-only",
    sqlite3.SQLITE_CANTOPEN: "the database can't be opened: is the directory there and writable?",
    sqlite3.SQLITE_PERM: "access to the database is forbidden",
    sqlite3.SQLITE_CORRUPT: "the database is damaged: restore it from a backup",
    sqlite3.SQLITE_NOTADB: "the database file is not a database: restore it from a backup",
    sqlite3.SQLITE_TOOBIG: "a pattern or skill is too large",
}
_PASSING_ERRNO = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.EFBIG}


@contextmanager
def translated() -> Iterator[None]:
    """Raise bank errors in place of SQLite's, the codec's and the system's."""
    try:
        yield
    except sqlite3.Error as exc:
        raise bank_error(exc) from exc
    except UnicodeDecodeError as exc:  # text of the database, or of SQLite's complaint about it
        raise BankRejectedError(f"{_LASTING[sqlite3.SQLITE_CORRUPT]} ({exc})") from exc
    except OSError as exc:
        kind = BankUnavailableError if exc.errno in _PASSING_ERRNO else BankRejectedError
        raise kind(f"the bank's directory can't be used: {exc}") from exc
    except CodecError as exc:
        raise BankRejectedError(f"a stored record is damaged: {exc}") from exc


def bank_error(exc: sqlite3.Error) -> BankError:
    """What an error of SQLite means to a caller."""
    code = primary_code(exc)
    if code in _BUSY:
        return BankUnavailableError("other processes kept the bank busy: try again later")
    if code in _PASSING:
        return BankUnavailableError(f"{_PASSING[code]} ({exc})")
    return BankRejectedError(f"{_LASTING.get(code, 'the database refused')} ({exc})")


def primary_code(exc: sqlite3.Error) -> int:
    """SQLite's primary result code, or -1 if the error is not SQLite's own."""
    code = getattr(exc, "sqlite_errorcode", None)
    return -1 if code is None else int(code) & 0xFF


def is_busy(exc: sqlite3.Error) -> bool:
    """Whether other connections are in the way."""
    return primary_code(exc) in _BUSY
