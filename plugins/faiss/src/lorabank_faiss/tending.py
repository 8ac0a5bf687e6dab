"""What keeps one namespace's index in shape. Blocking: for the maintenance thread alone."""

from __future__ import annotations

import sqlite3
import threading

from anyio import from_thread

from lorabank.types.space import EmbeddingSpace
from lorabank_faiss.building import Builder
from lorabank_faiss.contents import Contents
from lorabank_faiss.database import Database
from lorabank_faiss.pool import transaction
from lorabank_faiss.reading import State, state_of
from lorabank_faiss.shard import Shard
from lorabank_faiss.threads import single
from lorabank_faiss.transaction import bound_space

_MERGED_AT_ONCE = 128  # vectors, under the lock: a few milliseconds
_DEAD_SHARE = 0.25
_GROWTH = 4  # trained again when there are this many times more rows
_UNSAVED_SHARE = 0.05


class StoppedError(Exception):
    """The store is being closed."""


class Tender:
    """Builds, merges and saves the indexes of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._settings = database.settings
        self._stopping = threading.Event()
        self._saved: dict[str, tuple[int, int]] = {}  # merged and dead rows in the snapshot

    def stop(self) -> None:
        """Have the thread's work end at the next block, with `StoppedError`."""
        self._stopping.set()

    def check(self) -> None:
        """Raises StoppedError, or the event loop's cancellation of the task that waits for us."""
        if self._stopping.is_set():
            raise StoppedError
        from_thread.check_cancelled()

    def tend(self, name: str) -> bool:
        """Build or merge what is due; whether the index should be saved."""
        shard = self._database.shards.of(name)
        with self._database.background.connection() as connection:
            if not self._has_main(connection, shard):
                return False
            contents = self._updated(connection, shard)
            if self._outgrown(contents):
                contents = self._rebuild(connection, shard, contents.dim)
        self._merge(shard)
        self._database.shards.shrink()
        return self._unsaved(shard)

    def read_trials(self) -> None:
        """Read the trials that searches have asked for, where they were too many for a search."""
        shards = self._database.shards
        for shard in shards.all():
            if shard.trials.wanted:
                with self._database.background.connection() as connection:
                    _, dim = bound_space(connection)
                    assert dim is not None  # there are patterns
                    # Half of what is allowed, so that something else may stay beside it.
                    shard.trials.read(connection, dim, self._settings.cache_mb << 19, self.check)
                shards.shrink()

    def save(self, name: str) -> tuple[int, int]:
        """Write a snapshot; the namespace's code and the change up to which it goes."""
        shard = self._database.shards.of(name)
        with self._database.background.snapshot() as connection:
            state, (space, _) = state_of(connection, name), bound_space(connection)
        assert state is not None
        frozen = self._frozen(shard)
        with single():
            header = self._database.snapshots.save(frozen, state.code, space)
        self._saved[name] = (header.rows, header.rows - header.living)
        return state.code, header.sequence

    def _has_main(self, connection: sqlite3.Connection, shard: Shard) -> bool:
        """Load or build the index if the namespace is large; whether it has one."""
        if shard.contents is not None and shard.contents.main is not None:
            return True
        with transaction(connection):
            state, (space, dim) = state_of(connection, shard.name), bound_space(connection)
        if state is None or dim is None or state.patterns <= self._settings.flat_limit:
            return False
        contents = self._loaded(state, dim, space)
        if contents is None:
            self._rebuild(connection, shard, dim)
        else:
            self._saved[shard.name] = (contents.merged, contents.merged - contents.rows.living)
            with shard.lock.writing():
                shard.contents = contents
        return True

    def _loaded(self, state: State, dim: int, space: EmbeddingSpace | None) -> Contents | None:
        with single():
            return self._database.snapshots.load(state, dim, space)

    def _rebuild(self, connection: sqlite3.Connection, shard: Shard, dim: int) -> Contents:
        contents = Builder(connection, shard.name, dim, self.check).build()
        self._saved.pop(shard.name, None)
        with shard.lock.writing():
            before, shard.contents = shard.contents, contents
        if before is not None:  # its vectors in pieces: as a whole they would stop all threads
            before.tail.drop_first(len(before.tail))
        return contents

    def _updated(self, connection: sqlite3.Connection, shard: Shard) -> Contents:
        with shard.lock.writing(), transaction(connection):
            state = state_of(connection, shard.name)
            assert state is not None
            return shard.updated(connection, state)

    def _outgrown(self, contents: Contents) -> bool:
        rows, main = len(contents.rows), contents.main
        dead = rows - contents.rows.living
        many = dead > max(_DEAD_SHARE * rows, self._settings.tail_limit)
        return main is None or many or rows > _GROWTH * main.trained_for

    def _merge(self, shard: Shard) -> None:
        """Empty a tail that is too long, in pieces, so that searches go on in between."""
        contents = shard.contents
        if contents is None or len(contents.tail) <= self._settings.tail_limit:
            return
        while True:
            self.check()
            with shard.lock.writing(), single():
                contents = shard.contents
                if contents is None or contents.main is None or not len(contents.tail):
                    return
                contents.merge(min(_MERGED_AT_ONCE, len(contents.tail)))

    def _unsaved(self, shard: Shard) -> bool:
        contents = shard.contents
        if contents is None or contents.main is None:
            return False
        if shard.name not in self._saved:
            return True
        merged, dead = self._saved[shard.name]
        changes = contents.merged - merged + len(contents.rows) - contents.rows.living - dead
        return changes > max(_UNSAVED_SHARE * contents.merged, self._settings.tail_limit)

    def _frozen(self, shard: Shard) -> Contents:
        """A copy of the marks beside the approximate index, which only this thread changes."""
        with shard.lock.reading():
            contents = shard.contents
            assert contents is not None
            return contents.frozen()
