"""What SQLite alone does with the bytes of updates: the reference of a store's throughput."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path


def rows_per_second(folder: Path, adapter: int, replay: int, count: int, together: int) -> float:
    """Replace one row and add one, of so many bytes, ``count`` times; each commit is synced.

    Args:
        folder: a file is made there.
        adapter, replay: bytes of what is replaced, and of what is added.
        count: of updates.
        together: so many share a transaction.
    """
    db = sqlite3.connect(folder / "plain.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE adapters (user INTEGER PRIMARY KEY, body BLOB)")
    db.execute("CREATE TABLE replay (id INTEGER PRIMARY KEY, body BLOB)")
    one, other = bytes(adapter), bytes(replay)
    started = time.perf_counter()
    for first in range(0, count, together):
        users = range(first, min(first + together, count))
        db.execute("BEGIN IMMEDIATE")
        db.executemany(
            "REPLACE INTO adapters VALUES (?, ?)", ((user % 1000, one) for user in users)
        )
        db.executemany("INSERT INTO replay (body) VALUES (?)", ((other,) for _ in users))
        db.execute("COMMIT")
    wall = time.perf_counter() - started
    db.close()
    return count / wall
