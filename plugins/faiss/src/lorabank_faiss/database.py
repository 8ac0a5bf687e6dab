"""A directory's database with everything that this process has open on it."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack, closing

from lorabank.types.space import EmbeddingSpace
from lorabank_faiss import schema
from lorabank_faiss.contents import Contents
from lorabank_faiss.faults import translated
from lorabank_faiss.pool import ReaderPool
from lorabank_faiss.reading import State
from lorabank_faiss.settings import Settings
from lorabank_faiss.shards import Shards
from lorabank_faiss.snapshots import Snapshots
from lorabank_faiss.transaction import bound_space
from lorabank_faiss.writing import Writer


class Database:
    """Opened in a worker thread: everything here blocks.

    Attributes:
        writer: the one connection that writes.
        readers: connections for searches and other reading.
        background: one connection for building indexes.
        shards: the indexes in memory.
        snapshots: the indexes on disk.

    Raises: BankError of any kind: see `faults`.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        path = settings.directory / schema.FILE
        with translated(), ExitStack() as opened:  # all is closed again if anything fails
            schema.prepare(path, settings.busy_timeout)

            def connect() -> sqlite3.Connection:
                return opened.enter_context(closing(schema.connect(path, settings.busy_timeout)))

            self.writer = Writer(connect(), settings.busy_timeout)
            self.readers = ReaderPool(connect, settings.readers, settings.busy_timeout)
            self.background = ReaderPool(connect, 1, settings.busy_timeout)
            with self.readers.snapshot() as connection:
                (bank_id,) = connection.execute("SELECT bank_id FROM bank").fetchone()
            opened.pop_all()
        self.snapshots = Snapshots(settings.directory, bank_id)
        self.shards = Shards(self._load, settings.busy_timeout, settings.cache_mb << 20)

    def bound(self) -> tuple[EmbeddingSpace | None, int | None]:
        """The space, and the dimension of what is held."""
        with self.readers.snapshot() as connection:
            return bound_space(connection)

    def overgrown(self, name: str) -> bool:
        """Whether a namespace's index has work for the maintenance."""
        contents = self.shards.of(name).contents
        if contents is None:
            return False
        if contents.main is None:
            return contents.rows.living > self.settings.flat_limit
        return len(contents.tail) > self.settings.tail_limit

    def close(self) -> None:
        """Close all connections."""
        for part in (self.readers, self.background, self.writer):
            part.close()

    def _load(self, connection: sqlite3.Connection, state: State) -> Contents:
        space, dim = bound_space(connection)
        assert dim is not None  # there are patterns
        self.shards.shrink()
        if state.patterns > self.settings.flat_limit:
            found = self.snapshots.load(state, dim, space)
            if found is not None:
                return found
        return Contents(dim)
