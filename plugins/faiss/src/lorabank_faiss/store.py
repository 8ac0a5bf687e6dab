"""`FaissStore`: a durable, shared `PatternStore` in a directory."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread

from lorabank.errors import BankClosedError, InvalidInputError
from lorabank.protocols import Capability, StoreStats, Wanted
from lorabank.turns import in_worker
from lorabank.types.arrays import FloatArray, as_vector, unit_vector
from lorabank.types.checks import check_count, check_number, check_text
from lorabank.types.pattern import Match, Pattern
from lorabank.types.query import PatternFilter
from lorabank.types.skill import Skill
from lorabank.types.space import EmbeddingSpace
from lorabank.types.trials import Trials
from lorabank_faiss import columns, reading
from lorabank_faiss.contents import Question
from lorabank_faiss.database import Database
from lorabank_faiss.maintenance import Maintenance
from lorabank_faiss.records import Batch, encoded
from lorabank_faiss.transaction import Transaction, bound_space, check_dim
from lorabank_faiss.writing import GroupCommit

T = TypeVar("T")
_CAPABILITIES = frozenset(
    {
        Capability.DURABLE,
        Capability.SHARED,
        Capability.DELETE,
        Capability.DELETE_SKILL,
        Capability.TRIALS,
        Capability.REFUSE,
    }
)


class FaissStore:
    """Patterns and skills in SQLite, found by an index derived from it.

    Made by `lorabank_faiss.open_store`. To be used from one event loop; SQLite and FAISS run in
    worker threads. What a write returned from is on disk, and seen by every other process.
    """

    def __init__(self, database: Database, commits: GroupCommit, maintenance: Maintenance) -> None:
        self._database = database
        self._commits = commits
        self._maintenance = maintenance
        self._limiter = anyio.CapacityLimiter(database.settings.readers)
        self._space, self._dim = database.bound()
        self._closed = False
        self._running = 0
        self._idle: anyio.Event | None = None  # somebody waits for running calls to end

    @property
    def capabilities(self) -> frozenset[Capability]:
        """All of them."""
        return _CAPABILITIES

    @property
    def space(self) -> EmbeddingSpace | None:
        """The bound space, or None. Another process's first `bind` is seen at the next call."""
        return self._space

    async def bind(self, space: EmbeddingSpace) -> None:
        """See `PatternStore.bind`."""
        await self._write(lambda tx: tx.bind(space))
        self._space, self._dim = space, space.dim

    async def put_many(self, patterns: Sequence[Pattern]) -> None:
        """See `PatternStore.put_many`. Of several with one id the last counts."""
        async with self._using():
            batch = await self._in_thread(partial(Batch.of, patterns))
            await self._commits.run(lambda tx: tx.put(batch))
        self._maintenance.wake()

    async def get(self, namespace: str, ids: Sequence[str]) -> list[Pattern]:
        """See `PatternStore.get`."""
        return await self._read(partial(reading.get, name=namespace, ids=ids))

    async def search(
        self, namespace: str, vector: FloatArray, k: int, where: PatternFilter
    ) -> list[Match]:
        """See `PatternStore.search`.

        Exact up to the flat limit and whenever a filter leaves few patterns; above it, recall@5 is
        at least 0.95 on text (docs/faiss.md). Scores are exact cosines, rounded to 6 decimals.
        """
        check_count(k, "k")
        query = as_vector(vector, "vector")
        async with self._using():
            found = await self._in_thread(partial(self._search, namespace, query, k, where))
        if self._database.overgrown(namespace):  # by what other processes wrote
            self._maintenance.wake()
        return found

    async def search_trials(
        self, namespace: str, vector: FloatArray, k: int, where: PatternFilter
    ) -> Trials:
        """See `TrialSearch.search_trials`. Exact.

        The first questions after opening, and after many changes by others, are answered as by
        `search`, until the trials have been read in the background.
        """
        check_count(k, "k")
        query = as_vector(vector, "vector")
        where = replace(where, has_trial=True)
        async with self._using():
            found, unread = await self._in_thread(partial(self._trials, namespace, query, k, where))
        if unread:
            self._maintenance.wake()
        return found

    async def search_joint(
        self,
        namespace: str,
        vector: FloatArray,
        wanted: Wanted,
        trials: Wanted,
        conclude: Callable[[list[Match], Trials], T],
    ) -> T:
        """See `JointSearch.search_joint`: the one worker thread does all of it."""
        check_count(wanted.k, "k")
        check_count(trials.k, "k")
        query = as_vector(vector, "vector")
        where = replace(trials.where, has_trial=True)

        def joint() -> tuple[T, bool]:
            matches = self._search(namespace, query, wanted.k, wanted.where)
            found, unread = self._trials(namespace, query, trials.k, where)
            return conclude(matches, found), unread

        async with self._using():
            result, unread = await self._in_thread(joint)
        if unread or self._database.overgrown(namespace):
            self._maintenance.wake()
        return result

    async def scan(
        self, namespace: str, where: PatternFilter, after: str | None, limit: int
    ) -> list[Pattern]:
        """See `PatternStore.scan`."""
        check_count(limit, "limit")
        arguments = {"name": namespace, "where": where, "after": after, "limit": limit}
        return await self._read(partial(reading.scan, **arguments))  # type: ignore[arg-type]

    async def delete(self, namespace: str, where: PatternFilter) -> int:
        """See `PatternStore.delete`."""
        found = await self._erase(lambda tx: tx.delete(namespace, where))
        self._maintenance.wake()
        return found

    async def refuse(self, namespace: str, user_key: str, until: float) -> None:
        """See `Refusal.refuse`."""
        check_text(namespace, "namespace")
        check_text(user_key, "user_key")
        check_number(until, "until", low=0.0)
        await self._write(lambda tx: tx.refuse(namespace, user_key, float(until)))

    async def put_skill(self, skill: Skill) -> None:
        """See `PatternStore.put_skill`."""
        if not isinstance(skill, Skill):
            raise InvalidInputError("skill", skill, "a Skill")
        async with self._using():
            record = await self._in_thread(partial(encoded, skill, "skill"))
            await self._commits.run(lambda tx: tx.put_skill(skill, record))

    async def list_skills(self, namespace: str) -> list[Skill]:
        """See `PatternStore.list_skills`."""
        return await self._read(partial(reading.skills, name=namespace))

    async def delete_skill(self, namespace: str, skill_id: str) -> bool:
        """See `PatternStore.delete_skill`."""
        return await self._erase(lambda tx: tx.delete_skill(namespace, skill_id))

    async def stats(self, namespace: str) -> StoreStats:
        """See `PatternStore.stats`."""
        return await self._read(partial(reading.stats, name=namespace))

    async def settle(self, timeout: float = 600.0) -> None:
        """Wait until the indexes need no work: built, merged, and saved where that is due.

        Raises: BankUnavailableError: not within ``timeout`` seconds.
        """
        async with self._using():
            await self._maintenance.settle(timeout)

    async def aclose(self) -> None:
        """Close for good; again: nothing happens. Waits for calls that are running."""
        if self._closed:
            await anyio.lowlevel.checkpoint()
            return
        self._closed = True
        with anyio.CancelScope(shield=True):
            await self._maintenance.stop()
            if self._running:
                self._idle = anyio.Event()
                await self._idle.wait()
            await anyio.to_thread.run_sync(self._database.close)

    @asynccontextmanager
    async def _using(self) -> AsyncIterator[None]:
        if self._closed:
            await anyio.lowlevel.checkpoint()
            raise BankClosedError("the faiss store is closed")
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1
            if not self._running and self._idle is not None:
                self._idle.set()

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await in_worker(call, limiter=self._limiter)

    async def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        def read() -> T:
            with self._database.readers.snapshot() as connection:
                return query(connection)

        async with self._using():
            return await self._in_thread(read)

    async def _write(self, change: Callable[[Transaction], T]) -> T:
        async with self._using():
            return await self._commits.run(change)

    async def _erase(self, change: Callable[[Transaction], T]) -> T:
        async with self._using():
            return await self._commits.run(change, erases=True)

    def _search(
        self, namespace: str, vector: FloatArray, k: int, where: PatternFilter
    ) -> list[Match]:
        with self._database.readers.connection() as connection:
            self._check_dim(connection, len(vector))
            if not k or not columns.storable(namespace):
                return []
            shard = self._database.shards.of(namespace)
            return shard.search(connection, Question(unit_vector(vector), k, where))

    def _trials(
        self, namespace: str, vector: FloatArray, k: int, where: PatternFilter
    ) -> tuple[Trials, bool]:
        """Trials, and whether their table is still to be read by the maintenance."""
        with self._database.readers.connection() as connection:
            self._check_dim(connection, len(vector))
            if not k or not columns.storable(namespace):
                return Trials.of(()), False
            shard = self._database.shards.of(namespace)
            question = Question(unit_vector(vector), k, where)
            found = shard.trials.search(connection, question)
            if found is not None:
                return found, False
            return shard.search_trials(connection, question), True

    def _check_dim(self, connection: sqlite3.Connection, dim: int) -> None:
        if self._space is None:
            self._space, self._dim = bound_space(connection)
        check_dim(self._space, self._dim, dim)
