"""Where a user's adapter comes from: memory, the store, or made for a new user."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import anyio
import anyio.to_thread
from numpy.typing import NDArray

from lorabank.adaptation.preparation import context_of
from lorabank.adapter import Adapter
from lorabank.arena import Arena, Lease, lease_of
from lorabank.clock import Clock
from lorabank.engine import LoRAPersonalizationEngine
from lorabank.errors import InvalidInputError
from lorabank.personalizer.hot import Hot, HotAdapters
from lorabank.stores import AdapterStore
from lorabank.types.arrays import FloatArray, IntArray
from lorabank.types.feedback import Feedback
from lorabank.types.values import changed


class Adapters:
    """The adapters of all users. Belongs to one event loop.

    Args:
        engine: makes adapters for new users.
        store: holds the others.
        clock: tells how old a hot adapter is.
        capacity: adapters kept in memory, at most.
        max_bytes: bytes that they take, at most.
        fresh_for: seconds for which a hot adapter is served without asking the store again.

    Attributes:
        changes: grows with every adapter that is committed or dropped.
    """

    def __init__(
        self,
        engine: LoRAPersonalizationEngine,
        store: AdapterStore,
        clock: Clock,
        *,
        capacity: int,
        max_bytes: int,
        fresh_for: float,
    ) -> None:
        self._engine = engine
        self._store = store
        self._clock = clock
        self._fresh_for = fresh_for
        self.changes = 0
        self._hot = HotAdapters(capacity, max_bytes)
        self._arenas: dict[int, Arena] = {}
        self._growing: set[int] = set()

    def __len__(self) -> int:
        return len(self._hot)

    @property
    def version(self) -> int:
        """Grows with everything that becomes hot, is exchanged, or no longer is."""
        return self._hot.version

    def is_fresh(self, read_at: float) -> bool:
        """Whether what was read then may be served still."""
        return self._clock.monotonic() - read_at <= self._fresh_for

    async def to_serve(self, user_id: str, context: FloatArray) -> Adapter:
        """As the store had it at most ``fresh_for`` seconds ago."""
        hot = self.fresh(user_id) or await self.read(user_id, context)
        return hot.adapter

    def fresh(self, user_id: str) -> Hot | None:
        """The adapter, if it was read or written at most ``fresh_for`` seconds ago."""
        hot = self._hot.get(user_id)
        return hot if hot is not None and self.is_fresh(hot.read_at) else None

    def find(self, user_ids: Sequence[str], places: IntArray, table: NDArray[Any]) -> bool:
        """Whether all of n users are hot and fresh: then their places and what is there.

        ``places`` (n,) and ``table`` (n,) are written. The slots in it stay what they are in a
        block `with lasting()`, and for as long as `version` is the same.
        """
        found = self._hot.find(user_ids, places, table)
        return found and self.is_fresh(float(table["read_at"].min()))

    def use(self, places: IntArray) -> None:
        """Users who were found when `version` was what it is now are used again."""
        self._hot.use(places)

    def lasting(self) -> AbstractContextManager[None]:
        """What is exchanged or removed within this block keeps its slot until its end."""
        return self._hot.lasting()

    def arena(self, rank: int) -> Arena:
        """Where the weights of this rank are."""
        arena = self._arenas.get(rank)
        if arena is None:
            arena = Arena(self._engine.config.space.dim, rank, self._engine.kernel)
            self._arenas[rank] = arena
        return arena

    async def make_room(self, rank: int) -> None:
        """Before some weights are settled: who finds the arena crowded waits until it has grown.

        The others go on: there is room for them meanwhile.
        """
        arena = self.arena(rank)
        if not arena.crowded or rank in self._growing:
            return
        self._growing.add(rank)
        try:
            arena.add(await anyio.to_thread.run_sync(arena.new_slab))
        finally:
            self._growing.remove(rank)

    def settled(self, adapter: Adapter) -> tuple[Adapter, Lease]:
        """The same adapter with its weights in the arena; a store may keep another's."""
        arena, lease = self.arena(adapter.rank), lease_of(adapter.weights)
        if lease is not None and arena.owns(lease):
            return adapter, lease
        lease = arena.put(adapter.weights)
        return changed(adapter, weights=lease.weights()), lease

    async def known(self, user_id: str) -> Adapter | None:
        """As `to_serve`, but None for a user without one."""
        hot = self.fresh(user_id)
        if hot is not None:
            return hot.adapter
        stored = await self._store.get(user_id)
        return None if stored is None else stored.adapter

    async def to_update(self, user_id: str, feedback: Feedback) -> Hot:
        """However old: whether it is the stored one is found out when the update is committed."""
        hot = self._hot.get(user_id)
        return hot or await self.read(user_id, context_of(feedback))

    def keep(self, user_id: str, adapter: Adapter, lease: Lease, revision: int) -> None:
        """This settled one was just committed."""
        self.changes += 1
        self._hot.put(user_id, Hot(adapter, revision, self._clock.monotonic(), lease))

    def drop(self, user_id: str) -> None:
        """What is hot is not what is stored, or may not be."""
        self.changes += 1
        self._hot.drop(user_id)

    async def read(self, user_id: str, context: FloatArray) -> Hot:
        """As the store has it now, or newly made."""
        ticket = self._hot.reading(user_id)
        try:
            read_at = self._clock.monotonic()
            stored = await self._store.get(user_id)
            if stored is None:
                adapter = await self._engine.create_adapter(user_id, context=context)
                revision = None
            else:
                self._check(stored.adapter)
                adapter, revision = self._engine.with_kernel(stored.adapter), stored.revision
            await self.make_room(adapter.rank)
            hot = self._as_hot(adapter, revision, read_at)
            self._hot.put_read(user_id, ticket, hot)
        finally:
            self._hot.end_reading(user_id, ticket)
        return hot

    def _as_hot(self, adapter: Adapter, revision: int | None, read_at: float) -> Hot:
        settled, lease = self.settled(adapter)
        return Hot(settled, revision, read_at, lease)

    def _check(self, adapter: Adapter) -> None:
        """An adapter of another encoder would serve nonsense."""
        config = self._engine.config
        for field in ("space", "objective"):
            stored, own = getattr(adapter, field), getattr(config, field)
            if stored != own:
                expected = f"{stored}, which the store's adapters are made for"
                raise InvalidInputError(f"config.{field}", str(own), expected)
