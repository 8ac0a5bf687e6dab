"""Connections for reading."""

from __future__ import annotations

import queue
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lorabank.errors import BankUnavailableError
from lorabank_faiss.faults import translated


class ReaderPool:
    """Connections for reading, handed out one at a time."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], count: int, patience: float):
        self._free: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue()
        self._patience = patience
        self._count = count
        for _ in range(count):
            connection = connect()
            connection.execute("PRAGMA query_only=ON")
            self._free.put(connection)

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """A connection with no transaction begun; faults inside the block become bank errors."""
        try:
            connection = self._free.get(timeout=self._patience)
        except queue.Empty as exc:
            raise BankUnavailableError("all readers are busy: try again later") from exc
        try:
            with translated():
                yield connection
        finally:
            self._free.put(connection)

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees one state of the database throughout the block."""
        with self.connection() as connection, transaction(connection):
            yield connection

    def close(self) -> None:
        """Close all connections, which must all have been given back."""
        for _ in range(self._count):
            with translated():
                self._free.get(timeout=self._patience).close()


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """A read transaction: one state of the database, from the first query on."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
