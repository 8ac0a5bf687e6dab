"""The memory store, broken in one way each: the kit must notice every one of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import count
from threading import Event

import anyio
import anyio.lowlevel

from lorabank.errors import StoreClosedError, VersionConflictError
from lorabank.stores import (
    Change,
    Duty,
    DutyKind,
    ForgetCounts,
    MemoryAdapterStore,
    PopulationRecord,
    PopulationState,
    QueuedEpisode,
    Stored,
)
from lorabank.types.feedback import Feedback


class VersionForRevision(MemoryAdapterStore):
    """An adapter from before a forgetting fits again."""

    async def commit(self, change: Change) -> int:
        await super().commit(change)
        user_id = change.adapter.user_id
        self._adapters[user_id] = Stored(change.adapter, change.adapter.version)
        return change.adapter.version


class LastWriterWins(MemoryAdapterStore):
    async def commit(self, change: Change) -> int:
        stored = self._adapters.get(change.adapter.user_id)
        expected = None if stored is None else stored.revision
        return await super().commit(replace(change, expected=expected))


class CheckThenWait(MemoryAdapterStore):
    """Others get in between looking and writing."""

    async def commit(self, change: Change) -> int:
        stored = self._adapters.get(change.adapter.user_id)
        if (None if stored is None else stored.revision) == change.expected:
            await anyio.lowlevel.checkpoint()
            stored = self._adapters.get(change.adapter.user_id)
            change = replace(change, expected=None if stored is None else stored.revision)
        return self._commit_now(change)


class PhantomEpisodes(MemoryAdapterStore):
    async def commit(self, change: Change) -> int:
        try:
            return await super().commit(change)
        except VersionConflictError:
            for pattern in change.episodes:
                self._queue[next(self._numbers)] = pattern
            raise


class HalfACommitWhenCancelled(MemoryAdapterStore):
    async def commit(self, change: Change) -> int:
        revision = await super().commit(replace(change, episodes=(), experience=None))
        await anyio.lowlevel.checkpoint()
        return await super().commit(replace(change, expected=revision))


class ReturnsWhenCancelled(MemoryAdapterStore):
    """As if it had been done."""

    async def commit(self, change: Change) -> int:
        try:
            await anyio.lowlevel.checkpoint()
        except anyio.get_cancelled_exc_class():
            return 10**6
        return await super().commit(change)


class NewestFirst(MemoryAdapterStore):
    async def queued(self, limit: int) -> list[QueuedEpisode]:
        return (await super().queued(10**6))[::-1][:limit]


class GoneMeansForgotten(MemoryAdapterStore):
    """Whoever settles second has everybody forgotten in the bank."""

    async def settle(self, episodes: Sequence[QueuedEpisode], dead: str | None = None) -> list[str]:
        gone = {e.pattern.user_key for e in episodes if e.number not in self._queue}
        return sorted({*await super().settle(episodes, dead), *gone})


class NobodyIsEverLate(MemoryAdapterStore):
    async def settle(self, episodes: Sequence[QueuedEpisode], dead: str | None = None) -> list[str]:
        await super().settle(episodes, dead)
        return []


class DeadLettersAreKept(MemoryAdapterStore):
    async def forget(self, user_id: str, user_key: str, now: float) -> ForgetCounts:
        dead = dict(self._dead)
        found = await super().forget(user_id, user_key, now)
        self._dead = dead
        return found


class NoTombstone(MemoryAdapterStore):
    async def forget(self, user_id: str, user_key: str, now: float) -> ForgetCounts:
        found = await super().forget(user_id, user_key, now)
        self._forgotten.clear()
        return found


class PopulationKeepsNaming(MemoryAdapterStore):
    """The forgotten stay in what others are served."""

    async def forget(self, user_id: str, user_key: str, now: float) -> ForgetCounts:
        before = dict(self._populations), dict(self._population_users)
        found = await super().forget(user_id, user_key, now)
        self._populations, self._population_users = before
        return found


class PopulationIgnoresTombstones(MemoryAdapterStore):
    """A training under way brings the forgotten back."""

    async def put_population(self, namespace: str, population: PopulationRecord) -> PopulationState:
        return await super().put_population(namespace, replace(population, created_at=math.inf))


class PopulationGenerationsRepeat(MemoryAdapterStore):
    async def put_population(self, namespace: str, population: PopulationRecord) -> PopulationState:
        self._revisions = count()
        return await super().put_population(namespace, population)


class CaseFolded(MemoryAdapterStore):
    async def get(self, user_id: str) -> Stored | None:
        folded = {name.casefold(): stored for name, stored in self._adapters.items()}
        return await super().get(user_id) or folded.get(user_id.casefold())


class ReplayForEver(MemoryAdapterStore):
    async def experiences(self, now: float) -> Mapping[str, Sequence[Feedback]]:
        return await super().experiences(0.0)


class ScanIncludesAfter(MemoryAdapterStore):
    async def scan(self, after: str | None, limit: int) -> list[str]:
        found = await super().scan(None, 10**6)
        return [user for user in found if after is None or user >= after][:limit]


class ReadableWhenClosed(MemoryAdapterStore):
    async def get(self, user_id: str) -> Stored | None:
        with suppress(StoreClosedError):
            return await super().get(user_id)
        return None


class BlocksTheLoop(MemoryAdapterStore):
    """Waits in the loop's thread, as a driver that is not async does."""

    async def queued(self, limit: int) -> list[QueuedEpisode]:
        if limit > 10:
            Event().wait(0.5)
        return await super().queued(limit)


class ForgetsWhatItOwes(MemoryAdapterStore):
    async def duties(self, kind: DutyKind, now: float, key: str | None = None) -> list[Duty]:
        return [duty for duty in await super().duties(kind, now, key) if duty.kind == "rebuild"]


class DischargesWhatCameAnew(MemoryAdapterStore):
    async def discharge(self, duty: Duty) -> None:
        for found in await super().duties(duty.kind, math.inf, duty.key):
            await super().discharge(found)


class LeaseForEverybody(MemoryAdapterStore):
    async def lease(self, name: str, holder: str, now: float, seconds: float) -> bool:
        return True


# For each mutant a law that must be among those that it breaks.
CAUGHT_BY: Mapping[type[MemoryAdapterStore], str] = {
    VersionForRevision: "revisions-never-repeat",
    LastWriterWins: "conflict-changes-nothing",
    CheckThenWait: "one-winner",
    PhantomEpisodes: "conflict-changes-nothing",
    HalfACommitWhenCancelled: "cancel-commit",
    ReturnsWhenCancelled: "cancel-commit",
    NewestFirst: "queue-order",
    GoneMeansForgotten: "settle-again",
    NobodyIsEverLate: "settle-after-forget",
    DeadLettersAreKept: "forget-removes-all",
    NoTombstone: "late-episode-refused",
    PopulationKeepsNaming: "population-of-the-forgotten",
    PopulationIgnoresTombstones: "population-of-the-forgotten-meanwhile",
    PopulationGenerationsRepeat: "population-round-trip",
    CaseFolded: "hostile-strangers",
    ReplayForEver: "replay-age",
    ScanIncludesAfter: "scan-pages",
    ReadableWhenClosed: "use-after-close",
    BlocksTheLoop: "loop-never-blocked",
    ForgetsWhatItOwes: "forget-owes",
    DischargesWhatCameAnew: "discharge",
    LeaseForEverybody: "lease",
}
