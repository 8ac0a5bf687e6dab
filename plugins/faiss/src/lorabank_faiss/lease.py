"""Who may write snapshots: one process at a time, for as long as it goes on saying so.

Nothing depends on it but effort: two that write the same snapshot leave one whole file.
"""

from __future__ import annotations

import sqlite3

from lorabank_faiss.transaction import Transaction

NAME = "snapshots"
SECONDS = 60.0


def may_ask(connection: sqlite3.Connection, holder: str, now: float) -> bool:
    """Whether `acquire` might succeed: looking costs less than asking."""
    found = connection.execute("SELECT holder, expires FROM lease WHERE name = ?", (NAME,))
    row = found.fetchone()
    return row is None or row[0] == holder or row[1] < now or row[1] > now + 2 * SECONDS


def acquire(transaction: Transaction, holder: str, now: float) -> bool:
    """Take or prolong the lease; whether it is held now. ``now`` in unix seconds.

    One that ends unreasonably late (a clock was wrong) is taken too.
    """
    return transaction.changes(
        "INSERT INTO lease(name, holder, expires) VALUES (:name, :holder, :now + :seconds) "
        "ON CONFLICT(name) DO UPDATE SET holder = :holder, expires = :now + :seconds "
        "WHERE holder = :holder OR expires < :now OR expires > :now + 2 * :seconds",
        {"name": NAME, "holder": holder, "now": now, "seconds": SECONDS},
    )


def release(transaction: Transaction, holder: str) -> bool:
    """Give the lease back; whether it was held."""
    return transaction.changes("DELETE FROM lease WHERE name = ? AND holder = ?", (NAME, holder))
