"""`SqliteAdapterStore`: adapters, outbox and replay in one SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TypeVar

import anyio
import anyio.to_thread

from lorabank.background import background
from lorabank.config import ReplayConfig
from lorabank.errors import CodecError, StoreClosedError, StoreError
from lorabank.stores.base import (
    Change,
    Duty,
    DutyKind,
    ForgetCounts,
    PopulationRecord,
    PopulationState,
    QueuedEpisode,
    StoreCounts,
    Stored,
    StoredPopulation,
)
from lorabank.stores.memory import check_page
from lorabank.stores.sqlite import duties, reads, writes
from lorabank.stores.sqlite.checkpoints import Checkpointer
from lorabank.stores.sqlite.faults import translated
from lorabank.stores.sqlite.records import change_record
from lorabank.stores.sqlite.schema import connect, create_or_check
from lorabank.stores.sqlite.writer import CLOSED, Write, Writer
from lorabank.turns import in_worker
from lorabank.types.batches import Batches
from lorabank.types.checks import check_count, check_text
from lorabank.types.feedback import Feedback

T = TypeVar("T")


@asynccontextmanager
async def open_sqlite_store(
    path: str, replay: ReplayConfig, *, half: bool = False
) -> AsyncIterator[SqliteAdapterStore]:
    """Open or create the file; several processes may share it. ``half``: weights in float16.

    Raises:
        StoreError: damaged, read-only, or of another kind or version.
    """
    reading, writing, copying = await anyio.to_thread.run_sync(_connect, path)
    keeper = writes.ReplayKeeper(replay)
    checkpointer = Checkpointer(copying)
    writer = Writer(writing, path, keeper.tidy, checkpointer.committed)
    store = SqliteAdapterStore(reading, writer, checkpointer, keeper, replay, path, half=half)
    try:
        async with background() as tasks:
            tasks.start_soon(_serve, writer, checkpointer)
            try:
                if not replay.enabled:
                    await writer.write(writes.write_without_replay)
                yield store
            finally:
                await store.aclose()
    finally:
        with anyio.CancelScope(shield=True):
            await store.disconnect()


class SqliteAdapterStore:
    """An `AdapterStore` in one file. Writes are on disk when they return."""

    def __init__(
        self,
        reading: sqlite3.Connection,
        writer: Writer,
        checkpointer: Checkpointer,
        keeper: writes.ReplayKeeper,
        replay: ReplayConfig,
        path: str,
        *,
        half: bool = False,
    ) -> None:
        self._half = half
        self._reading = reading
        self._writer = writer
        self._checkpointer = checkpointer
        self._keeper = keeper
        self._replay = replay
        self._path = path
        self._thread = anyio.CapacityLimiter(1)
        self._closed = False

    async def get(self, user_id: str) -> Stored | None:
        """See `AdapterStore.get`."""
        check_text(user_id, "user_id")
        return await self._read(partial(reads.read_adapter, user_id=user_id))

    async def commit(self, change: Change) -> int:
        """See `AdapterStore.commit`. On disk, with an fsync, when it returns."""
        revision: int = await self._writer.prepared(partial(self._prepare, change))
        return revision

    async def delete(self, user_id: str) -> bool:
        """See `AdapterStore.delete`."""
        check_text(user_id, "user_id")
        removed: bool = await self._writer.write(partial(writes.write_deleted, user_id=user_id))
        return removed

    async def scan(self, after: str | None, limit: int) -> list[str]:
        """See `AdapterStore.scan`."""
        check_page(after, limit)
        return await self._read(partial(reads.read_users, after=after, limit=limit))

    async def queued(self, limit: int) -> list[QueuedEpisode]:
        """See `AdapterStore.queued`."""
        check_count(limit, "limit")
        return await self._read(partial(reads.read_queue, limit=limit))

    async def settle(self, episodes: Sequence[QueuedEpisode], dead: str | None = None) -> list[str]:
        """See `AdapterStore.settle`."""
        write = partial(writes.write_settled, episodes=tuple(episodes), dead=dead)
        late: list[str] = await self._writer.write(write)
        return late

    async def experiences(self, now: float) -> Mapping[str, Sequence[Feedback]]:
        """See `AdapterStore.experiences`."""
        found = Batches()
        after, since = ("", 0), now - self._replay.ttl
        while page := await self._read(partial(reads.read_experiences, after=after, since=since)):
            for user_key, _, batch in page:
                found.add(user_key, batch)
            after = page[-1][:2]
        return found

    async def put_population(self, namespace: str, population: PopulationRecord) -> PopulationState:
        """See `AdapterStore.put_population`."""
        check_text(namespace, "namespace")
        write = partial(writes.write_population, namespace=namespace, population=population)
        state: PopulationState = await self._writer.write(write)
        return state

    async def population_state(self, namespace: str) -> PopulationState | None:
        """See `AdapterStore.population_state`."""
        check_text(namespace, "namespace")
        return await self._read(partial(reads.read_population_state, namespace=namespace))

    async def get_population(self, namespace: str) -> StoredPopulation | None:
        """See `AdapterStore.get_population`."""
        check_text(namespace, "namespace")
        return await self._read(partial(reads.read_population, namespace=namespace))

    async def delete_population(self, namespace: str) -> bool:
        """See `AdapterStore.delete_population`."""
        check_text(namespace, "namespace")
        write = partial(writes.delete_population, namespace=namespace)
        removed: bool = await self._writer.write(write)
        return removed

    async def forget(self, user_id: str, user_key: str, now: float) -> ForgetCounts:
        """See `AdapterStore.forget`."""
        check_text(user_id, "user_id")
        write = partial(writes.write_forgotten, user_id=user_id, user_key=user_key, now=now)
        counts, erased = await self._writer.erase(write)
        found: ForgetCounts = replace(counts, erased=erased)
        return found

    async def remains(self, user_id: str, user_key: str) -> ForgetCounts:
        """See `AdapterStore.remains`."""
        check_text(user_id, "user_id")
        return await self._read(partial(reads.read_remains, user_id=user_id, user_key=user_key))

    async def owe(self, kind: DutyKind, key: str) -> None:
        """See `AdapterStore.owe`."""
        await self._writer.write(partial(duties.write_owed, kind=kind, key=key))

    async def duties(self, kind: DutyKind, now: float, key: str | None = None) -> list[Duty]:
        """See `AdapterStore.duties`."""
        return await self._read(partial(duties.read_duties, kind=kind, now=now, key=key))

    async def discharge(self, duty: Duty) -> None:
        """See `AdapterStore.discharge`."""
        await self._writer.write(partial(duties.write_discharged, duty=duty))

    async def lease(self, name: str, holder: str, now: float, seconds: float) -> bool:
        """See `AdapterStore.lease`."""
        arguments = {"name": name, "holder": holder, "now": now, "seconds": seconds}
        held: bool = await self._writer.write(partial(duties.write_lease, **arguments))  # type: ignore[arg-type]
        return held

    async def counts(self) -> StoreCounts:
        """See `AdapterStore.counts`."""
        return await self._read(reads.read_counts)

    async def aclose(self) -> None:
        """See `AdapterStore.aclose`. What was accepted is still written."""
        self._closed = True
        self._writer.close()

    async def disconnect(self) -> None:
        """Close the file, after the last read. The writer must have ended."""
        self._closed = True
        await anyio.to_thread.run_sync(self._disconnect_now, limiter=self._thread)

    def _prepare(self, change: Change) -> Write:
        """A change as bytes, made in the writing thread."""
        record = change_record(change, self._replay, self._half)
        return partial(writes.write_change, change=record, replay=self._keeper)

    def _disconnect_now(self) -> None:
        self._reading.close()
        self._checkpointer.disconnect()
        self._writer.disconnect()

    async def _read(self, read: Callable[[sqlite3.Connection], T]) -> T:
        if self._closed:
            raise StoreClosedError(CLOSED)
        return await in_worker(self._read_now, read, limiter=self._thread)

    def _read_now(self, read: Callable[[sqlite3.Connection], T]) -> T:
        if self._closed:
            raise StoreClosedError(CLOSED)
        try:
            with translated(self._path):
                return read(self._reading)
        except CodecError as exc:
            raise StoreError(f"{self._path} holds a damaged record: {exc}") from exc


async def _serve(writer: Writer, checkpointer: Checkpointer) -> None:
    """Until the writer is closed and has answered everybody."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(checkpointer.run)
        await writer.run()
        tasks.cancel_scope.cancel()


def _connect(path: str) -> tuple[sqlite3.Connection, sqlite3.Connection, sqlite3.Connection]:
    """For reading, for writing, and for copying the log."""
    with translated(path), ExitStack() as opened:
        writing = connect(path)
        opened.callback(writing.close)
        create_or_check(writing, path)
        reading = connect(path)
        opened.callback(reading.close)
        copying = connect(path)
        opened.pop_all()
        return reading, writing, copying
