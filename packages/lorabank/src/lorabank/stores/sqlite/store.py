"""`SqliteAdapterStore`: adapters, outbox and replay in one SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

import anyio
import anyio.to_thread

from lorabank.adapter import Adapter
from lorabank.codec import decode
from lorabank.config import ReplayConfig
from lorabank.errors import CodecError, StoreClosedError, StoreError
from lorabank.stores.base import Change, ForgetCounts, QueuedEpisode, StoreCounts
from lorabank.stores.sqlite import reads, writes
from lorabank.stores.sqlite.faults import translated
from lorabank.stores.sqlite.schema import connect, create_or_check
from lorabank.stores.sqlite.writer import Writer
from lorabank.types.checks import check_count
from lorabank.types.feedback import Feedback
from lorabank.types.pattern import Pattern

T = TypeVar("T")


@asynccontextmanager
async def open_sqlite_store(path: str, replay: ReplayConfig) -> AsyncIterator[SqliteAdapterStore]:
    """Open or create the file; several processes may share it.

    Raises:
        StoreError: damaged, read-only, or of another kind or version.
    """
    reading, writing = await anyio.to_thread.run_sync(_connect, path)
    writer = Writer(writing)
    store = SqliteAdapterStore(reading, writer, replay, path)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(writer.run)
            try:
                yield store
            finally:
                await store.aclose()
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(_disconnect, reading, writing)


class SqliteAdapterStore:
    """An `AdapterStore` in one file. Writes are on disk when they return."""

    def __init__(
        self, reading: sqlite3.Connection, writer: Writer, replay: ReplayConfig, path: str
    ) -> None:
        self._reading = reading
        self._writer = writer
        self._replay = replay
        self._path = path
        self._thread = anyio.CapacityLimiter(1)
        self._closed = False
        # User keys of the episodes that were handed out, in case their rows vanish.
        self._handed_out: dict[int, str] = {}

    async def get(self, user_id: str) -> Adapter | None:
        """See `AdapterStore.get`."""
        body = await self._read(partial(reads.read_adapter, user_id=user_id))
        return None if body is None else self._decoded(Adapter, "adapter", body)

    async def commit(self, change: Change) -> None:
        """See `AdapterStore.commit`. On disk, with an fsync, when it returns."""
        await self._writer.write(partial(writes.write_change, change=change, replay=self._replay))

    async def delete(self, user_id: str) -> bool:
        """See `AdapterStore.delete`."""
        statement = "DELETE FROM adapters WHERE user_id = ?"
        removed = await self._writer.write(lambda db: db.execute(statement, (user_id,)).rowcount)
        return bool(removed)

    async def scan(self, after: str | None, limit: int) -> list[str]:
        """See `AdapterStore.scan`."""
        check_count(limit, "limit")
        return await self._read(partial(reads.read_users, after=after, limit=limit))

    async def queued(self, limit: int) -> list[QueuedEpisode]:
        """See `AdapterStore.queued`."""
        check_count(limit, "limit")
        rows = await self._read(partial(reads.read_queue, limit=limit))
        self._handed_out.update((number, user_key) for number, user_key, _ in rows)
        return [
            QueuedEpisode(number, self._decoded(Pattern, "pattern", body))
            for number, _, body in rows
        ]

    async def settle(self, numbers: Sequence[int], dead: str | None = None) -> list[str]:
        """See `AdapterStore.settle`."""
        write = partial(writes.write_settled, numbers=numbers, dead=dead)
        gone: list[int] = await self._writer.write(write)
        keys = {self._handed_out[number] for number in gone if number in self._handed_out}
        for number in numbers:
            self._handed_out.pop(number, None)
        return sorted(keys)

    async def experiences(self) -> Mapping[str, Sequence[Feedback]]:
        """See `AdapterStore.experiences`."""
        found: dict[str, list[Feedback]] = {}
        for user_key, body in await self._read(reads.read_experiences):
            found.setdefault(user_key, []).append(self._decoded(Feedback, "feedback", body))
        return found

    async def forget(self, user_id: str, user_key: str, now: float) -> ForgetCounts:
        """See `AdapterStore.forget`."""
        write = partial(writes.write_forgotten, user_id=user_id, user_key=user_key, now=now)
        counts: ForgetCounts = await self._writer.write(write)
        return counts

    async def remains(self, user_id: str, user_key: str) -> ForgetCounts:
        """See `AdapterStore.remains`."""
        return await self._read(partial(reads.read_remains, user_id=user_id, user_key=user_key))

    async def counts(self) -> StoreCounts:
        """See `AdapterStore.counts`."""
        return await self._read(reads.read_counts)

    async def aclose(self) -> None:
        """See `AdapterStore.aclose`. What was accepted is written first."""
        self._closed = True
        self._writer.close()

    async def _read(self, read: Callable[[sqlite3.Connection], T]) -> T:
        if self._closed:
            raise StoreClosedError("the adapter store is closed")
        return await anyio.to_thread.run_sync(self._read_now, read, limiter=self._thread)

    def _read_now(self, read: Callable[[sqlite3.Connection], T]) -> T:
        with translated(self._path):
            return read(self._reading)

    def _decoded(self, cls: type[T], kind: str, body: bytes) -> T:
        try:
            return decode(cls, kind, body)
        except CodecError as exc:
            raise StoreError(f"{self._path} holds a damaged {kind}: {exc}") from exc


def _connect(path: str) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    with translated(path):
        writing = connect(path)
        try:
            create_or_check(writing, path)
            return connect(path), writing
        except BaseException:
            writing.close()
            raise


def _disconnect(reading: sqlite3.Connection, writing: sqlite3.Connection) -> None:
    reading.close()
    writing.close()
